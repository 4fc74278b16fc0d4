"""
Patches of ExaBGP 5.0.15 by which UPDATEs leave it as they came. patches.py imports this file, by its path, and nothing
else of ours: it is a part of that program.

Refuses to know: bgpctl, and the meaning of an UPDATE.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final

RAW: Final = "raw"
"""Begins the line of a batch of UPDATEs; raw.py reads it."""
NOTIFY: Final = "notify"
"""The command `neighbor PEER notify CODE SUBCODE [DATA in hex]`: end the session with this NOTIFICATION."""

_READ_BYTES: Final = 1 << 16
_HEADER_BYTES: Final = 19
_SHORTEST_UPDATE_BYTES: Final = 23
_MARKER: Final = b"\xff" * 16
_UPDATE: Final = 2
_EXTENDED_MESSAGE_BYTES: Final = 65535


def patch() -> None:
    """Apply all."""
    for each in (reads_of_many_messages, raw_updates, tables_of_peers_without_refresh, notifications_on_request):
        each()


def reads_of_many_messages() -> None:
    """A message costs two poll() and two recv(), one for its header. Here one recv() takes all that has come."""
    from exabgp.reactor.network.connection import Connection

    def _reader(self: Any, number: int) -> Iterator[bytes]:
        while len(self.unread) < number:
            if not _read(self):
                yield b""
        yield _taken(self, number)

    Connection.unread = b""
    Connection._reader = _reader


def _read(connection: Any) -> bool:
    """Read what has come; False if nothing has. At the end of the connection it raises ExaBGP's error."""
    try:
        chunk = connection.io.recv(_READ_BYTES) if connection.io else b""
    except BlockingIOError:
        return False
    except OSError as error:
        raise _lost(connection, str(error)) from None
    if not chunk:
        raise _lost(connection, "the TCP connection was closed by the remote end")
    connection.unread += chunk
    return True


def _lost(connection: Any, reason: str) -> Any:
    from exabgp.reactor.network.error import LostConnection

    connection.close()
    return LostConnection(reason)


def _taken(connection: Any, number: int) -> bytes:
    taken: bytes = connection.unread[:number]
    connection.unread = connection.unread[number:]
    return taken


def raw_updates() -> None:
    """
    Each UPDATE is parsed into objects, written as JSON and flushed alone, 0.1 ms of CPU for one prefix, and errors that
    RFC 7606 lets pass end the session. Here all whole UPDATEs of one read leave as they came, in one line.

    It is `raw PEER COUNTER FACTS MESSAGES`:

    COUNTER as in ExaBGP's other lines, FACTS a JSON object without blanks of what both OPENs agreed on, MESSAGES in
    base64 with their headers. All other messages, and those whose header is wrong, are ExaBGP's as before.
    """
    from exabgp.bgp.message import _NOP
    from exabgp.reactor.protocol import _UPDATE as RECEIVED
    from exabgp.reactor.protocol import Protocol

    read_message = Protocol.read_message

    def updates_or_message(self: Any) -> Iterator[Any]:
        while self.peer.established() and not _begins_otherwise(self.connection):
            if self.peer.request is not None:
                raise self.peer.request
            if updates := _updates(self.connection):
                _hand_on(self, updates)
                yield RECEIVED
                return
            yield _NOP
        yield from read_message(self)

    Protocol.facts, Protocol.read_message = None, updates_or_message


def _begins_otherwise(connection: Any) -> bool:
    """True if what comes next is no UPDATE, or not known to be one."""
    return connection is None or (
        len(connection.unread) >= _HEADER_BYTES and not _update_bytes(connection.unread, 0, connection.msg_size)
    )


def _updates(connection: Any) -> bytes:
    """Take the whole UPDATEs at the beginning of what is unread."""
    if not (end := _end_of_updates(connection)) and _read(connection):
        end = _end_of_updates(connection)
    return _taken(connection, end) if end else b""


def _end_of_updates(connection: Any) -> int:
    unread, end = connection.unread, 0
    while (size := _update_bytes(unread, end, connection.msg_size)) and end + size <= len(unread):
        end += size
    return end


