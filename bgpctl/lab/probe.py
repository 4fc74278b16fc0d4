"""
Real packets between workloads: the ping matrix, and with which source address they arrive.

Refuses to know: how a packet gets there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns
from bgpctl.lab.build import Names
from bgpctl.lab.topology import Workload

_ECHO: Final = struct.Struct("!BBHHH")
_RESEND_S: Final = 0.2
_SOURCE_PORT: Final = 5006
_SIOCGIFMTU: Final = 0x8921  # netdevice(7)
_IFREQ: Final = struct.Struct("16si20x")
# Not in Python's socket module: linux/in.h, linux/in6.h.
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IPV6_MTU_DISCOVER = 10, 2, 23


class _Ping(NamedTuple):
    """How one IP version is pinged. `undivided`: level and name of the socket option that forbids fragments."""

    version: int
    family: socket.AddressFamily
    protocol: int
    request: int
    reply: int
    overhead_bytes: int
    undivided: tuple[int, int]


_PINGS: Final = (
    _Ping(4, socket.AF_INET, socket.IPPROTO_ICMP, 8, 0, 20, (socket.IPPROTO_IP, _IP_MTU_DISCOVER)),
    _Ping(6, socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129, 40, (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER)),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One direction of the matrix, for one IP version that both ends have."""

    source: str
    destination: str
    version: int
    ok: bool


def matrix(
    names: Names, workloads: Sequence[Workload], *, within_s: float, undivided: bool = False
) -> tuple[Pair, ...]:
    """
    Ping every ordered pair of workloads over each IP version, repeating until each was answered once or the time is
    over. Packets are as large as both workloads' links allow. If they are to be `undivided`, one larger than the path
    MTU is lost; otherwise its sender fragments it, once it knows the path MTU.
    """
    return tuple(pair for ping in _PINGS for pair in _matrix(names, workloads, ping, within_s, undivided=undivided))


def _matrix(
    names: Names, workloads: Sequence[Workload], ping: _Ping, within_s: float, *, undivided: bool
) -> Iterator[Pair]:
    addresses = {w.name: str(address) for w in workloads if (address := w.address_of(ping.version))}
    numbers = {name: number for number, name in enumerate(addresses)}
    sockets = {name: _ping_socket(names.of(name), ping, undivided=undivided) for name in addresses}
    mtus = {name: _mtu_bytes(made) for name, made in sockets.items()}
    wanted = list(permutations(sorted(addresses), 2))
    missing = set(wanted)
    deadline = time.monotonic() + within_s
    try:
        while missing and time.monotonic() < deadline:
            for source, destination in sorted(missing):
                packet = _echo(ping, numbers[destination], min(mtus[source], mtus[destination]))
                _send(sockets[source], addresses[destination], packet)
            missing -= _replies(sockets, {number: name for name, number in numbers.items()}, ping)
    finally:
        for made in sockets.values():
            made.close()
    for source, destination in wanted:
        yield Pair(source, destination, ping.version, (source, destination) not in missing)


def _ping_socket(namespace: str, ping: _Ping, *, undivided: bool) -> socket.socket:
    made = netns.open_socket(namespace, ping.family, socket.SOCK_RAW, ping.protocol)
    if undivided:
        made.setsockopt(*ping.undivided, _IP_PMTUDISC_DO)
    return made


def _mtu_bytes(made: socket.socket) -> int:
    """Of eth0 in the socket's namespace."""
    answer = fcntl.ioctl(made, _SIOCGIFMTU, _IFREQ.pack(b"eth0", 0))
    return int(_IFREQ.unpack(answer)[1])


def _send(sender: socket.socket, address: str, packet: bytes) -> None:
    try:
        sender.sendto(packet, (address, 0))
    except OSError:
        return  # no route yet, or too large for it: the deadline decides


def _echo(ping: _Ping, sequence: int, size_bytes: int) -> bytes:
    """An echo request; of ICMPv6 the kernel itself makes the checksum, which covers addresses."""
    header = _ECHO.pack(ping.request, 0, 0, os.getpid() & 0xFFFF, sequence)
    payload = bytes(size_bytes - ping.overhead_bytes - _ECHO.size)
    total = sum(struct.unpack("!4H", header))
    checksum = ~((total >> 16) + (total & 0xFFFF)) & 0xFFFF
    return _ECHO.pack(ping.request, 0, checksum, os.getpid() & 0xFFFF, sequence) + payload


def _replies(sockets: dict[str, socket.socket], names: dict[int, str], ping: _Ping) -> set[tuple[str, str]]:
    """Pairs (source, destination) with an answer within one resend interval."""
    owners = {made.fileno(): name for name, made in sockets.items()}
    answered: set[tuple[str, str]] = set()
    until = time.monotonic() + _RESEND_S
    while len(answered) < len(names) * (len(names) - 1) and (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select(list(sockets.values()), [], [], left)
        for made in ready:
            data = made.recv(1 << 16)
            # A raw IPv4 socket shows the IP header too.
            start = (data[0] & 0xF) * 4 if ping.version == 4 else 0
            kind, _, _, identifier, sequence = _ECHO.unpack_from(data, start)
            if kind == ping.reply and identifier == os.getpid() & 0xFFFF and sequence in names:
                answered.add((owners[made.fileno()], names[sequence]))
    return answered


def seen_source(
    names: Names, source: tuple[str, Address], destination: tuple[str, Address], *, within_s: float
) -> Address | None:
    """
    Where a datagram from a part of the lab, at one of its addresses, seems to come from where it arrives. None if it
    does not arrive, or the answer to it does not come back.
    """
    receiver = _bound(names.of(destination[0]), destination[1])
    sender = _bound(names.of(source[0]), source[1])
    deadline = time.monotonic() + within_s
    seen: Address | None = None
    with receiver, sender:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # no route yet: the deadline decides
                sender.sendto(b"?", (str(destination[1]), _SOURCE_PORT))
            ready, _, _ = select.select([receiver, sender], [], [], _RESEND_S)
            if receiver in ready:
                _, whence = receiver.recvfrom(64)
                seen = Address.parse(whence[0])
                with contextlib.suppress(OSError):
                    receiver.sendto(b"!", whence)
            if sender in ready and sender.recv(64) == b"!":
                return seen
    return None


def _bound(namespace: str, address: Address) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    made = netns.open_socket(namespace, family, socket.SOCK_DGRAM)
    made.bind((str(address), _SOURCE_PORT))
    return made
