"""
Records of the parts as tables of Markdown, one function a part.

Refuses to know: where a table goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Record: TypeAlias = Any
"""The content of a part's file of results."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; without rows, nothing."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines]) if lines else ""


def number(value: float) -> str:
    """With three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def pivot(rows: Iterable[Mapping[str, Any]], by: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Mapping[str, Any]]]:
    """The rows of all subjects side by side, in the order of the first."""
    found: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[column] for column in by), {})[row["subject"]] = row
    return found


def subjects_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """In the order in which they appear."""
    return [*dict.fromkeys(row["subject"] for row in rows)]


def cells(sides: Mapping[str, Mapping[str, Any]], subjects: Sequence[str], *keys: str) -> list[str]:
    """One cell a subject, with all the keys in it; empty where it was not measured."""
    return [" / ".join(number(sides[name][key]) for key in keys) if name in sides else "" for name in subjects]


def absent(record: Record) -> str:
    """A sentence on the programs that were not there."""
    found = record.get("absent") or {}
    return "".join(f"\n\nLeft out: {name} ({reason})." for name, reason in found.items())


def live(record: Record) -> str:
    """CPU and latency of one change."""
    head, rows = _changes(record["rows"], "table", "routes", "change")
    lines = [[f"{name}, {routes:,} routes", *rest] for name, routes, *rest in rows]
    sides = pivot(record["rows"], ("table", "routes", "change")).values()
    ratios = [_ratio(side, "bgpctl", "FRR") for side in sides]
    return table(["table", "change", *head, "CPU as a multiple of FRR"], map(_with, lines, ratios)) + absent(record)


def _ratio(sides: Mapping[str, Mapping[str, Any]], one: str, other: str) -> str:
    return f"{sides[one]['cpu_ms'] / sides[other]['cpu_ms']:.1f}" if one in sides and other in sides else ""


def _with(line: Sequence[str], cell: str) -> list[str]:
    return [*line, cell]


def reflector(record: Record) -> str:
    """CPU and latency of one change at a reflector."""
    head, rows = _changes(record["rows"], "change")
    size = f"{record['routes']:,} routes and {record['clients']} clients."
    return f"{size}\n\n{table(['change', *head], rows)}{absent(record)}"


def _changes(rows: Sequence[Mapping[str, Any]], *by: str) -> tuple[list[str], list[list[Any]]]:
    """The columns of all subjects, and the rows: the values of `by`, then CPU, then latencies."""
    subjects = subjects_of(rows)
    head = [*(f"{name}, CPU ms" for name in subjects), *(f"{name}, p50 / p99 ms" for name in subjects)]
    lines = []
    for key, sides in pivot(rows, by).items():
        costs = cells(sides, subjects, "cpu_ms")
        if "bgpctl" in sides:
            costs[subjects.index("bgpctl")] += f" ({parts(sides['bgpctl']['parts_ms'])})"
        lines.append([*key, *costs, *cells(sides, subjects, "p50_ms", "p99_ms")])
    return head, lines


def node(record: Record) -> str:
    """Start, rest and failover of one node, by the number of its peers."""
    rows = record["rows"]
    head = ["peers", "", "first route", "CPU to it", "at rest", "memory", "other path in use"]
    lines = [
        [
            str(row["peers"]),
            row["subject"],
            f"{row['first_route_s']:.2f} s",
            _duration(row["first_route_cpu_s"]) + _observed(row),
            f"{row['idle_percent']:.2f} %",
            f"{sum(row['pss_mb'].values()):.1f} MB ({_memory(row['pss_mb'])})",
            f"{1000 * row['failover_s']:.0f} ms",
        ]
        for row in rows
    ]
    return table(head, lines) + absent(record)


def usable(record: Record) -> str:
    """A block's way to all other nodes."""
    rows = record["rows"]
    subjects = subjects_of(rows)
    head = [
        "nodes",
        "",
        *(f"{name}, p50 / p99 ms" for name in subjects),
        *(f"{name}, CPU ms of all nodes" for name in subjects),
        *(f"{name}, all started (CPU)" for name in subjects),
    ]
    lines = [
        [
            str(nodes),
            kind,
            *cells(sides, subjects, "p50_ms", "p99_ms"),
            *cells(sides, subjects, "cpu_ms"),
            *(_started(sides[name]) if name in sides else "" for name in subjects),
        ]
        for (nodes, kind), sides in pivot(rows, ("nodes", "kind")).items()
    ]
    return f"{record['routes']:,} other routes.\n\n{table(head, lines)}{absent(record)}"


