"""
BGP peers without a routing table: any number of sessions in one thread, which send what they are given.

They wait for the node under test to connect, keep their sessions up, and discard what they receive; so the bytes that
are sent, and when, are exactly those of the benchmark, and the peers cost next to nothing beside it.

Refuses to know: what becomes of an UPDATE.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab import netns
from bgpctl.lab.daemons.session_options import CLUSTER_AS
from tests.interop import wire
from tests.waiting import wait_until

_UPDATE, _KEEPALIVE, _ROUTE_REFRESH = 2, 4, 5
_AS_PATH, _LOCAL_PREF, _MP_REACH, _MP_UNREACH = 2, 5, 14, 15
_IPV6_UNICAST: Final = b"\0\2\1"
_HEADER_BYTES: Final = 19
_GREATEST_MESSAGE: Final = 4096
_HOLD_TIME_S: Final = 240
_KEEPALIVE_EVERY_S: Final = 9.0
_STOPS_WITHIN_S: Final = 0.5
_PORT: Final = 179


def announce(prefixes: Sequence[Prefix], next_hop: Address, local_pref: int = 100) -> bytes:
    """UPDATEs of an internal peer that announce prefixes of one IP version, as few as possible."""
    first, last = (
        wire.origin() + wire.attribute(_AS_PATH, b""),
        wire.attribute(_LOCAL_PREF, struct.pack("!I", local_pref)),
    )
    if next_hop.version == 4:
        return b"".join(wire.packed(first + wire.next_hop(next_hop) + last, prefixes))
    head = _IPV6_UNICAST + b"\x10" + next_hop.value.to_bytes(16) + b"\0"
    return b"".join(wire.update(first + last + _long(_MP_REACH, head + part), b"") for part in _parts(prefixes))


def withdraw(prefixes: Sequence[Prefix]) -> bytes:
    """UPDATEs that withdraw prefixes of one IP version."""
    parts = _parts(prefixes)
    if prefixes[0].version == 4:
        return b"".join(wire.message(_UPDATE, struct.pack("!H", len(part)) + part + b"\0\0") for part in parts)
    return b"".join(wire.update(_long(_MP_UNREACH, _IPV6_UNICAST + part), b"") for part in parts)


def end_of_rib(version: int) -> bytes:
    """RFC 4724, section 2."""
    return wire.END_OF_RIB if version == 4 else wire.update(_long(_MP_UNREACH, _IPV6_UNICAST), b"")


def _long(code: int, value: bytes) -> bytes:
    """An optional attribute with a length of two bytes."""
    return struct.pack("!BBH", 0x90, code, len(value)) + value


def _parts(prefixes: Iterable[Prefix]) -> Iterator[bytes]:
    """Packed prefixes, each part small enough for one message."""
    ready = b""
    for prefix in prefixes:
        more = wire.nlri(prefix)
        if len(ready) + len(more) > _GREATEST_MESSAGE - 100:
            yield ready
            ready = b""
        ready += more
    yield ready


class _Session:
    def __init__(self, connection: socket.socket, local: Address, remote: str) -> None:
        self.connection, self.local, self.remote = connection, local, remote
        self.unread = b""
        self.established = False

    def messages(self, chunk: bytes) -> Iterator[int]:
        """The kinds of the messages that are whole by now."""
        self.unread += chunk
        at = 0
        while len(self.unread) - at >= _HEADER_BYTES:
            size, kind = struct.unpack_from("!HB", self.unread, at + 16)
            if len(self.unread) - at < size:
                break
            at += size
            yield kind
        self.unread = self.unread[at:]


class Peers:
    """
    One peer at each address, all in one namespace. Each has sessions with any number of nodes; a later connection of a
    node replaces its former one.

    Args:
        namespace: where the addresses are.
        addresses: of both IP versions; each speaks its own.
        nodes: how many nodes connect to each peer.
    """

    def __init__(self, namespace: str, addresses: Sequence[Address], nodes: int = 1, asn: Asn = CLUSTER_AS) -> None:
        self._asn, self._wanted = asn, len(addresses) * nodes
        self._selector = selectors.DefaultSelector()
        self._sessions: dict[tuple[Address, str], _Session] = {}
        self._tables: dict[Address, bytes] = {}
        self._writing = threading.Lock()
        self._received = threading.Condition()
        self._updates = 0
        self._ends = False
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            listener = netns.open_socket(namespace, family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((str(address), _PORT))
            listener.listen(nodes)
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, address)
        self._thread = threading.Thread(target=self._serve, name="peers", daemon=True)
        self._thread.start()

    def up(self, within_s: float = 60.0) -> None:
        """Wait until every session is established."""
        wait_until(lambda: self.established() == self._wanted, within_s=within_s)

    def established(self) -> int:
        """How many sessions are up."""
        return sum(session.established for session in [*self._sessions.values()])

    def updates(self) -> int:
        """How many UPDATEs all peers received so far."""
        return self._updates

    def received(self, count: int, within_s: float = 30.0) -> float:
        """The time (time.perf_counter) at which so many UPDATEs have come in since the beginning."""
        with self._received:
            if not self._received.wait_for(lambda: self._updates >= count, within_s):
                raise TimeoutError(f"{self._updates} of {count} UPDATEs")
        return time.perf_counter()

    def send(self, address: Address, messages: bytes) -> None:
        """Send as the peer at this address, in all its sessions. Raises OSError."""
        for session in self._of(address):
            with self._writing:
                session.connection.sendall(messages)

    def announce(self, address: Address, messages: bytes) -> None:
        """
        Send a part of the peer's table. The whole table is sent, with an End-of-RIB, in each session that is
        established later, and when a node asks for it (RFC 2918).
        """
        self._tables[address] = self._tables.get(address, b"") + messages
        self.send(address, messages)

    def hang_up(self, address: Address) -> None:
        """End the connections of one peer without a word, and answer no further one."""
        for key in [*self._selector.get_map().values()]:
            if key.data == address:
                self._selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        for session in self._of(address):
            self._drop(session)

    def close(self) -> None:
        """End all of them."""
        self._ends = True
        self._thread.join()
        for key in [*self._selector.get_map().values()]:
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _of(self, address: Address) -> list[_Session]:
        return [session for session in [*self._sessions.values()] if session.local == address]

    def _serve(self) -> None:
        sent_s = time.monotonic()
        while not self._ends:
            for key, _ in self._selector.select(_STOPS_WITHIN_S):
                if isinstance(key.data, Address):
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
                else:
                    self._read(key.data)
            if time.monotonic() - sent_s > _KEEPALIVE_EVERY_S:
                sent_s = time.monotonic()
                for session in [*self._sessions.values()]:
                    self._say(session, wire.message(_KEEPALIVE))

    def _accept(self, listener: socket.socket, address: Address) -> None:
        try:
            connection, remote = listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = _Session(connection, address, remote[0])
        if former := self._sessions.get((address, session.remote)):
            self._drop(former)
        self._sessions[address, session.remote] = session
        self._selector.register(connection, selectors.EVENT_READ, session)
        router_id = Address(4, (10 << 24) + (address.value & 0xFFFFFF))
        self._say(session, wire.opening(self._asn, router_id, _HOLD_TIME_S, versions=(address.version,)))
        self._say(session, wire.message(_KEEPALIVE))

    def _read(self, session: _Session) -> None:
        try:
            chunk = session.connection.recv(1 << 18)
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(session)
        kinds = [*session.messages(chunk)]
        if (_KEEPALIVE in kinds and not session.established) or _ROUTE_REFRESH in kinds:
            session.established = True
            table = self._tables.get(session.local, b"")
            self._say(session, table + end_of_rib(session.local.version))
        if _UPDATE in kinds:
            with self._received:
                self._updates += kinds.count(_UPDATE)
                self._received.notify_all()

    def _drop(self, session: _Session) -> None:
        if self._sessions.get((session.local, session.remote)) is session:
            del self._sessions[session.local, session.remote]
        with contextlib.suppress(OSError, KeyError, ValueError):
            self._selector.unregister(session.connection)
        session.connection.close()

    def _say(self, session: _Session, message: bytes) -> None:
        with self._writing, contextlib.suppress(OSError):
            session.connection.sendall(message)
