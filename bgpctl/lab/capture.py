"""
Packets seen on the lab's segments, as values.

Every packet is seen once: where it enters a bridge, from the port of its sender or forwarder.

Refuses to know: the expected format of packets.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Self

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns, wire
from bgpctl.lab.build import Names, Port
from bgpctl.lab.wire import Carried

_ETH_P_ALL: Final = 3
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_PACKET_OUTGOING: Final = 4
_BUFFER_BYTES: Final = 16 << 20
# packet(7): struct tpacket_stats, received and dropped since it was last read.
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS: Final = struct.Struct("=II")
_TCP, _UDP = 6, 17
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!4sHBB16s16s")
_MORE_FRAGMENTS_OR_OFFSET, _DONT_FRAGMENT = 0x3FFF, 0x4000


@dataclass(frozen=True, slots=True)
class Inner:
    """The contents of a tunnel packet; `vni` where there is one, `shape` None if the tunnel is none of ours."""

    source: Address
    destination: Address
    protocol: int
    ttl: int
    vni: int | None
    shape: str | None


@dataclass(frozen=True, slots=True)
class Packet:
    """
    One IPv4 or IPv6 packet as it entered a segment from `port`.

    `protocol` is the outer one, of IPv6 the first header's; the ports are of UDP or TCP, None otherwise; `length` in
    bytes with the IP header; IPv6 never allows routers to fragment.
    """

    port: Port
    source: Address
    destination: Address
    protocol: int
    ttl: int
    dont_fragment: bool
    length: int
    source_port: int | None
    destination_port: int | None
    inner: Inner | None


class Capture:
    """
    Collects from the moment it is made until it is left: `with Capture(…) as capture: …; capture.packets`.

    `missed` is known when it is left: packets that did not fit into the socket's buffer.
    """

    def __init__(self, names: Names, ports: Mapping[str, Port], intent: Intent) -> None:
        self.packets: list[Packet] = []
        self.missed = 0
        self._ports = ports
        self._intent = intent
        # One socket for the whole fabric; the port of arrival identifies the segment.
        self._socket = netns.inside(names.fabric, _packet_socket)
        self._end = os.eventfd(0)
        self._thread = threading.Thread(target=self._collect, name="capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.eventfd_write(self._end, 1)
        self._thread.join()
        _, self.missed = _STATISTICS.unpack(self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))
        self._socket.close()
        os.close(self._end)

    def _collect(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._end, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._socket in ready:
                    self._take()
                elif self._end in ready:
                    return  # only once everything received has been taken

    def _take(self) -> None:
        frame, (name, protocol, kind, *_) = self._socket.recvfrom(65535)
        port = self._ports.get(name)
        if port is None or kind == _PACKET_OUTGOING or protocol not in {_ETH_P_IP, _ETH_P_IPV6}:
            return
        packet = decode(frame[14:], port, self._intent)
        if packet:
            self.packets.append(packet)


def _packet_socket() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    return made


def decode(data: bytes, port: Port, intent: Intent) -> Packet | None:
    """An IP packet, with the inner packet of a tunnel of ours; None if it is neither IPv4 nor IPv6."""
    header = _header(data)
    if header is None:
        return None
    payload, protocol = header.payload, header.protocol
    ports = struct.unpack_from("!HH", payload) if protocol in {_TCP, _UDP} and len(payload) >= 8 else None
    return Packet(
        port=port,
        source=header.source,
        destination=header.destination,
        protocol=protocol,
        ttl=header.ttl,
        dont_fragment=header.dont_fragment,
        length=header.length,
        source_port=ports[0] if ports else None,
        destination_port=ports[1] if ports else None,
        inner=_inner(wire.carried(protocol, ports[1] if ports else None, payload, intent)),
    )


class _Header(NamedTuple):
    """The fields that IPv4 and IPv6 have in common. Of a fragment the payload is left out: it may begin anywhere."""

    source: Address
    destination: Address
    protocol: int
    ttl: int
    dont_fragment: bool
    length: int
    payload: bytes


def _header(data: bytes) -> _Header | None:
    if len(data) >= _IPV4.size and data[0] >> 4 == 4:
        first, _, length, _, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(data)
        payload = b"" if fragment & _MORE_FRAGMENTS_OR_OFFSET else data[(first & 0xF) * 4 :]
        undivided = bool(fragment & _DONT_FRAGMENT)
        return _Header(_address(source), _address(destination), protocol, ttl, undivided, length, payload)
    if len(data) >= _IPV6.size and data[0] >> 4 == 6:
        _, length, protocol, ttl, source, destination = _IPV6.unpack_from(data)
        ends = _address(source), _address(destination)
        return _Header(*ends, protocol, ttl, True, _IPV6.size + length, data[_IPV6.size :])
    return None


def _inner(found: Carried | None) -> Inner | None:
    header = _header(found.data) if found else None
    if found is None or header is None:
        return None
    return Inner(header.source, header.destination, header.protocol, header.ttl, found.vni, found.shape)


def _address(data: bytes) -> Address:
    return Address(4 if len(data) == 4 else 6, int.from_bytes(data, "big"))
