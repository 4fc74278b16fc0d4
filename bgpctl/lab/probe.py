"""
Real packets between workloads: the ping matrix, and streams that count what is lost.

Refuses to know: how a packet gets there.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from bgpctl.lab import space
from bgpctl.lab.build import Names
from bgpctl.lab.topology import Workload

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ECHO: Final = struct.Struct("!BBHHH")
_RESEND_S: Final = 0.2
_LAST_PACKETS_S: Final = 1.0
_STREAM_PORT: Final = 5005


@dataclass(frozen=True, slots=True)
class Pair:
    """One direction of the matrix."""

    source: str
    destination: str
    ok: bool


def matrix(names: Names, workloads: Sequence[Workload], *, within_s: float) -> tuple[Pair, ...]:
    """Ping every ordered pair, repeating until each was answered once or the time is over."""
    numbers = {workload.name: number for number, workload in enumerate(workloads)}
    sockets = {
        w.name: space.open_socket(names.of(w.name), socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        for w in workloads
    }
    missing = {(a.name, b.name) for a in workloads for b in workloads if a != b}
    addresses = {workload.name: str(workload.address) for workload in workloads}
    wanted = sorted(missing)
    deadline = time.monotonic() + within_s
    try:
        while missing and time.monotonic() < deadline:
            for source, destination in sorted(missing):
                _send(sockets[source], addresses[destination], numbers[destination])
            missing -= _replies(sockets, {number: name for name, number in numbers.items()})
    finally:
        for made in sockets.values():
            made.close()
    return tuple(Pair(source, destination, (source, destination) not in missing) for source, destination in wanted)


def _send(sender: socket.socket, address: str, sequence: int) -> None:
    try:
        sender.sendto(_echo(os.getpid() & 0xFFFF, sequence), (address, 0))
    except OSError:
        return  # no route yet: the deadline decides


def _echo(identifier: int, sequence: int) -> bytes:
    header = _ECHO.pack(_ECHO_REQUEST, 0, 0, identifier, sequence)
    total = sum(struct.unpack("!4H", header))
    checksum = ~((total >> 16) + (total & 0xFFFF)) & 0xFFFF
    return _ECHO.pack(_ECHO_REQUEST, 0, checksum, identifier, sequence)


def _replies(sockets: dict[str, socket.socket], names: dict[int, str]) -> set[tuple[str, str]]:
    """Who answered whom within one resend interval."""
    owners = {made.fileno(): name for name, made in sockets.items()}
    answered: set[tuple[str, str]] = set()
    until = time.monotonic() + _RESEND_S
    while len(answered) < len(names) * (len(names) - 1) and (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select(list(sockets.values()), [], [], left)
        for made in ready:
            data = made.recv(2048)
            kind, _, _, identifier, sequence = _ECHO.unpack_from(data, (data[0] & 0xF) * 4)
            if kind == _ECHO_REPLY and identifier == os.getpid() & 0xFFFF and sequence in names:
                answered.add((owners[made.fileno()], names[sequence]))
    return answered


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What became of a stream. The longest gap is between two arrivals."""

    sent: int
    lost: int
    reordered: int
    longest_gap_ms: float


@dataclass(slots=True)
class Stream:
    """Numbered UDP packets from one workload to another, `pps` a second, from `start` to `stop`."""

    names: Names
    source: Workload
    destination: Workload
    pps: int = 1000
    port: int = _STREAM_PORT
    sent: int = 0
    _arrivals: list[tuple[int, float]] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _sockets: list[socket.socket] = field(default_factory=list)

    @property
    def received(self) -> int:
        """How many have arrived so far."""
        return len(self._arrivals)

    def start(self) -> None:
        """Begin to send."""
        receiver = space.open_socket(self.names.of(self.destination.name), socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((str(self.destination.address), self.port))
        receiver.settimeout(_LAST_PACKETS_S)
        sender = space.open_socket(self.names.of(self.source.name), socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect((str(self.destination.address), self.port))
        self._sockets = [receiver, sender]
        self._threads = [
            threading.Thread(target=self._receive, args=(receiver,), name="receiver", daemon=True),
            threading.Thread(target=self._send, args=(sender,), name="sender", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> StreamReport:
        """End sending, wait for the last packets, and count."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for made in self._sockets:
            made.close()
        numbers = [number for number, _ in self._arrivals]
        times = [at_s for _, at_s in self._arrivals]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        reordered = sum(1 for earlier, later in pairwise(numbers) if later < earlier)
        return StreamReport(
            self.sent, self.sent - len(set(numbers)), reordered, round(1000 * max(gaps, default=0.0), 1)
        )

    def _send(self, sender: socket.socket) -> None:
        """At the pace of the clock, not of the sleeps: a late packet is followed by the ones due meanwhile."""
        began_s = time.monotonic()
        while not self._stopping.is_set():
            due = int((time.monotonic() - began_s) * self.pps) + 1
            for number in range(self.sent, due):
                with contextlib.suppress(OSError):  # an unreachable destination counts as loss
                    sender.send(struct.pack("!Q", number))
            self.sent = max(self.sent, due)
            self._stopping.wait(1 / self.pps)

    def _receive(self, receiver: socket.socket) -> None:
        while True:
            try:
                data = receiver.recv(64)
            except TimeoutError:
                if self._stopping.is_set():
                    return
                continue
            self._arrivals.append((struct.unpack("!Q", data)[0], time.monotonic()))
