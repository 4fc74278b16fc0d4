"""
Patches of ExaBGP 5.0.15 for peers that are configured as a range of addresses. patches.py imports this file, by its
path, and nothing else of ours: it is a part of that program.

ExaBGP has ranges of its own: a neighbour whose address is a prefix, and whose copy a connection from it becomes. All
copies share one Adj-RIB-Out, so that a route leaves to one of them; there is no limit, and a reload forgets the copies
without a word. So neighbours stay addresses here. A connection from a range waits until there is a neighbour for it.

Refuses to know: bgpctl, and which of those that connect may have a session.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

RANGES: Final = "ranges"
"""The command `ranges PREFIX ...`: connections from these addresses wait. It takes the place of the one before."""
CONNECTS: Final = "connects"
"""Begins the line `connects ADDRESS AS` of such a connection, whose OPEN names the AS."""

_WAITS_S: Final = 5.0
"""For the reload that brings its neighbour. Then it is closed, and the peer tries again."""
_REPORTED_EVERY_S: Final = 1.0
_MOST: Final = 256
"""Connections that wait; others are refused as any from an unknown address."""
_HEADER_BYTES: Final = 19
_FIXED_BYTES: Final = 10
"""Of an OPEN, before its optional parameters (RFC 4271, section 4.2)."""
_OPEN: Final = 1
_CAPABILITIES: Final = 2
_FOUR_OCTET_AS: Final = 65
_EXTENDED: Final = 255
"""RFC 9072."""


class _Waiting(NamedTuple):
    listening: Any
    connection: Any
    address: str
    until_s: float


def patch() -> None:
    """Apply all."""
    ranges_on_command()
    connections_that_wait()


def ranges_on_command() -> None:
    """The API has no such command."""
    from exabgp.reactor.api import API

    process = API.process

    def commands(self: Any, reactor: Any, service: str, command: str) -> Any:
        words = command.split()
        if words[:1] != [RANGES]:
            return process(self, reactor, service, command)
        reactor.listener.ranges = [ipaddress.ip_network(word) for word in words[1:]]
        reactor.listener.service = service
        return True

    API.process = commands


def connections_that_wait() -> None:
    """A connection from an address that is no neighbour's is refused at once."""
    from exabgp.reactor.listener import Listener

    incoming, handle = Listener.incoming, Listener.new_connections

    def incoming_or_waiting(self: Any) -> bool:
        came = bool(incoming(self))
        _sift(self)
        return bool(_offer(self) or (came and self._accepted))

    def new_connections(self: Any) -> Iterator[None]:
        _sift(self)
        yield from handle(self)

    Listener.ranges, Listener.service, Listener.waiting, Listener.reported_s = (), "", (), {}
    Listener.incoming, Listener.new_connections = incoming_or_waiting, new_connections


def _sift(listener: Any) -> None:
    """Of the connections just accepted have those from ranges wait."""
    if not listener.ranges:
        return
    neighbours = _neighbours(listener)
    for listening, connection in list(listener._accepted.items()):
        try:
            address = connection.getpeername()[0]
        except OSError:
            continue  # it has been closed meanwhile
        is_waiting = len(listener.waiting) < _MOST and address not in neighbours and _holds(listener.ranges, address)
        if is_waiting:
            del listener._accepted[listening]
            listener.waiting = (
                *listener.waiting,
                _Waiting(listening, connection, address, time.monotonic() + _WAITS_S),
            )


def _holds(ranges: Any, address: str) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in network for network in ranges)


def _neighbours(listener: Any) -> set[str]:
    return {str(peer.neighbor["peer-address"]) for peer in listener._reactor._peers.values()}


def _offer(listener: Any) -> bool:
    """Hand on a connection whose neighbour has come; report the others, each for its time."""
    if not listener.waiting:
        return False
    now_s, neighbours, left, found = time.monotonic(), _neighbours(listener), [], False
    for item in listener.waiting:
        if item.address in neighbours and item.listening not in listener._accepted:
            listener._accepted[item.listening] = item.connection
            found = True
        elif now_s > item.until_s:
            item.connection.close()
        else:
            left.append(item)
            _report(listener, item, now_s)
    listener.waiting = tuple(left)
    recent = ((address, at_s) for address, at_s in listener.reported_s.items() if now_s - at_s < _REPORTED_EVERY_S)
    listener.reported_s = dict(recent)
    return found


def _report(listener: Any, item: _Waiting, now_s: float) -> None:
    if item.address in listener.reported_s:
        return
    asn = _asn(item.connection)
    if asn is not None:
        listener.reported_s[item.address] = now_s
        listener._reactor.processes.write(listener.service, f"{CONNECTS} {item.address} {asn}")


def _asn(connection: socket.socket) -> int | None:
    """The AS in the OPEN that has come; None before. It stays where it is, for the session."""
    try:
        message = connection.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return None
    if len(message) < _HEADER_BYTES + _FIXED_BYTES or message[18] != _OPEN:
        return None
    size = int.from_bytes(message[16:18], "big")
    return asn_of_open(message[_HEADER_BYTES:size]) if len(message) >= size else None


def asn_of_open(body: bytes) -> int:
    """The AS number of an OPEN, of four octets where it has that capability (RFC 6793)."""
    plain = int.from_bytes(body[1:3], "big")
    return next((asn for asn in map(_four_octet, _parameters(body)) if asn is not None), plain)


def _parameters(body: bytes) -> Iterator[bytes]:
    """The values of the optional parameters that hold capabilities."""
    at, head = _FIXED_BYTES, 2
    if len(body) > _FIXED_BYTES + 3 and body[_FIXED_BYTES - 1 : _FIXED_BYTES + 1] == bytes((_EXTENDED, _EXTENDED)):
        at, head = _FIXED_BYTES + 3, 3
    while at + head <= len(body):
        kind, size = body[at], int.from_bytes(body[at + 1 : at + head], "big")
        at += head + size
        if kind == _CAPABILITIES:
            yield body[at - size : at]


def _four_octet(capabilities: bytes) -> int | None:
    at = 0
    while at + 2 <= len(capabilities):
        code, size = capabilities[at], capabilities[at + 1]
        at += 2 + size
        if code == _FOUR_OCTET_AS and size == 4 and at <= len(capabilities):
            return int.from_bytes(capabilities[at - size : at], "big")
    return None