def _update_bytes(unread: bytes, at: int, longest: int) -> int:
    """The length of the UPDATE whose header is there; 0 if none is, or one that is wrong."""
    if not unread.startswith(_MARKER, at) or len(unread) < at + _HEADER_BYTES or unread[at + 18] != _UPDATE:
        return 0
    size = int.from_bytes(unread[at + 16 : at + 18], "big")
    return size if _SHORTEST_UPDATE_BYTES <= size <= longest else 0


def _hand_on(protocol: Any, updates: bytes) -> None:
    protocol.peer.stats["receive-update"] += 1
    if protocol.kept is not None:
        protocol.kept.take(updates)
    _write(protocol, updates)


def _write(protocol: Any, updates: bytes) -> None:
    neighbor, processes = protocol.neighbor, protocol.peer.reactor.processes
    protocol.facts = protocol.facts or _facts(protocol.negotiated)
    messages = base64.b64encode(updates).decode()
    if not processes.silence:
        for process in processes._notify(neighbor, "receive-update"):
            counter = processes._encoder[process]._counter(neighbor)
            processes.write(process, f"{RAW} {neighbor['peer-address']} {counter} {protocol.facts} {messages}")


def _facts(negotiated: Any) -> str:
    """The outcome of both OPENs; families as pairs of AFI and SAFI."""
    facts = {
        "local_as": int(negotiated.neighbor["local-as"]),
        "peer_as": int(negotiated.peer_as),
        "four_octet": bool(negotiated.asn4),
        "families": _pairs(negotiated.families),
        "add_path": _with_path_ids(negotiated),
        "next_hop6": [[int(afi), int(safi)] for afi, safi, next_hop in negotiated.nexthop if int(next_hop) == 2],
        "extended_message": negotiated.msg_size == _EXTENDED_MESSAGE_BYTES,
    }
    return json.dumps(facts, separators=(",", ":"))


def _with_path_ids(negotiated: Any) -> list[tuple[int, int]]:
    """The families in which the peer sends path identifiers (RFC 7911)."""
    return _pairs(family for family in negotiated.families if negotiated.addpath.receive(*family))


def _pairs(families: Iterable[Any]) -> list[tuple[int, int]]:
    return [(int(afi), int(safi)) for afi, safi in families]


def tables_of_peers_without_refresh() -> None:
    """
    A ROUTE-REFRESH is sent to any peer, and one that has not offered to answer it (RFC 2918) ends the session, or never
    answers. Here such a peer's table is kept for the length of the session, and written again in place of the request.
    """
    from exabgp.bgp.message.open.capability.refresh import REFRESH
    from exabgp.reactor.peer import Peer
    from exabgp.reactor.protocol import Protocol

    main, ask, table = Peer._main, Protocol.new_refresh, import_module("kept_table").KeptTable

    def _main(self: Any) -> Iterator[Any]:
        if self.proto and self.proto.negotiated.refresh == REFRESH.ABSENT:
            agreed = self.proto.negotiated
            self.proto.kept = table(_pairs(agreed.families), agreed.msg_size, _with_path_ids(agreed))
        yield from main(self)

    def new_refresh(self: Any, refresh: Any) -> Iterator[Any]:
        if self.kept is None:
            yield from ask(self, refresh)
            return
        for updates in self.kept.written(_READ_BYTES):
            _write(self, updates)
        yield refresh

    Protocol.kept, Peer._main, Protocol.new_refresh = None, _main, new_refresh


def notifications_on_request() -> None:
    """
    The commands end a session with a Cease alone, and under graceful restart with nothing at all. Errors in raw UPDATEs
    are found by the reader of their lines, which has to send another NOTIFICATION.
    """
    from exabgp.bgp.message import Notify
    from exabgp.reactor.api import API
    from exabgp.reactor.peer import Peer

    process, reset = API.process, Peer._reset

    def commands(self: Any, reactor: Any, service: str, command: str) -> Any:
        match command.split():
            case ["neighbor", address, word, code, subcode, *data] if word == NOTIFY:
                for peer in reactor._peers.values():
                    if peer.established() and str(peer.neighbor["peer-address"]) == address:
                        peer.request = Notify(int(code), int(subcode), bytes.fromhex("".join(data)))
                return True
        return process(self, reactor, service, command)

    def forget(self: Any, *words: Any) -> None:
        self.request = None
        reset(self, *words)

    Peer.request = None
    API.process, Peer._reset = commands, forget
