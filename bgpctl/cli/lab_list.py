"""
`bgpctl lab list|status`: the labs of this host, and the nodes of one.

Refuses to know: what a lab is made of.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.render import age, emit, is_text, note, wide_output_option
from bgpctl.cli.show import SUMMARY
from bgpctl.cli.tables import Column
from bgpctl.cli.which_lab import find, name_option
from bgpctl.lab.listing import listed

_LABS: Final[Sequence[Column]] = (
    Column("LAB", lambda row: row["name"]),
    Column("TOPOLOGY", lambda row: row["topology"], goes=3),
    Column("BACKEND", lambda row: row["backend"], goes=1),
    Column("AGE", lambda row: age(row["age_s"]), goes=2),
    Column("STATE", lambda row: row["detail"], wraps=True),
    Column("NODES", lambda row: ", ".join(node["name"] for node in row["nodes"]), wraps=True),
)


@click.command("list")
@wide_output_option
def list_command(output: str) -> None:
    """All labs on this host: their topology, nodes, state and age."""
    rows = [
        {
            "name": lab.name,
            "topology": lab.topology,
            "backend": lab.runtime,
            "age_s": round(lab.age_s, 1),
            "state": lab.state,
            "detail": lab.detail,
            "nodes": [{"name": node, "converged": has} for node, has in lab.converged.items()],
        }
        for lab in listed()
    ]
    emit({"schema": "bgpctl/labs/v1", "labs": rows}, output, rows, _LABS)
    for row in rows if is_text(output) else ():
        if row["state"] == "in part":
            note(
                f"! {row['name']}: what built it ended early; remove it with: bgpctl lab down --name {row['name']}",
                output,
            )


@click.command("status")
@name_option
@wide_output_option
def status_command(name: str | None, output: str) -> None:
    """Every node of a running lab in one line."""
    found = find(name)
    summaries = found.summaries()
    body = {"schema": "bgpctl/lab-status/v1", "lab": found.names.lab, "nodes": summaries}
    emit(body, output, summaries, SUMMARY)
    sys.exit(Exit.OK if all(summary["converged"] for summary in summaries) else Exit.DIFFERENT)
