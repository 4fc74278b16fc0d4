"""
Answers and plans that an operator and a monitoring program wait for, and the cost of a node of a large cluster.

*summary*, *metrics*: CPU of an agent with ROUTES routes by BGP for one answer, and the time until the answer is there;
the median of ASKED, after a first one that is not counted. *plan*: `bgpctl plan --from --to`, the whole command, for
the change of one encapsulation to another on PLANNED nodes in racks of 20. *start*: an agent among NODES nodes with a
block each, by VXLAN: its CPU until the kernel has all that is wanted, and its memory (PSS) then. Nobody answers probes
there, so no path is proven.

    ROUTES=50000 PLANNED=1000 NODES=5000 python -m bench.asked bench/results/asked.json
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.processes import Meter, command_of, cpu_s, pss_mb
from bench.common.site import MASK, NODE, Site, site
from bench.common.subjects import rest, start_bgpctl
from bench.live import Feed, Table
from bench.simulate import NEXT, NOW, cluster
from bgpctl import client
from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns

ROUTES: Final = int(os.environ.get("ROUTES", "50000"))
PLANNED: Final = int(os.environ.get("PLANNED", "1000"))
NODES: Final = int(os.environ.get("NODES", "5000"))
ASKED: Final = int(os.environ.get("ASKED", "20"))
PAUSE_S: Final = 0.05
PLANS: Final = (0, 1, 6)
"""Exit codes of a plan that was made."""


def answers() -> Iterator[dict[str, Any]]:
    """A row for each question to an agent with routes."""
    table = Table("IPv4", 4, 26, (ROUTES,))
    with site(peers=2) as place:
        feed = Feed(place, table)
        try:
            start_bgpctl(place, table.sessions)
            feed.up()
            feed.grow(ROUTES)
            rest(place)
            path, agent = place.directory / "node" / client.SOCKET, _agent(place)
            Meter([agent]).quiet()
            yield {"what": f"summary, {ROUTES:,} routes", **_asked(agent, lambda: client.read(path, "summary"))}
            yield {"what": f"metrics, {ROUTES:,} routes", **_asked(agent, lambda: page(path, "/metrics"))}
        finally:
            feed.close()


def _agent(place: Site) -> int:
    return next(pid for pid in place.processes() if "agent run" in command_of(pid))


def _asked(agent: int, ask: Callable[[], object]) -> dict[str, Any]:
    ask()  # the first time it imports modules
    cpu, wall = [], []
    for _ in range(ASKED):
        time.sleep(PAUSE_S)
        before_s, began_s = cpu_s(agent), time.perf_counter()
        ask()
        wall.append(time.perf_counter() - began_s)
        cpu.append(cpu_s(agent) - before_s)
    return {"cpu_s": figures.median(cpu), "wall_s": figures.median(wall)}


def page(path: Path, name: str) -> bytes:
    """A page on the agent's socket. Raises RuntimeError if it is not there."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(str(path))
        opened.sendall(f"GET {name} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: opened.recv(1 << 16), b""))
    if b" 200 " not in answer.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"{name}: {answer[:200]!r}")
    return answer


def plan() -> dict[str, Any]:
    """The row of a plan for a whole cluster."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as output:
        files = [Path(directory, f"{encapsulation}.yaml") for encapsulation in (NOW, NEXT)]
        for file, encapsulation in zip(files, (NOW, NEXT), strict=True):
            file.write_text(cluster(PLANNED, encapsulation))
        command = (sys.executable, "-m", "bgpctl", "plan", "--from", str(files[0]), "--to", str(files[1]))
        began_s = time.perf_counter()
        child = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        took_s = time.perf_counter() - began_s
    if child.returncode not in PLANS:
        raise RuntimeError(f"{' '.join(command)}: exit {child.returncode}")
    used_s = usage.ru_utime + usage.ru_stime
    return {"what": f"plan, {PLANNED:,} nodes", "cpu_s": used_s, "wall_s": took_s, "mb": usage.ru_maxrss / 1000}


def start() -> dict[str, Any]:
    """The row of an agent that starts in a large cluster."""
    with site(peers=0) as place:
        (place.directory / "node").mkdir()
        file, run_dir = place.directory / "cluster.yaml", place.directory / "node"
        file.write_text(large())
        command = (sys.executable, "-m", "bgpctl", "agent", "run", "--node", "us", "-f", str(file))
        began_s = time.perf_counter()
        netns.spawn(place.node, (*command, "--run-dir", str(run_dir), "--prove-every", "0"), run_dir / "agent.log")
        while not (run_dir / client.SOCKET).exists():
            time.sleep(0.1)
        rest(place)
        took_s, agent = time.perf_counter() - began_s, _agent(place)
        return {"what": f"start among {NODES:,} nodes", "cpu_s": cpu_s(agent), "wall_s": took_s, "mb": pss_mb(agent)}


def large() -> str:
    """The cluster file: our node, and so many others in its network."""
    first = (11 << 24) + 64
    ours = f"  us: {{address: {NODE[4]}/{MASK[4]}, blocks: [11.0.0.0/26]}}"
    addresses = (Address(4, (10 << 24) + (99 << 16) + number + 1) for number in range(NODES))
    others = [
        f"  n{number}: {{address: {own}/{MASK[4]}, blocks: [{Address(4, first + 64 * number)}/26]}}"
        for number, own in enumerate(addresses)
        if own != NODE[4]
    ]
    head = ["calico_backend: vxlan", "pools: {blue: {cidr: 11.0.0.0/8, encapsulation: VXLAN}}", "nodes:"]
    return "\n".join([*head, ours, *others, ""])


def measured() -> Iterator[dict[str, Any]]:
    """All rows."""
    yield from answers()
    yield plan()
    yield start()


def main(output: Path | None) -> None:
    """Measure, print, and write the results."""
    rows = []
    for row in measured():
        rows.append(row)
        memory = f", {row['mb']:.0f} MB" if "mb" in row else ""
        print(f"{row['what']:28} {1000 * row['cpu_s']:9.1f} ms CPU {1000 * row['wall_s']:9.1f} ms{memory}", flush=True)
    if output:
        figures.write(output, rows)


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
