"""
A node's life beside others: how soon it has its first route, what it costs at rest, and how soon another path is used.

For each number of peers, all of them silent but for one block each: the time and CPU from the start of the programs to
the first route in the kernel (for bgpctl also the agent's CPU to its first observation of the kernel); the memory (PSS)
of each process at rest; the CPU at rest; and, last, the time from the end of one peer's connection until all
TABLE routes of it lead to another peer, which announced them too, with a lower preference.

    PEERS="3 50 200" SECONDS=10 ROUNDS=2 python -m bench.node bench/results/node.json
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.fib_watch import FibWatch, routes_in_kernel
from bench.common.peers import Peers, announce
from bench.common.processes import Meter, command_of, cpu_s, part_of, pss_mb
from bench.common.rounds import interleaved
from bench.common.site import Site, peer_address, site
from bench.common.subjects import POOL, SUBJECTS, rest
from bgpctl.core.net.addresses import Prefix
from tests.waiting import wait_until

PEERS: Final = [int(count) for count in os.environ.get("PEERS", "3 50 200").split()]
"""Three peers: a mesh of four nodes."""
SECONDS: Final = float(os.environ.get("SECONDS", "10"))
ROUNDS: Final = int(os.environ.get("ROUNDS", "2"))
TABLE: Final = 1000
PREFERRED, OTHER = 200, 100
WITHIN_S: Final = 120.0
OBSERVED: Final = " was=starting"
"""In the agent's log once it has observed the kernel for the first time."""


def block(number: int) -> Prefix:
    return Prefix(4, POOL[4].network + 64 * number, 26)


def measure(subject: str, peers: int) -> Iterator[dict[str, Any]]:
    """One row: a node from its start to the end of its first peer."""
    with site(peers=peers) as place:
        addresses = [peer_address(number) for number in range(peers)]
        others = Peers(place.around, addresses)
        try:
            for number, address in enumerate(addresses):
                others.announce(address, announce([block(number)], address))
            row = {"subject": subject, "peers": peers, **started(subject, place)}
            others.up(WITHIN_S)
            wait_until(lambda: routes_in_kernel(place.node, 4) >= peers, within_s=WITHIN_S)
            rest(place)
            yield {**row, **at_rest(place), "failover_s": failover(place, others)}
        finally:
            others.close()


def started(subject: str, place: Site) -> dict[str, float]:
    """Seconds and CPU seconds to the first route."""
    watch = FibWatch(place.node, 4, WITHIN_S)
    log = place.directory / "node" / "agent.log"
    began_s = time.perf_counter()
    SUBJECTS[subject](place, [4])
    found: dict[str, float] = {}
    if subject == "bgpctl":
        wait_until(lambda: log.exists() and OBSERVED in log.read_text(), within_s=WITHIN_S)
        agent = next(pid for pid in place.processes() if "agent run" in command_of(pid))
        found["observed_cpu_s"] = cpu_s(agent)
    found["first_route_s"] = watch.first() - began_s
    found["first_route_cpu_s"] = Meter(place.processes()).total_s()
    watch.close()
    return found


def at_rest(place: Site) -> dict[str, Any]:
    """Memory of each process, and percent of one CPU of all of them."""
    meter = Meter(place.processes())
    meter.quiet()
    idle = meter.idle(SECONDS)
    memory: dict[str, float] = {}
    for pid in place.processes():
        memory[part_of(pid)] = memory.get(part_of(pid), 0.0) + pss_mb(pid)
    return {"idle_percent": 100 * sum(idle.values()), "pss_mb": memory}


def failover(place: Site, others: Peers) -> float:
    """Seconds until all routes of the first peer lead to the second."""
    routes = [block(1000 + number) for number in range(TABLE)]
    first, second = peer_address(0), peer_address(1)
    watch = FibWatch(place.node, 4, WITHIN_S)
    for address, preference in ((second, OTHER), (first, PREFERRED)):
        others.announce(address, announce(routes, address, preference))
        watch.all_lead(routes, address)
    Meter(place.processes()).quiet()
    began_s = time.perf_counter()
    others.hang_up(first)
    took_s = watch.all_lead(routes, second) - began_s
    watch.close()
    return took_s


def summary(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians of the rounds."""
    rows = []
    for key, taken in figures.grouped(samples, "peers", "subject").items():
        row: dict[str, Any] = {**key}
        for name in taken[0].keys() - {"peers", "subject", "pss_mb"}:
            row[name] = figures.median(sample[name] for sample in taken)
        parts = taken[0]["pss_mb"]
        row["pss_mb"] = {part: figures.median(sample["pss_mb"].get(part, 0.0) for sample in taken) for part in parts}
        rows.append(row)
    return rows


def show(sample: dict[str, Any]) -> str:
    memory = ", ".join(f"{part} {value:.1f}" for part, value in sample["pss_mb"].items())
    observed = (
        f"agent {sample['observed_cpu_s']:.2f} CPU s to its first observation, " if "observed_cpu_s" in sample else ""
    )
    return (
        f"{sample['peers']:>4} peers {sample['subject']:7} first route {sample['first_route_s']:.2f} s,"
        f" {sample['first_route_cpu_s']:.2f} CPU s; {observed}idle {sample['idle_percent']:.2f} %,"
        f" failover {1000 * sample['failover_s']:.0f} ms, MB: {memory}"
    )


def main(output: Path | None) -> None:
    samples, absent = interleaved(SUBJECTS, PEERS, ROUNDS, measure, show)
    if output:
        figures.write(output, {"rounds": ROUNDS, "table": TABLE, "absent": absent, "rows": summary(samples)})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