def _started(row: Mapping[str, Any]) -> str:
    return f"{row['converged_s']:.1f} s ({row['start_cpu_s']:.0f} s)"


def fifty(record: Record) -> str:
    """A whole cluster at once."""
    cpu_s, memory = sum(record["cpu_s"].values()), record["pss_mb"]
    return (
        f"{record['agents']} agents of `topologies/{record['topology']}.yaml` have converged"
        f" {record['converged_s']:.1f} s after they began, for {cpu_s:.0f} s of CPU; memory per node"
        f" {sum(memory.values()):.1f} MB ({_memory(memory)})."
    )


def forwarding(record: Record) -> str:
    """The data path."""
    head = ["", "packets a second", "CPU a packet", "more than direct", "TCP"]
    direct_us = next(row["cpu_us_per_packet"] for row in record["rows"] if row["case"] == "direct")
    lines = [
        [
            row["case"],
            f"{row['packets_per_s']:,.0f}",
            f"{row['cpu_us_per_packet']:.2f} µs",
            "" if row["case"] == "direct" else f"{row['cpu_us_per_packet'] - direct_us:.2f} µs",
            f"{row['gigabits_per_s']:.1f} Gbit/s",
        ]
        for row in record["rows"]
    ]
    return table(head, lines) + absent(record)


def filters(record: Record) -> str:
    """The price of the filters."""
    head = ["", "packets a second, without", "with", "CPU a packet, without", "with", "more CPU"]
    lines = [
        [
            row["case"],
            *(f"{row[f'packets_per_s_{side}']:,.0f}" for side in ("without", "with")),
            *(f"{row[f'cpu_us_{side}']:.2f} µs" for side in ("without", "with")),
            f"{100 * row['share']:.1f} %",
        ]
        for row in record["rows"]
    ]
    words = f"Medians of {record['rounds']} rounds; {record['members']:,} more members than there are."
    return table(head, lines) + absent(record) + f"\n{words}\n"


def _observed(row: Mapping[str, Any]) -> str:
    seconds = row.get("observed_cpu_s")
    return f", of which the agent {_duration(seconds)} to its first observation" if seconds else ""


def _memory(values: Mapping[str, float]) -> str:
    return " + ".join(f"{name} {number(value)}" for name, value in sorted(values.items()))


def parts(values: Mapping[str, float]) -> str:
    """The agent first, then ExaBGP and its bridge."""
    return " + ".join(number(values[part]) for part in ("agent", "exabgp", "bridge") if part in values)


def change(record: Record) -> str:
    """CPU of the agent's core."""
    before = any("before_cpu_ms" in row for row in record)
    head = ["table", "change", *(["before"] if before else []), "CPU ms"]
    return table(
        head,
        (
            [
                row["table"],
                row["change"],
                *([number(row["before_cpu_ms"])] if before else []),
                number(row["cpu_ms"]),
            ]
            for row in record
        ),
    )


def edit(record: Record) -> str:
    """CPU of one node's edit, by the size of the cluster."""
    rows = ([row["nodes"], row["change"], *map(number, (row["store_ms"], row["core_ms"]))] for row in record)
    return table(["nodes", "", "store, CPU ms", "core, CPU ms"], rows)


def simulate(record: Record) -> str:
    """CPU and memory of a simulated cluster, by its size."""
    rows = ([f"{row['nodes']:,}", row["question"], *_simulated(row)] for row in record)
    return table(["nodes", "", "pairs of blocks", "states", "agents that run", "CPU s", "peak memory"], rows)


def _simulated(row: Mapping[str, Any]) -> tuple[str, ...]:
    figures = f"{row['pairs']:,}", str(row["states"]), str(row["agents"])
    return (*figures, number(row["cpu_s"]), f"{row['peak_mb']} MB")


