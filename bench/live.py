"""
One changed route in a running node: CPU of all its processes, and the time until the kernel has it, by table size.

A node has two BGP peers; each announces one half of a table. Then one UPDATE after the other adds, withdraws or moves
one route. The time runs from the UPDATE's system call to the kernel's notification of the route, read in the node's
namespace. CPU is that of all processes of the node, for bgpctl agent, ExaBGP and bridge, for FRR bgpd and zebra, until
they rest, without what they use at rest. "dense" is a table of 16,000 /32 inside one /18.

    SIZES="1000 10000" CHANGES=20 ROUNDS=1 python -m bench.live bench/results/live.json
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.fib_watch import FibWatch, routes_in_kernel
from bench.common.peers import Peers, announce, withdraw
from bench.common.processes import Meter, spent
from bench.common.rounds import interleaved
from bench.common.site import Site, peer_address, site
from bench.common.subjects import POOL, SUBJECTS, rest
from bgpctl.core.net.addresses import Prefix
from tests.waiting import wait_until

SIZES: Final = tuple(int(size) for size in os.environ.get("SIZES", "1000 10000 50000 100000").split())
SIZES6: Final = tuple(int(size) for size in os.environ.get("SIZES6", "1000 10000 50000").split())
DENSE: Final = tuple(int(size) for size in os.environ.get("DENSE", "16000").split())
CHANGES: Final = int(os.environ.get("CHANGES", "40"))
ROUNDS: Final = int(os.environ.get("ROUNDS", "2"))
COLUMNS: Final = ("table", "routes", "change")
WITHIN_S: Final = 300.0
IDLE_S: Final = 1.0
PAUSE_S: Final = (0.02, 0.05)
"""Between two changes, at random, so that they do not beat with a timer of the node."""
MOVES: Final = 61
"""Moved routes are so many places apart in the table."""


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of table, of one IP version, by the length of its prefixes."""

    name: str
    version: int
    length: int
    sizes: tuple[int, ...]

    @property
    def sessions(self) -> tuple[int, ...]:
        """The IP versions of each peer's sessions: a node has an IPv4 address always."""
        return (4,) if self.version == 4 else (4, 6)

    def __str__(self) -> str:
        return self.name

    def prefix(self, number: int) -> Prefix:
        bits = 32 if self.version == 4 else 128
        return Prefix(self.version, POOL[self.version].network + (number << (bits - self.length)), self.length)


TABLES: Final = (
    Table("IPv4", 4, 26, SIZES),
    Table("IPv4 dense", 4, 32, DENSE),
    Table("IPv6", 6, 122, SIZES6),
)


class Feed:
    """The peers of a node, and the table that they have announced so far."""

    def __init__(self, place: Site, table: Table) -> None:
        self._site, self._table = place, table
        self._addresses = [peer_address(number, table.version) for number in range(place.peers)]
        self._peers = Peers(
            place.around, [peer_address(number, version) for version in table.sessions for number in range(place.peers)]
        )
        self.size = 0

    def up(self) -> None:
        """Wait until all sessions are; they end an empty table of each peer."""
        self._peers.up()
        self._before = routes_in_kernel(self._site.node, self._table.version)

    def grow(self, size: int) -> None:
        """Announce more, and wait until the kernel has all of them."""
        for number, address in enumerate(self._addresses):
            fresh = [self._table.prefix(i) for i in range(self.size, size) if i % len(self._addresses) == number]
            self._peers.announce(address, announce(fresh, address))
        self.size = size
        wait_until(
            lambda: routes_in_kernel(self._site.node, self._table.version) >= self._before + size, within_s=WITHIN_S
        )

    def add(self, number: int, watch: FibWatch) -> float:
        """The seconds until the kernel has one route more."""
        prefix, address = self._fresh(number), self._addresses[0]
        return self._sent(announce([prefix], address), lambda: watch.leads(prefix, address))

    def withdraw(self, number: int, watch: FibWatch) -> float:
        prefix = self._fresh(number)
        return self._sent(withdraw([prefix]), lambda: watch.gone(prefix))

    def move(self, number: int, watch: FibWatch) -> float:
        """The seconds until a route of the first peer leads to the second, or back."""
        prefix = self._table.prefix(2 * MOVES * number % (self.size // 2 * 2))
        hop = self._addresses[1]
        return self._sent(announce([prefix], hop), lambda: watch.leads(prefix, hop))

    def move_back(self, number: int) -> None:
        self._peers.send(
            self._addresses[0],
            announce([self._table.prefix(2 * MOVES * number % (self.size // 2 * 2))], self._addresses[0]),
        )

    def _fresh(self, number: int) -> Prefix:
        return self._table.prefix(self.size + 7 + number)

    def _sent(self, update: bytes, seen: Callable[[], float]) -> float:
        began_s = time.perf_counter()
        self._peers.send(self._addresses[0], update)
        return seen() - began_s

    def close(self) -> None:
        self._peers.close()


def measure(subject: str, table: Table) -> Iterator[dict[str, Any]]:
    """All sizes of one kind of table on one node, which grows."""
    with site(peers=2) as place:
        feed = Feed(place, table)
        try:
            SUBJECTS[subject](place, table.sessions)
            feed.up()
            for size in table.sizes:
                feed.grow(size)
                rest(place)
                yield from changes(subject, table, size, place, feed)
        finally:
            feed.close()


def changes(subject: str, table: Table, size: int, place: Site, feed: Feed) -> Iterator[dict[str, Any]]:
    """Each kind of change, CHANGES times."""
    meter = Meter(place.processes())
    meter.quiet()
    idle = meter.idle(IDLE_S)
    watch = FibWatch(place.node, table.version)
    chance = random.Random(size)  # noqa: S311 (the same pauses each time)
    try:
        for change, act in (("added", feed.add), ("withdrawn", feed.withdraw), ("moved", feed.move)):
            latencies: list[float] = []

            def run(act: Callable[[int, FibWatch], float] = act, latencies: list[float] = latencies) -> None:
                for number in range(CHANGES):
                    latencies.append(act(number, watch))
                    time.sleep(chance.uniform(*PAUSE_S))

            cpu = spent(meter, idle, run)
            yield {
                "subject": subject,
                "table": table.name,
                "routes": size,
                "change": change,
                "cpu_ms": {part: 1000 * value / CHANGES for part, value in cpu.items()},
                "latencies_ms": [1000 * value for value in latencies],
            }
        for number in range(CHANGES):
            feed.move_back(number)
        rest(place)
    finally:
        watch.close()


def show(sample: dict[str, Any]) -> str:
    return figures.line(figures.change_rows([sample], *COLUMNS)[0])


def main(output: Path | None) -> None:
    tables = [table for table in TABLES if table.sizes]
    samples, absent = interleaved(SUBJECTS, tables, ROUNDS, measure, show)
    rows = figures.change_rows(samples, *COLUMNS)
    if ROUNDS > 1:
        print("\n".join(["", "medians of all rounds", *map(figures.line, rows)]))
    if output:
        figures.write(output, {"changes": CHANGES, "rounds": ROUNDS, "absent": absent, "rows": rows})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
