"""
Pictures of the results, as SVG: one function a part.

The same figures give the same file. Subjects have the same colours everywhere.

Refuses to know: where the figures come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOURS: Final = {
    "bgpctl": "#0b6e4f",
    "BIRD": "#c1666b",
    "bird": "#c1666b",
    "FRR": "#48639c",
    "GoBGP": "#7d5ba6",
    "ip-batch": "#d4a24c",
    "kernel-limit": "#8d99ae",
    "start": "#0b6e4f",
    "change": "#c1666b",
    "node off": "#48639c",
}
_OTHER: Final = "#555555"
_FIB_CASES: Final = (
    "install",
    "replace",
    "move one peer",
    "withdraw",
    "comparison with a dump",
    "reconcile after 1 % damage",
)
TITLES: Final = {
    "fib": "CPU seconds per case and subject",
    "usable": "Time until other nodes can use a new block, by the number of nodes",
    "forwarding": "CPU a packet and TCP throughput, by encapsulation",
    "live": "CPU and latency of one added route, by the size of the table",
    "simulate": "CPU and memory of a simulated cluster, by the number of nodes",
}


def fib(record: Sequence[Mapping[str, Any]], output: Path) -> None:
    """CPU time per case and subject at the largest size."""
    size = max((row["routes"], row["gateways"]) for row in record)
    rows = [row for row in record if (row["routes"], row["gateways"]) == size and row["case"] in _FIB_CASES]
    figure, axes = _canvas(1)
    bars(axes[0], rows, "case", "cpu_s")
    axes[0].set_yscale("log")
    axes[0].set_ylabel("CPU seconds, less is better")
    axes[0].set_title(f"{size[0]:,} routes over {size[1]:,} gateways")
    _save(figure, output)


def live(record: Mapping[str, Any], output: Path) -> None:
    """CPU and latency of one route more, by the size of an IPv4 table."""
    rows = [row for row in record["rows"] if (row["table"], row["change"]) == ("IPv4", "added")]
    figure, axes = _canvas(2)
    lines(axes[0], rows, "routes", "cpu_ms")
    lines(axes[1], rows, "routes", "p99_ms")
    axes[0].set_ylabel("CPU ms of one change, less is better")
    axes[1].set_ylabel("p99 ms until the kernel has it, less is better")
    _save(figure, output)


def usable(record: Mapping[str, Any], output: Path) -> None:
    """Median and worst latencies in a mesh and behind reflectors, by the number of nodes."""
    figure, axes = _canvas(2)
    for one, kind in zip(axes, ("mesh", "reflectors"), strict=True):
        lines(one, [row for row in record["rows"] if row["kind"] == kind], "nodes", "p99_ms")
        one.set_title(kind)
    axes[0].set_ylabel("p99 ms until others have a new block, less is better")
    _save(figure, output)


def forwarding(record: Mapping[str, Any], output: Path) -> None:
    """CPU of a packet, and the throughput of a stream."""
    rows = [{**row, "subject": "bgpctl"} for row in record["rows"]]
    figure, axes = _canvas(2)
    for one, value, label in (
        (axes[0], "cpu_us_per_packet", "CPU µs a packet, less is better"),
        (axes[1], "gigabits_per_s", "TCP, Gbit/s, more is better"),
    ):
        bars(one, rows, "case", value)
        one.set_ylabel(label)
    _save(figure, output)


def simulate(record: Sequence[Mapping[str, Any]], output: Path) -> None:
    """CPU and memory by the number of nodes, a line for each question."""
    rows = [{**row, "subject": row["question"]} for row in record]
    figure, axes = _canvas(2)
    lines(axes[0], rows, "nodes", "cpu_s")
    lines(axes[1], rows, "nodes", "peak_mb")
    axes[0].set_ylabel("CPU seconds of the command, less is better")
    axes[1].set_ylabel("peak memory in MB, less is better")
    _save(figure, output)


def bars(axes: Axes, rows: Sequence[Mapping[str, Any]], by: str, value: str) -> None:
    """Groups of bars: a group for each value of `by`, a bar for each subject."""
    groups = [*dict.fromkeys(row[by] for row in rows)]
    subjects = [*dict.fromkeys(row["subject"] for row in rows)]
    width = 0.8 / max(1, len(subjects))
    for place, subject in enumerate(subjects):
        taken = [(groups.index(row[by]) + place * width, row[value]) for row in rows if row["subject"] == subject]
        drawn = axes.bar(
            [at for at, _ in taken], [height for _, height in taken], width, label=subject, color=_colour(subject)
        )
        axes.bar_label(drawn, [f"{height:.2g}" for _, height in taken], fontsize=7)
    middle = width * (len(subjects) - 1) / 2
    axes.set_xticks([index + middle for index in range(len(groups))], [_wrapped(str(group)) for group in groups])
    axes.legend(frameon=False)


def lines(axes: Axes, rows: Iterable[Mapping[str, Any]], along: str, value: str) -> None:
    """A line for each subject, on logarithmic scales."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        points.setdefault(row["subject"], []).append((row[along], row[value]))
    for subject, taken in points.items():
        axes.plot(*zip(*sorted(taken), strict=True), marker="o", label=subject, color=_colour(subject))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(along)
    if points:
        axes.legend(frameon=False)


def _colour(subject: str) -> str:
    return COLOURS.get(subject, _OTHER)


def _wrapped(text: str) -> str:
    return text.replace(" ", "\n", 2)


def _canvas(width: int) -> tuple[Any, list[Axes]]:
    mpl.rcParams["svg.hashsalt"] = "bgpctl"
    figure, axes = plt.subplots(1, width, figsize=(9, 4), squeeze=False)
    for one in axes[0]:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])


def _save(figure: Any, output: Path) -> None:
    figure.tight_layout()
    figure.savefig(output, metadata={"Date": None})
    plt.close(figure)


PICTURES: Final[Mapping[str, Callable[[Any, Path], None]]] = {
    "fib": fib,
    "live": live,
    "usable": usable,
    "forwarding": forwarding,
    "simulate": simulate,
}
