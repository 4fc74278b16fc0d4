"""
BGP by hand: messages as bytes, right ones and wrong ones, and a peer that sends them.

Refuses to know: what becomes of them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab import netns

_MARKER: Final = b"\xff" * 16
_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE, _ROUTE_REFRESH = 1, 2, 3, 4, 5
_ORIGIN, _AS_PATH, _NEXT_HOP = 1, 2, 3
_OPTIONAL, _TRANSITIVE, _EXTENDED = 0x80, 0x40, 0x10
_AS_TRANS: Final = 23456
_GREATEST_MESSAGE: Final = 4096
_ANSWER_WITHIN_S: Final = 10.0
_CONNECTION_WITHIN_S: Final = 60.0
"""An agent and its ExaBGP may have to start before, on a busy machine."""


def message(kind: int, body: bytes = b"", *, marker: bytes = _MARKER, length: int | None = None) -> bytes:
    """A whole message; `length` may lie."""
    return marker + struct.pack("!HB", 19 + len(body) if length is None else length, kind) + body


def opening(asn: Asn, router_id: Address, hold_time_s: int = 30, versions: Iterable[int] = (4,)) -> bytes:
    """OPEN with unicast of some IP versions, route refresh and four-byte AS numbers."""
    families = b"".join(bytes([1, 4, 0, 1 if version == 4 else 2, 0, 1]) for version in versions)
    return opening_with(asn, router_id, families + REFRESH + four_octet(asn), hold_time_s)


REFRESH: Final = bytes([2, 0])


def four_octet(asn: Asn) -> bytes:
    """The capability (RFC 6793)."""
    return bytes([65, 4]) + struct.pack("!I", asn)


def graceful_restart(*, restarted: bool, time_s: int = 60) -> bytes:
    """The capability (RFC 4724) for IPv4 unicast, forwarding state preserved."""
    return bytes([64, 6]) + struct.pack("!H", restarted << 15 | time_s) + bytes([0, 1, 1, 0x80])


def opening_with(asn: Asn, router_id: Address, capabilities: bytes, hold_time_s: int = 30) -> bytes:
    """OPEN with just these capabilities."""
    parameters = bytes([2, len(capabilities)]) + capabilities if capabilities else b""
    fixed = struct.pack("!BHHIB", 4, asn if asn < 1 << 16 else _AS_TRANS, hold_time_s, router_id.value, len(parameters))
    return message(_OPEN, fixed + parameters)


def attribute(code: int, value: bytes, *, flags: int = _TRANSITIVE, length: int | None = None) -> bytes:
    """One path attribute; `length` may lie."""
    return struct.pack("!BBB", flags, code, len(value) if length is None else length) + value


def origin(value: int = 0) -> bytes:
    return attribute(_ORIGIN, bytes([value]))


def as_path(*asns: int) -> bytes:
    return attribute(_AS_PATH, bytes([2, len(asns)]) + b"".join(struct.pack("!I", asn) for asn in asns))


def next_hop(address: Address) -> bytes:
    return attribute(_NEXT_HOP, struct.pack("!I", address.value))


def nlri(prefix: Prefix) -> bytes:
    network = prefix.network.to_bytes(4 if prefix.version == 4 else 16)
    return bytes([prefix.length]) + network[: (prefix.length + 7) // 8]


def update(attributes: bytes, announced: bytes, *, length: int | None = None) -> bytes:
    """UPDATE without withdrawn routes; `length`, that of the attributes, may lie."""
    size = len(attributes) if length is None else length
    return message(_UPDATE, struct.pack("!HH", 0, size) + attributes + announced)


def packed(attributes: bytes, prefixes: Iterable[Prefix]) -> Iterator[bytes]:
    """As few UPDATEs as possible."""
    free_bytes, ready = _GREATEST_MESSAGE - 23 - len(attributes), b""
    for prefix in prefixes:
        more = nlri(prefix)
        if len(ready) + len(more) > free_bytes:
            yield update(attributes, ready)
            ready = b""
        ready += more
    yield update(attributes, ready)


END_OF_RIB: Final = update(b"", b"")


_Messages: TypeAlias = Iterator[tuple[int, bytes]]
_usual_opening: Final = opening


class Speaker:
    """
    A peer that waits for us to connect, brings a session up and then sends the given messages. It answers
    KEEPALIVEs with KEEPALIVEs until the session ends.

    Args:
        opening: the OPEN that it sends, in place of the usual one.
    """

    def __init__(self, namespace: str, address: Address, asn: Asn, opening: bytes | None = None) -> None:
        self._opening = opening or _usual_opening(asn, address)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self._listener = netns.open_socket(namespace, family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((str(address), 179))
        self._listener.listen()
        self._listener.settimeout(_CONNECTION_WITHIN_S)
        self._session: socket.socket | None = None
        self.opens: list[bytes] = []
        """Of the sessions that came up, without their headers."""
        self.notifications: list[bytes] = []
        """Of all sessions, without their headers."""
        self.received: Counter[int] = Counter()
        """Messages by their type, of all sessions."""
        self.updates: list[bytes] = []
        self.refreshes: list[bytes] = []
        """The same of UPDATEs and of ROUTE-REFRESHes."""
        self.ended = threading.Event()
        """The session that was up last has ended."""

    def up(self) -> None:
        """
        Wait for a connection and answer until it is established. One that ends before is followed by another.

        Raises:
            TimeoutError: no peer connects.
        """
        self.hang_up()
        while self._session is None:
            session, _ = self._listener.accept()
            session.settimeout(_ANSWER_WITHIN_S)
            session.sendall(self._opening + message(_KEEPALIVE))
            # One reader for all: what it has read ahead would be lost with it.
            heard = _messages(session)
            if _until_keepalive(heard, self.opens):
                self._session = session
        self._session.settimeout(None)
        self.ended = threading.Event()
        threading.Thread(target=self._keep_alive, args=(self._session, heard, self.ended), daemon=True).start()

    def send(self, *messages: bytes) -> None:
        """Send, whatever it is. Raises OSError if the session has ended."""
        assert self._session
        self._session.sendall(b"".join(messages))

    def hang_up(self) -> None:
        """End the connection without a word."""
        if self._session:
            # Closing alone would not wake a thread that still reads.
            with contextlib.suppress(OSError):
                self._session.shutdown(socket.SHUT_RDWR)
            self._session.close()
            self._session = None

    def close(self) -> None:
        """Be gone."""
        self.hang_up()
        self._listener.close()

    def _keep_alive(self, session: socket.socket, heard: _Messages, ended: threading.Event) -> None:
        kinds = {_NOTIFICATION: self.notifications, _UPDATE: self.updates, _ROUTE_REFRESH: self.refreshes}
        try:
            for kind, body in heard:
                self.received[kind] += 1
                kinds.get(kind, []).append(body)
                if kind == _KEEPALIVE:
                    with contextlib.suppress(OSError):  # a NOTIFICATION may be waiting to be read all the same
                        session.sendall(message(_KEEPALIVE))
        except (OSError, ValueError):
            pass  # the session is over
        ended.set()


def _messages(session: socket.socket) -> _Messages:
    """The kind of each message, and the message without its header."""
    heard = session.makefile("rb")
    while len(header := heard.read(19)) == 19:
        yield header[18], heard.read(struct.unpack("!H", header[16:18])[0] - 19)


def _until_keepalive(heard: _Messages, opens: list[bytes]) -> bool:
    for kind, body in heard:
        opens += [body] if kind == _OPEN else []
        if kind in (_KEEPALIVE, _NOTIFICATION):
            return kind == _KEEPALIVE
    return False
