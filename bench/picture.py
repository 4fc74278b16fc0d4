"""
Draws the records of bench/fib.py: CPU time per case and subject at the largest size, on a logarithmic scale.

    python bench/picture.py bench/results/fib.json docs/fib.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

SUBJECTS = {"bgpctl": "#0b6e4f", "bird": "#c1666b", "ip-batch": "#d4a24c", "kernel-limit": "#8d99ae"}
CASES = ("install", "replace", "move one peer", "withdraw", "no-op reconcile", "reconcile after 1 % damage")


def draw(records: list[dict[str, object]], output: Path) -> None:
    mpl.rcParams["svg.hashsalt"] = "bgpctl"  # the same figures give the same file
    size = max((int(str(record["routes"])), int(str(record["gateways"]))) for record in records)
    cpu = {
        (record["case"], record["subject"]): float(str(record["cpu_s"]))
        for record in records
        if (record["routes"], record["gateways"]) == size
    }
    figure, axes = plt.subplots(figsize=(9, 4))
    width = 0.8 / len(SUBJECTS)
    for place, (subject, colour) in enumerate(SUBJECTS.items()):
        at = [index + place * width for index, case in enumerate(CASES) if (case, subject) in cpu]
        values = [cpu[case, subject] for case in CASES if (case, subject) in cpu]
        bars = axes.bar(at, values, width, label=subject, color=colour)
        axes.bar_label(bars, [f"{value:.2g}" for value in values], fontsize=7)
    axes.set_xticks([index + 0.3 for index in range(len(CASES))], [case.replace(" ", "\n", 2) for case in CASES])
    axes.set_yscale("log")
    axes.set_ylabel("CPU seconds, less is better")
    axes.set_title(f"{size[0]:,} routes over {size[1]:,} gateways")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(output, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
