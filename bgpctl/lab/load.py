"""
Traffic between all pairs of workloads at once: numbered UDP packets, and what became of them.

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

from bgpctl.lab import space
from bgpctl.lab.build import Names
from bgpctl.lab.topology import Workload

_PORT: Final = 5006
_LAST_PACKETS_S: Final = 1.0
_STAMP: Final = struct.Struct("!HI")
"""flow, number"""


@dataclass(slots=True)
class Flow:
    """One direction. `longest_gap_s` lies between two arrivals; the packets of a flow count from 0."""

    source: str
    destination: str
    address: tuple[str, int]
    sent: int = 0
    arrived: int = 0
    reordered: int = 0
    longest_gap_s: float = 0.0
    _latest: int = -1
    _last_s: float = 0.0

    @property
    def lost(self) -> int:
        return self.sent - self.arrived

    def arrival(self, number: int, at_s: float) -> None:
        """One packet came in. A later one before it counts as a reordering of this one."""
        if self.arrived:
            self.longest_gap_s = max(self.longest_gap_s, at_s - self._last_s)
        self.arrived += 1
        self.reordered += number < self._latest
        self._latest, self._last_s = max(number, self._latest), at_s


@dataclass(slots=True)
class Load:
    """`pps` packets a second in each direction between every two of the workloads, from `start` to `stop`."""

    names: Names
    workloads: Sequence[Workload]
    pps: int
    flows: list[Flow] = field(default_factory=list)
    _sockets: dict[str, socket.socket] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to send."""
        for workload in self.workloads:
            family = socket.AF_INET if workload.address.version == 4 else socket.AF_INET6
            made = space.open_socket(self.names.of(workload.name), family, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            made.bind((str(workload.address), _PORT))
            made.setblocking(False)
            self._sockets[workload.name] = made
        pairs = [(a, b) for a, b in permutations(self.workloads, 2) if a.address.version == b.address.version]
        self.flows = [Flow(a.name, b.name, (str(b.address), _PORT)) for a, b in pairs]
        for work in (self._receive, self._send):
            thread = threading.Thread(target=work, name="load", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> Sequence[Flow]:
        """End sending, wait for the last packets, and count."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for made in self._sockets.values():
            made.close()
        return self.flows

    def _send(self) -> None:
        """At the pace of the clock, not of the sleeps: a late packet is followed by the ones due meanwhile."""
        began_s, number = time.monotonic(), 0
        while not self._stopping.is_set():
            due = int((time.monotonic() - began_s) * self.pps) + 1
            for number in range(number, due):  # noqa: B020 (goes on where it stopped)
                for index, flow in enumerate(self.flows):
                    with contextlib.suppress(OSError):  # an unreachable destination counts as loss
                        self._sockets[flow.source].sendto(_STAMP.pack(index, number), flow.address)
                    flow.sent += 1
            number = max(number, due)
            self._stopping.wait(1 / self.pps)

    def _receive(self) -> None:
        poll = select.epoll()
        by_number = {made.fileno(): made for made in self._sockets.values()}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        quiet_since_s = 0.0
        with poll:
            while not quiet_since_s or time.monotonic() - quiet_since_s < _LAST_PACKETS_S:
                for number, _ in poll.poll(0.1):
                    self._drain(by_number[number])
                if self._stopping.is_set() and not quiet_since_s:
                    quiet_since_s = time.monotonic()

    def _drain(self, made: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                index, number = _STAMP.unpack(made.recv(64))
                self.flows[index].arrival(number, time.monotonic())
