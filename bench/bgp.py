"""
How soon the routes of one BGP peer are in the kernel: bgpctl beside BIRD and FRR, in interleaved rounds.

The peer is a BIRD that has the session up first and then announces everything at once, as it packs it. Time runs from
that command until the kernel has all routes. CPU and peak memory are those of all processes of the subject, from
/proc: for bgpctl agent, ExaBGP and bridge, for FRR bgpd and zebra.

    ROUTES=50000 ROUNDS=3 python -m bench.bgp bench/results/bgp.json
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bgpctl.core.net.addresses import Prefix
from bgpctl.lab import netns
from bgpctl.lab.daemons.session_options import Neighbor, Origin, Router
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon
from tests.interop.frr import Frr
from tests.interop.rig import router
from tests.interop.world import ADDRESS, World
from tests.waiting import wait_until

ROUTES = int(os.environ.get("ROUTES", "50000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
WITHIN_S = 300.0
TICKS = os.sysconf("SC_CLK_TCK")
POOL = Prefix.parse("11.0.0.0/8")
CLUSTER = f"""\
calico_backend: bird
pools: {{big: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
  us: {{address: {ADDRESS["us"]}/24}}
  one: {{address: {ADDRESS["one"]}/24}}
"""
FEED = {Prefix(4, POOL.network + 64 * number, 26): Origin() for number in range(ROUTES)}


def in_kernel(world: World) -> int:
    """How many routes the node has, by the kernel's own count: listing them would compete for the CPU."""

    def count() -> int:
        table = Path("/proc/thread-self/net/fib_triestat").read_text()
        return max(int(line.split()[-1]) for line in table.splitlines() if "Prefixes:" in line)

    return netns.inside(world.names.of("us"), count)


def cost(pids: list[int]) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of some processes."""
    cpu = memory = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / TICKS
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        memory += int(status["VmHWM"].split()[0]) / 1000
    return cpu, memory


def ours(world: World) -> Callable[[], bool]:
    world.agree(CLUSTER)
    return lambda: world.established(ADDRESS["one"])


def theirs(kind: type[Bird | Frr]) -> Callable[[World], Callable[[], bool]]:
    def start(world: World) -> Callable[[], bool]:
        daemon: Daemon = kind(world.place("us"))
        daemon.start(Router(ADDRESS["us"], (Neighbor(ADDRESS["one"], ADDRESS["us"]),)))
        return lambda: daemon.established(ADDRESS["one"])

    return start


SUBJECTS = {"bgpctl": ours, "BIRD": theirs(Bird), "FRR": theirs(Frr)}


def measure(name: str, start: Callable[[World], Callable[[], bool]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="io") as directory:
        world = World(Path(directory), f"bench-{name}")
        try:
            feeder = Bird(world.place("one"))
            feeder.start(router("one", routes=FEED))
            feeder.hold_back()
            up = start(world)
            wait_until(up, within_s=30)
            before, (idle_s, _) = in_kernel(world), cost(netns.processes(world.names.of("us")))
            began_s = time.monotonic()
            feeder.let_go()
            wait_until(lambda: in_kernel(world) >= before + ROUTES, within_s=WITHIN_S)
            took_s = time.monotonic() - began_s
            cpu_s, peak_mb = cost(netns.processes(world.names.of("us")))
            return {"seconds": took_s, "cpu_seconds": cpu_s - idle_s, "peak_mb": peak_mb}
        finally:
            world.tear_down()


def main() -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SUBJECTS}
    for _ in range(ROUNDS):
        for name, start in SUBJECTS.items():
            found[name].append(measure(name, start))
    medians = {
        name: {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
        for name, rows in found.items()
    }
    report = {"routes": ROUTES, "rounds": ROUNDS, "subjects": medians}
    for name, row in medians.items():
        print(f"{name:8}{row['seconds']:8.2f} s {row['cpu_seconds']:8.2f} CPU s {row['peak_mb']:8.1f} MB")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(sys.argv[1]).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
