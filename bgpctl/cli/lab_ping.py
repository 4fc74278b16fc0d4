"""
`bgpctl lab ping`: the matrix of all pairs of workloads.

Refuses to know: how a packet is sent.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.progress import progress_of
from bgpctl.cli.render import emit, output_option, print_table
from bgpctl.cli.tables import Column
from bgpctl.cli.which_lab import find, name_option
from bgpctl.core.cluster.count import count
from bgpctl.lab import probe
from bgpctl.lab.probe import Pair
from bgpctl.lab.run import PING_WITHIN_S


@click.command("ping")
@name_option
@output_option
def ping_command(name: str | None, output: str) -> None:
    """Ping every ordered pair of workloads."""
    found = find(name)
    with progress_of("ping"):
        pairs = probe.matrix(found.names, found.topology.workloads, within_s=PING_WITHIN_S)
    if output == "table":
        print_matrix(pairs)
    else:
        emit(_pairs(found.names.lab, pairs), output, (), ())
    sys.exit(Exit.OK if all(pair.ok for pair in pairs) else Exit.DIFFERENT)


def _pairs(name: str, pairs: Sequence[Pair]) -> Mapping[str, Any]:
    rows = [{"from": p.source, "to": p.destination, "version": p.version, "ok": p.ok} for p in pairs]
    return {"schema": "bgpctl/lab-ping/v1", "lab": name, "pairs": rows}


def print_matrix(pairs: Sequence[Pair]) -> None:
    """A row for each workload that sends, and a column for each that answers."""
    names = sorted({pair.source for pair in pairs})
    answers: dict[tuple[str, str], str] = {}
    for pair in pairs:
        known = answers.setdefault((pair.source, pair.destination), "ok")
        if not pair.ok:
            answers[pair.source, pair.destination] = "LOST" if known == "ok" else "LOST both"

    def cell(destination: str) -> Column:
        return Column(destination, lambda row: answers.get((row["from"], destination), "."))

    columns: list[Column] = [Column("PING", lambda row: row["from"]), *map(cell, names)]
    print_table([{"from": name} for name in names], columns)
    click.echo(f"{sum(pair.ok for pair in pairs)} of {count(len(pairs), 'pair')}")
