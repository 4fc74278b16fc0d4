"""
Costs of the kernel's own life for an agent with ROUTES routes (1000): one foreign route replaced RATE times a second
(5), and nothing at all, for SECONDS each (20; a minute at least). Told are the CPU time of one look after a foreign
change, the share of a core that the changes keep the agent busy for, and the CPU time of a minute in which nothing
happens.

    ROUTES=50000 SECONDS=60 python bench/mirror.py [bench/results/mirror.json]
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bgpctl import client
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Route
from bgpctl.kernel import encode
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.netlink import Netlink

ROUTES = int(os.environ.get("ROUTES", "1000"))
RATE = float(os.environ.get("RATE", "5"))
SECONDS = float(os.environ.get("SECONDS", "20"))
LOOKS = 20
PEERS = 20
GIVE_UP_S = 5.0
STARTED_WITHIN_S = 600.0
TICKS = os.sysconf("SC_CLK_TCK")
GATEWAYS = (Address.parse("10.0.0.200"), Address.parse("10.0.0.201"))


def blocks() -> list[Prefix]:
    return [Prefix(4, (10 << 24) + (128 << 16) + (number + 1) * 64, 26) for number in range(ROUTES)]


def cluster() -> str:
    """The node itself, and others with all the blocks, behind VXLAN: no BGP speaker takes part."""
    mine = "  n0: {address: 10.0.0.1/24, blocks: [10.128.0.0/26]}"
    others = [
        f"  n{peer}: {{address: 10.0.0.{peer + 1}/24, blocks: [{', '.join(map(str, blocks()[peer - 1 :: PEERS]))}]}}"
        for peer in range(1, PEERS + 1)
    ]
    pool = "pools: {blue: {cidr: 10.128.0.0/9, encapsulation: VXLAN}}"
    return "\n".join(["calico_backend: vxlan", pool, "nodes:", mine, *others]) + "\n"


@contextmanager
def agent(directory: Path) -> Iterator[int]:
    """One that has put all routes; its process id."""
    file = directory / "cluster.yaml"
    file.write_text(cluster())
    command = (sys.executable, "-m", "bgpctl", "agent", "run", "--node", "n0", "-f", str(file))
    with (directory / "log").open("w") as log:
        running = subprocess.Popen((*command, "--run-dir", str(directory)), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + STARTED_WITHIN_S
            while not installed(directory):
                assert time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.5)
            yield running.pid
        finally:
            running.terminate()
            running.wait()


def installed(directory: Path) -> bool:
    try:
        summary = client.read(directory / "agent.sock", "summary")
    except client.AgentAway:
        return False
    return bool(summary["converged"]) and summary["routes"]["installed"] == ROUTES


def cpu_s(pid: int) -> float:
    """User and system time so far, without children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def change(netlink: Netlink, index: int, turn: int) -> Route:
    """A foreign route by another gateway than the last time."""
    route = Route(Prefix.parse("192.0.2.0/24"), gateway=GATEWAYS[turn % 2], link="eth0", protocol=4)
    assert netlink.request([encode.put(route, index)]) == ()
    return route


def look_s(netlink: Netlink, index: int) -> float:
    """The CPU time in which a watching kernel sees one foreign change; the median of LOOKS."""
    rung = threading.Event()
    kernel = LinuxKernel()
    kernel.watch(rung.set)
    kernel.observe()
    taken = []
    for turn in range(LOOKS):
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
    ip("link add eth0 type veth peer name eth1", "address add 10.0.0.1/24 dev eth0", "link set eth0 up")
    ip("link set eth1 up", "link set lo up")
    index = socket.if_nametoindex("eth0")
    netlink = Netlink()
    with tempfile.TemporaryDirectory() as directory, agent(Path(directory)) as pid:
        time.sleep(10)
        before_s, start_s = cpu_s(pid), time.monotonic()
        for turn in itertools.count():
            if time.monotonic() - start_s > SECONDS:
                break
            change(netlink, index, turn)
            time.sleep(1 / RATE)
        busy = (cpu_s(pid) - before_s) / (time.monotonic() - start_s)
        time.sleep(5)
        before_s, start_s = cpu_s(pid), time.monotonic()
        time.sleep(max(SECONDS, 60.0))
        quiet_s = (cpu_s(pid) - before_s) * 60 / (time.monotonic() - start_s)
        looked_s = look_s(netlink, index)
    print(
        f"{ROUTES} routes: a look after one foreign change {looked_s * 1000:.2f} ms of CPU;"
        f" {RATE:g} a second keep the agent busy for {busy:.1%}; quiet {quiet_s:.2f} CPU s a minute"
    )
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        record = {"routes": ROUTES, "look_s": round(looked_s, 6), "busy": round(busy, 4), "quiet_s": round(quiet_s, 3)}
        output.write_text(json.dumps(record) + "\n")


def ip(*lines: str) -> None:
    subprocess.run(("ip", "-batch", "-"), input="\n".join(lines), text=True, check=True)


if __name__ == "__main__":
    # A namespace of its own, which ends with the process: nothing of the host's is touched.
    if os.environ.get("BENCH_INSIDE") != "1":
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], {**os.environ, "BENCH_INSIDE": "1"})
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
