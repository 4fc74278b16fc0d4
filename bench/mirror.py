"""
Costs of the kernel's own life for an agent with ROUTES routes (1000): one foreign route replaced RATE times a second
(5), and nothing at all, for SECONDS each (20; a minute at least). Prints the CPU time of one observation after a
foreign change, the share of a core that the changes keep the agent busy for, and the CPU time of a minute in which
nothing happens.

    ROUTES=50000 SECONDS=60 python -m bench.mirror [bench/results/mirror.json]
"""

from __future__ import annotations

import itertools
import os
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench.common import figures
from bench.common.processes import cpu_s
from bench.vxlan_agent import ROUTES, agent, in_own_namespace
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Route
from bgpctl.kernel import encode
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.netlink import Netlink

RATE = float(os.environ.get("RATE", "5"))
SECONDS = float(os.environ.get("SECONDS", "20"))
OBSERVATIONS = 20
GIVE_UP_S = 5.0
CHECKED_S = 70.0
"""By then an agent has made its last decision again for the first time. The next time is so far away that a minute with
one stands for no other: a thousand times as long as it took."""
GATEWAYS = (Address.parse("10.0.0.200"), Address.parse("10.0.0.201"))


def change(netlink: Netlink, index: int, turn: int) -> Route:
    """A foreign route by another gateway than the last time."""
    route = Route(Prefix.parse("192.0.2.0/24"), gateway=GATEWAYS[turn % 2], link="eth0", protocol=4)
    assert netlink.request([encode.put(route, index)]) == ()
    return route


def observation_s(netlink: Netlink, index: int) -> float:
    """The CPU time in which a watching kernel sees one foreign change; the median of OBSERVATIONS."""
    rung = threading.Event()
    kernel = LinuxKernel()
    kernel.watch(rung.set)
    kernel.observe()
    taken = []
    for turn in range(OBSERVATIONS):
        change(netlink, index, turn)
        kernel.observe()
        rung.clear()
        start_s = time.process_time()
        route = change(netlink, index, turn + 1)
        assert rung.wait(GIVE_UP_S)
        seen = kernel.observe()
        taken.append(time.process_time() - start_s)
        assert route in seen.routes
    kernel.close()
    return statistics.median(taken)


def main(output: Path | None) -> None:
    index = socket.if_nametoindex("eth0")
    netlink = Netlink()
    agent_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, agent(Path(directory)) as pid:
        time.sleep(10)
        before_s, start_s = cpu_s(pid), time.monotonic()
        for turn in itertools.count():
            if time.monotonic() - start_s > SECONDS:
                break
            change(netlink, index, turn)
            time.sleep(1 / RATE)
        busy = (cpu_s(pid) - before_s) / (time.monotonic() - start_s)
        time.sleep(max(5.0, agent_s + CHECKED_S - time.monotonic()))
        before_s, start_s = cpu_s(pid), time.monotonic()
        time.sleep(max(SECONDS, 60.0))
        quiet_s = (cpu_s(pid) - before_s) * 60 / (time.monotonic() - start_s)
        observed_s = observation_s(netlink, index)
    print(
        f"{ROUTES} routes: an observation after one foreign change {observed_s * 1000:.2f} ms of CPU;"
        f" {RATE:g} a second keep the agent busy for {busy:.1%}; quiet {quiet_s:.2f} CPU s a minute"
    )
    if output:
        record = {
            "routes": ROUTES,
            "observation_s": round(observed_s, 6),
            "busy": round(busy, 4),
            "quiet_s": round(quiet_s, 3),
        }
        figures.write(output, record)


if __name__ == "__main__":
    in_own_namespace("bench.mirror", main)
