"""
CPU and memory of `bgpctl simulate`, by the size of the cluster: racks of 20 nodes in a mesh, four blocks each.

Three questions are asked of each size, and each is the whole command in a process of its own, from reading the file to
the last state: *start* (all pairs with the file as it is), *change* (every pool gets another encapsulation), *node off*
(and what follows for an hour). All pairs of blocks are verified in every state; `pairs` counts them once.

    SIZES="100 1000 5000" python -m bench.simulate bench/results/simulate.json
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bgpctl.core.net.addresses import Address

SIZES: Final = tuple(int(size) for size in os.environ.get("SIZES", "100 1000 5000").split())
RACK: Final = 20
BLOCKS: Final = 4
NOW: Final = "IPIPCrossSubnet"
NEXT: Final = "VXLANCrossSubnet"
QUESTIONS: Final[Mapping[str, Sequence[str]]] = {
    "start": (),
    "change": ("--then", "{next}"),
    "node off": ("--fail", "node:n00007"),
}


def cluster(size: int, encapsulation: str) -> str:
    """The file of so many nodes."""
    nodes = "".join(f"  {line}\n" for line in map(_node, range(size)))
    return f"pools:\n  blue: {{cidr: 10.128.0.0/9, encapsulation: {encapsulation}}}\nnodes:\n{nodes}"


def _node(number: int) -> str:
    rack, host = divmod(number, RACK)
    own = Address(4, (10 << 24) + (rack << 8) + host + 1)
    first = (10 << 24) + (128 << 16) + number * BLOCKS * 64
    blocks = ", ".join(f"{Address(4, first + 64 * index)}/26" for index in range(BLOCKS))
    return f"n{number:05}: {{address: {own}/24, blocks: [{blocks}]}}"


def measured(sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One row for each size and question."""
    with tempfile.TemporaryDirectory() as directory:
        for size in sizes:
            files = {"now": Path(directory, "now.yaml"), "next": Path(directory, "next.yaml")}
            files["now"].write_text(cluster(size, NOW))
            files["next"].write_text(cluster(size, NEXT))
            for question, words in QUESTIONS.items():
                more = (word.format(**files) for word in words)
                yield {"nodes": size, "question": question, **_asked((str(files["now"]), *more))}


def _asked(words: Sequence[str]) -> dict[str, Any]:
    """The command's figures. It must find no loss that counts."""
    code = "import sys; from bgpctl.cli.main import main; main()"
    command = (sys.executable, "-c", code, "simulate", "-o", "json", "-f", *words)
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        body = json.load(output)
    if child.returncode or not body["passes"]:
        raise AssertionError(f"{' '.join(command)}: exit {child.returncode}")
    return {
        "pairs": body["moments"][0]["pairs"],
        "states": len(body["moments"]),
        "agents": body["agents"],
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def main(output: Path | None) -> None:
    """Measure, print, and write the results."""
    rows = []
    print(f"{'nodes':>7}  {'question':10}{'pairs':>14}{'states':>8}{'agents':>8}{'CPU s':>9}{'peak MB':>9}")
    for row in measured(SIZES):
        rows.append(row)
        figures = f"{row['pairs']:14,}{row['states']:8}{row['agents']:8}{row['cpu_s']:9.2f}{row['peak_mb']:9}"
        print(f"{row['nodes']:7,}  {row['question']:10}{figures}", flush=True)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
