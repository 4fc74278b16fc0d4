"""
Traffic between workloads: numbered UDP packets, and what became of them.

Refuses to know: why it is sent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Final

from bgpctl.lab import netns
from bgpctl.lab.build import Names
from bgpctl.lab.topology import Workload

_PORT: Final = 5005
_POLL_S: Final = 0.1
_QUIET_POLLS: Final = 10
"""That many in a row without a packet, after the last one was sent, and none is on its way."""
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_HEADER_BYTES: Final = {4: 20 + 8, 6: 40 + 8}
"""IP and UDP."""
# ip(7), ipv6(7): the packet may not be divided.
_WHOLE: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_PMTUDISC_DO: Final = 2
_STAMP: Final = struct.Struct("!HI")
"""flow, number"""


@dataclass(slots=True, repr=False)
class Flow:
    """One direction of one IP version. `longest_gap_s` lies between two arrivals; packets are numbered from 0."""

    source: str
    destination: str
    version: int
    sent: int = 0
    reordered: int = 0
    longest_gap_s: float = 0.0
    _numbers: set[int] = field(default_factory=set)
    _latest: int = -1
    _last_s: float = 0.0

    def __repr__(self) -> str:
        """For failed tests: the numbers of missing packets show when it happened and for how long."""
        missing = [number for number in range(self.sent) if number not in self._numbers]
        first = f" ({', '.join(map(str, missing[:8]))}{', …' if missing[8:] else ''})" if missing else ""
        counts = f"{self.sent} sent, {len(missing)} missing{first}, {self.reordered} reordered"
        return f"<{self.source} to {self.destination}, IPv{self.version}: {counts}, gap {self.longest_gap_s:.3f} s>"

    @property
    def arrived(self) -> int:
        return len(self._numbers)

    @property
    def lost(self) -> int:
        return self.sent - self.arrived

    def missing(self, first: int, end: int) -> int:
        """How many of the packets numbered from `first` to before `end` have not arrived."""
        return sum(number not in self._numbers for number in range(first, end))

    def has_since(self, first: int) -> bool:
        """True if a packet of this number or a later one has arrived."""
        return self._latest >= first

    def arrival(self, number: int, at_s: float) -> None:
        """One packet came in. A later one before it counts as a reordering of this one."""
        if self._numbers:
            self.longest_gap_s = max(self.longest_gap_s, at_s - self._last_s)
        self._numbers.add(number)
        self.reordered += number < self._latest
        self._latest, self._last_s = max(number, self._latest), at_s


def both_directions(workloads: Sequence[Workload]) -> list[tuple[Workload, Workload]]:
    """Every ordered pair."""
    return list(permutations(workloads, 2))


class Load:
    """
    `pps` packets a second from the first to the second of each pair, over every IP version that both have.

    Args:
        packet_bytes: the size of each packet, which must not be fragmented; None: small ones, which may be.
    """

    def __init__(
        self, names: Names, pairs: Sequence[tuple[Workload, Workload]], pps: int, packet_bytes: int | None = None
    ) -> None:
        self._packet_bytes = packet_bytes
        ends = [
            (Flow(source.name, destination.name, version), source.address_of(version), destination.address_of(version))
            for source, destination in pairs
            for version in _FAMILIES
        ]
        self.flows = [flow for flow, source, destination in ends if source and destination]
        self._pps = pps
        self._names = names
        self._targets = [(str(destination), _PORT) for _, source, destination in ends if source and destination]
        self._addresses = {
            (workload.name, version): str(address)
            for pair in pairs
            for workload in pair
            for version in _FAMILIES
            if (address := workload.address_of(version))
        }
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._stopping, self._all_sent = threading.Event(), threading.Event()
        self._receiver, self._sender = (
            threading.Thread(target=work, name="load", daemon=True) for work in (self._receive, self._send)
        )

    def start(self) -> None:
        """Begin to send."""
        for (name, version), address in self._addresses.items():
            made = netns.open_socket(self._names.of(name), _FAMILIES[version], socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            made.bind((address, _PORT))
            if self._packet_bytes is not None:
                made.setsockopt(*_WHOLE[version], _PMTUDISC_DO)
            made.setblocking(False)
            self._sockets[name, version] = made
        self._receiver.start()
        self._sender.start()

    def stop(self) -> Sequence[Flow]:
        """End sending, wait for the last packets, and count."""
        self._stopping.set()
        self._sender.join()
        self._all_sent.set()
        self._receiver.join()
        for made in self._sockets.values():
            made.close()
        return self.flows

    def _send(self) -> None:
        """At the pace of the clock, not of the sleeps: a late packet is followed by the ones due meanwhile."""
        began_s, number = time.monotonic(), 0
        while not self._stopping.is_set():
            due = int((time.monotonic() - began_s) * self._pps) + 1
            while number < due:
                for index, (flow, target) in enumerate(zip(self.flows, self._targets, strict=True)):
                    with contextlib.suppress(OSError):  # an unreachable destination counts as loss
                        self._sockets[flow.source, flow.version].sendto(self._packet(flow, index, number), target)
                    flow.sent += 1
                number += 1
            self._stopping.wait(1 / self._pps)

    def _packet(self, flow: Flow, index: int, number: int) -> bytes:
        length = self._packet_bytes - _HEADER_BYTES[flow.version] if self._packet_bytes else 0
        return _STAMP.pack(index, number).ljust(length, b"\0")

    def _receive(self) -> None:
        poll = select.epoll()
        by_number = {made.fileno(): made for made in self._sockets.values()}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        # Polls are counted, not seconds: a process that had to wait for its turn finds what came meanwhile.
        quiet = 0
        with poll:
            while quiet < _QUIET_POLLS:
                ready = poll.poll(_POLL_S)
                for number, _ in ready:
                    self._drain(by_number[number])
                quiet = quiet + 1 if self._all_sent.is_set() and not ready else 0

    def _drain(self, made: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                index, number = _STAMP.unpack(made.recv(_STAMP.size))
                self.flows[index].arrival(number, time.monotonic())