def fib(record: Record) -> str:
    """CPU (wall) at the largest size."""
    size = max((row["routes"], row["gateways"]) for row in record)
    rows = [row for row in record if (row["routes"], row["gateways"]) == size]
    subjects = subjects_of(rows)
    return f"{size[0]:,} routes over {size[1]:,} gateways.\n\n" + table(
        ["case", *subjects],
        (
            [case, *(_seconds(sides[name]) if name in sides else "" for name in subjects)]
            for (case,), sides in pivot(rows, ("case",)).items()
        ),
    )


def _seconds(row: Mapping[str, Any]) -> str:
    return f"{_duration(row['cpu_s'])} ({_duration(row['wall_s'])})"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.{0 if seconds >= 0.01 else 1}f} ms"


def bgp(record: Record) -> str:
    """How soon a whole table is there."""
    lines = (
        [row["feed"], row["subject"], number(row["seconds"]), number(row["cpu_seconds"]), f"{row['peak_mb']:.0f} MB"]
        for row in record["rows"]
    )
    size = f"{record['routes']:,} routes."
    return f"{size}\n\n{table(['', '', 'seconds', 'CPU seconds', 'peak memory'], lines)}{absent(record)}"


def bgp_idle(record: Record) -> str:
    """Silent peers."""
    percent = record["cpu_percent"]
    return (
        f"{record['peers']} established and silent BGP peers cost {percent['patched']:.1f} % of a CPU; with unpatched"
        f" ExaBGP, {percent['stock']:.1f} %."
    )


def repair(record: Record) -> str:
    """One deleted route."""
    p50_ms, p99_ms = (1000 * record[key] for key in ("p50_s", "p99_s"))
    return (
        f"{record['routes']:,} routes, {record['tries']} attempts: half of them less than {p50_ms:.1f} ms,"
        f" 99 of 100 less than {p99_ms:.1f} ms."
    )


def proof(record: Record) -> str:
    """CPU at rest, and the time until a fault is known."""
    rows = [
        [
            f"{row['members']:,}, {'busy' if row['busy'] else 'idle'}",
            f"{row['cpu_percent']:.2f} %",
            f"{row['first_proof_s']:.2f} s",
            f"{row['lost_p50_s']:.1f} / {row['lost_p99_s']:.1f} s",
            f"{row['back_p50_s']:.1f} s",
        ]
        for row in record["rows"]
    ]
    return table(["members", "CPU", "all proven", "fault known, p50 / p99", "proven again, p50"], rows)


def mirror(record: Record) -> str:
    """Foreign changes, and none."""
    return (
        f"With {record['routes']:,} routes: {100 * record['busy']:.1f} % of a CPU while another program replaces a"
        f" route five times a second; {record['quiet_s']:.2f} s of CPU a minute without any change;"
        f" {1000 * record['observation_s']:.2f} ms for one observation."
    )


def asked(record: Record) -> str:
    """Answers, plans, and a start in a large cluster."""
    rows = (
        [row["what"], _duration(row["cpu_s"]), _duration(row["wall_s"]), f"{row['mb']:.0f} MB" if "mb" in row else ""]
        for row in record
    )
    return table(["", "CPU", "time", "memory"], rows)


def encapsulation(record: Record) -> str:
    """Packets lost while encapsulations change."""
    ours = record["bgpctl"]
    rows = [
        [
            f"bgpctl, {len(ours)} changes",
            f"{sum(row['sent'] for row in ours):,}",
            f"{sum(row['lost'] for row in ours):,}",
            f"{max(row['longest_gap_ms'] for row in ours):,.0f} ms",
        ]
    ]
    rows += [
        [row["how"], f"{row['sent']:,}", f"{row['lost']:,}", f"{row['longest_gap_ms']:,.0f} ms"]
        for row in record["naive"]
    ]
    return table(["", "packets", "lost", "longest gap"], rows)


TABLES: Final[Mapping[str, Callable[[Record], str]]] = {
    "live": live,
    "reflector": reflector,
    "node": node,
    "usable": usable,
    "fifty": fifty,
    "forwarding": forwarding,
    "filters": filters,
    "change": change,
    "edit": edit,
    "simulate": simulate,
    "fib": fib,
    "bgp": bgp,
    "bgp-idle": bgp_idle,
    "repair": repair,
    "proof": proof,
    "mirror": mirror,
    "asked": asked,
    "encapsulation": encapsulation,
}
