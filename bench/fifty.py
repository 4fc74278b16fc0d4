"""
A whole cluster at once on one machine: 52 agents behind two route reflectors (topologies/fifty-nodes.yaml), from the
start of all agents until the last one has converged, and their memory and CPU by then.

    TOPOLOGY=fifty-nodes python -m bench.fifty bench/results/fifty.json
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.labs import lab_of
from bench.common.processes import Meter, part_of, pss_mb
from bgpctl.lab import netns

TOPOLOGY: Final = os.environ.get("TOPOLOGY", "fifty-nodes")
WITHIN_S: Final = 300.0


def main(output: Path | None) -> None:
    began_s = time.monotonic()
    with lab_of("fifty", TOPOLOGY) as lab:
        assert lab.wait(WITHIN_S), "did not converge"
        took_s = time.monotonic() - began_s
        nodes = lab.topology.agents
        pids = [pid for node in nodes for pid in netns.processes(lab.names.of(node.name))]
        cpu = Meter(pids).read()
        memory: dict[str, float] = {}
        for pid in pids:
            memory[part_of(pid)] = memory.get(part_of(pid), 0.0) + pss_mb(pid) / len(nodes)
    record = {
        "topology": TOPOLOGY,
        "agents": len(nodes),
        "converged_s": round(took_s, 2),
        "cpu_s": {part: round(value, 2) for part, value in cpu.items()},
        "pss_mb": {part: round(value, 2) for part, value in memory.items()},
    }
    print(record)
    if output:
        figures.write(output, record)


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
