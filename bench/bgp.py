"""
How soon the routes of one BGP peer are in the kernel: bgpctl beside BIRD and FRR, in interleaved rounds.

The peer is a BIRD that has the session up first and then announces everything at once: packed, since all routes have
equal attributes, or one route per UPDATE, since each has a community of its own. Time runs from that command until the
kernel has all routes. CPU and peak memory are those of all processes of the subject, from
/proc: for bgpctl agent, ExaBGP and bridge, for FRR bgpd and zebra.

    ROUTES=50000 ROUNDS=3 python -m bench.bgp bench/results/bgp.json
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.common import figures
from bench.common.ending import ends_orderly, finishing
from bench.common.fib_watch import routes_in_kernel
from bench.common.processes import cpu_s, peak_mb
from bench.common.rounds import interleaved
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
COLUMNS = ("seconds", "cpu_seconds", "peak_mb")
POOL = Prefix.parse("11.0.0.0/8")
CLUSTER = f"""\
calico_backend: bird
pools: {{big: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
  us: {{address: {ADDRESS["us"]}/24}}
  one: {{address: {ADDRESS["one"]}/24}}
"""
PACKED, ONE_PER_UPDATE = "packed", "one per UPDATE"
PREFIXES = [Prefix(4, POOL.network + 64 * number, 26) for number in range(ROUTES)]
FEEDS = {
    PACKED: dict.fromkeys(PREFIXES, Origin()),
    ONE_PER_UPDATE: {prefix: Origin((f"64512:1:{number}",)) for number, prefix in enumerate(PREFIXES)},
}


def cost(pids: list[int]) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of some processes."""
    return sum(map(cpu_s, pids)), sum(map(peak_mb, pids))


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


def measure(name: str, feed: str) -> Iterator[dict[str, Any]]:
    """The figures of one round."""
    with tempfile.TemporaryDirectory(prefix="io") as directory:
        world = World(Path(directory), f"bench-{name}")
        try:
            feeder = Bird(world.place("one"))
            feeder.start(router("one", routes=FEEDS[feed]))
            feeder.hold_back()
            up = SUBJECTS[name](world)
            wait_until(up, within_s=60)
            before, idle = routes_in_kernel(world.names.of("us"), 4), cost(netns.processes(world.names.of("us")))
            began_s = time.monotonic()
            feeder.let_go()
            wait_until(lambda: routes_in_kernel(world.names.of("us"), 4) >= before + ROUTES, within_s=WITHIN_S)
            took_s = time.monotonic() - began_s
            cpu_s, peak_mb = cost(netns.processes(world.names.of("us")))
            cost_s = cpu_s - idle[0]
            yield {"feed": feed, "subject": name, "seconds": took_s, "cpu_seconds": cost_s, "peak_mb": peak_mb}
        finally:
            with finishing():
                world.tear_down()


def show(row: dict[str, Any]) -> str:
    costs = f"{row['seconds']:8.2f} s {row['cpu_seconds']:8.2f} CPU s {row['peak_mb']:8.1f} MB"
    return f"{row['feed']:15}{row['subject']:8}{costs}"


def main(output: Path | None) -> None:
    samples, absent = interleaved(SUBJECTS, list(FEEDS), ROUNDS, measure, show)
    rows = [
        {**key, **{column: figures.median(row[column] for row in taken) for column in COLUMNS}}
        for key, taken in figures.grouped(samples, "feed", "subject").items()
    ]
    if output:
        figures.write(output, {"routes": ROUTES, "rounds": ROUNDS, "absent": absent, "rows": rows})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
