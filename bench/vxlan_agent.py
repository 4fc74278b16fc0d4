"""A real agent with ROUTES routes (1000) by VXLAN, without BGP, in a network namespace that ends with the benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.common.ending import ends_orderly
from bgpctl import client
from bgpctl.core.net.addresses import Prefix

ROUTES = int(os.environ.get("ROUTES", "1000"))
PEERS = 20
STARTED_WITHIN_S = 120.0


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
        # Nobody is there to answer probes; what those cost is measured by bench.proof.
        more = ("--run-dir", str(directory), "--prove-every", "0")
        running = subprocess.Popen((*command, *more), stdout=log, stderr=log)
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


def in_own_namespace(module: str, main: Callable[[Path | None], None]) -> None:
    """Run `main` with the output file of the command line where nothing of the host's is touched; `eth0` is up."""
    if os.environ.get("BENCH_INSIDE") != "1":
        command = ("unshare", "--net", sys.executable, "-m", module, *sys.argv[1:])
        os.execvpe(command[0], command, {**os.environ, "BENCH_INSIDE": "1"})
    ends_orderly()
    _ip("link add eth0 type veth peer name eth1", "address add 10.0.0.1/24 dev eth0", "link set eth0 up")
    _ip("link set eth1 up", "link set lo up")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)


def _ip(*lines: str) -> None:
    subprocess.run(("ip", "-batch", "-"), input="\n".join(lines), text=True, check=True)
