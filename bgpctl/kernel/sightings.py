"""
Numbered echo requests, and packet sockets that see them, their answers and ICMP errors about them on every link of a
network namespace (packet(7)). Nothing is changed, and no other packet reaches this process.

A socket filter knows the packets by their identifier, bare and inside each encapsulation; the secret in the data then
shows that they are ours. An error repeats the beginning of a packet, perhaps without the secret.

Refuses to know: what a sighting proves, who watches where.
"""

from __future__ import annotations

import secrets
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, Self

from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.sightings import NONCE_BYTES, Direction, Leg, Mark, Point, Sighting
from bgpctl.kernel import probe_packets
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.probe_packets import FAMILIES, Wrapping

_ETH_P_ALL: Final = 0x0003
_ECHO: Final = struct.Struct("!BBHHH")
_LONGEST: Final = 65535
_POLL_S: Final = 0.05


def new_mark(version: int) -> Mark:
    """A mark that no other trace has."""
    return Mark(version, secrets.randbits(16) or 1, secrets.token_bytes(NONCE_BYTES))


def send(mark: Mark, number: int, source: Address, target: Address, size_bytes: int) -> None:
    """
    One request from the calling thread's namespace, as its routes lead, which may not be cut. Raises OSError where the
    kernel refuses it.
    """
    request = probe_packets.request(source, target, mark.ident, number, mark.nonce, size_bytes)
    with probe_packets.raw_socket(target.version) as out:
        out.sendto(request, (str(target), 0))


def listener(mark: Mark) -> socket.socket:
    """A socket that sees the packets in the calling thread's namespace. Raises OSError."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL))
    try:
        probe_packets.attach(made, probe_packets.echo_program(mark.version, mark.ident, _wrappings(mark.version)))
        made.setblocking(False)
        with suppress(BlockingIOError):  # what came before the filter
            while True:
                made.recv(1)
    except BaseException:
        made.close()
        raise
    return made


class Watch:
    """
    Collects sightings from the sockets of several nodes until closed: `with Watch(mark, sockets) as watch`.

    Args:
        sockets: by the name of the node; closed with the watch.
    """

    def __init__(self, mark: Mark, sockets: Mapping[str, socket.socket]) -> None:
        self._mark = mark
        self._sockets = {made.fileno(): (name, made) for name, made in sockets.items()}
        self._found: list[Sighting] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._collect, name="sightings", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See nothing more; `sightings` stays."""
        self._ended.set()
        self._thread.join()
        for _, made in self._sockets.values():
            made.close()

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """The packets seen until now, in their order."""
        return tuple(self._found)

    def answered(self, node: str) -> set[int]:
        """The numbers of the answers that came in at the node."""
        return {
            item.number
            for item in self.sightings
            if item.leg is Leg.BACK and item.point.node == node and item.point.direction is Direction.IN
        }

    def _collect(self) -> None:
        with select.epoll() as poll:
            for number in self._sockets:
                poll.register(number, select.EPOLLIN)
            while not self._ended.is_set():
                for number, _ in poll.poll(_POLL_S):
                    self._found += self._taken(*self._sockets[number])

    def _taken(self, name: str, made: socket.socket) -> Iterator[Sighting]:
        with suppress(OSError):
            while True:
                packet, (link, _, kind, *_) = made.recvfrom(_LONGEST)
                direction = Direction.OUT if kind == socket.PACKET_OUTGOING else Direction.IN
                found = seen(self._mark, packet)
                if found:
                    yield Sighting(Point(name, link, direction), *found)


def watch(sockets: Mapping[str, socket.socket], mark: Mark) -> Watch:
    """A watch that has begun."""
    return Watch(mark, sockets).__enter__()


class Found(NamedTuple):
    """The part of a sighting that is in the packet."""

    leg: Leg
    number: int
    source: Address
    detail: tuple[int, int] | None = None


def seen(mark: Mark, packet: bytes) -> Found | None:
    """The request, answer or error in a packet that the filter has passed; None if it is another trace's."""
    family = FAMILIES[mark.version]
    for start in (0, *(item.header_bytes for item in _wrappings(mark.version))):
        inner = packet[start:]
        if len(inner) < family.header_bytes + _ECHO.size or inner[0] >> 4 != mark.version:
            continue
        if inner[family.protocol_at] == family.protocol and (found := _echo(mark, inner)):
            return found
    return None


def _echo(mark: Mark, packet: bytes) -> Found | None:
    family = FAMILIES[mark.version]
    kind, code, _, ident, number = _ECHO.unpack_from(packet, family.header_bytes)
    data = packet[family.header_bytes + _ECHO.size :]
    source = _source(mark.version, packet)
    if kind in (family.request, family.reply):
        is_ours = ident == mark.ident and data.startswith(mark.nonce)
        return Found(Leg.THERE if kind == family.request else Leg.BACK, number, source) if is_ours else None
    if len(data) < family.header_bytes + _ECHO.size:
        return None
    _, _, _, ident, number = _ECHO.unpack_from(data, family.header_bytes)
    quoted = data[family.header_bytes + _ECHO.size :][:NONCE_BYTES]
    is_ours = ident == mark.ident and mark.nonce.startswith(quoted)
    return Found(Leg.ERROR, number, source, (kind, code)) if is_ours else None


def _source(version: int, packet: bytes) -> Address:
    at = FAMILIES[version].source_at
    return Address(version, int.from_bytes(packet[at : at + (4 if version == 4 else 16)], "big"))


def _wrappings(version: int) -> list[Wrapping]:
    return [found for item in IMPLEMENTATIONS.values() for found in item.wrappings if found.version == version]
