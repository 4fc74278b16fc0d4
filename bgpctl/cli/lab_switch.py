"""
`bgpctl lab switch`: another encapsulation under load, and the packets that it costs.

Refuses to know: how the agents do it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from bgpctl.cli import suggest
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import wait_option
from bgpctl.cli.progress import progress_of
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.render import console, emit, output_option
from bgpctl.cli.tables import Column
from bgpctl.cli.which_lab import find, name_option
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.encapsulation import words
from bgpctl.lab.switch import SwitchReport, switch

_FLOWS: Final[Sequence[Column]] = (
    Column("FROM", lambda row: row["from"]),
    Column("TO", lambda row: row["to"]),
    Column("IP", lambda row: f"v{row['version']}"),
    Column("SENT", lambda row: str(row["sent"]), goes=2),
    Column("LOST", lambda row: str(row["lost"])),
    Column("REORDERED", lambda row: str(row["reordered"]), goes=1),
    Column("LONGEST GAP", lambda row: f"{row['longest_gap_ms']} ms", goes=3),
)


@click.command("switch")
@click.argument("pool", shell_complete=suggest.lab_pools)
@click.argument("encapsulation", type=click.Choice(list(words())))
@click.option("--pps", default=100, show_default=True, help="Packets a second in each direction of each pair.")
@name_option
@wait_option("Wait until every node is done, at most TIME.", default="60s")
@output_option
def switch_command(pool: str, encapsulation: str, pps: int, name: str | None, within_s: float, output: str) -> None:
    """Change the ENCAPSULATION of POOL in a running lab under load, and count lost packets."""
    found = find(name)
    with progress_of(found.names.lab) as progress:
        try:
            report = switch(found, pool, encapsulation, pps, progress, within_s=within_s)
        except ValueError as error:
            raise NotFound(str(error)) from error
    body = _switch_json(report)
    if output == "table":
        took = "not done in time" if report.took_s is None else f"done in {report.took_s} s"
        console().print(f"{pool}: {report.before} > {report.after}: {took}", style="bold")
    emit(body, output, body["pairs"], _FLOWS)
    if output == "table":
        click.echo(
            f"{count(body['sent'], 'packet')} sent, {body['lost']} lost, longest gap {body['longest_gap_ms']} ms"
        )
    for summary in report.summaries:
        for problem in summary["problems"]:
            click.echo(f"! {summary['node']}: {problem}", err=True)
    if report.took_s is None:
        sys.exit(Exit.TIMED_OUT)
    sys.exit(Exit.OK if report.ok else Exit.DIFFERENT)


def _switch_json(report: SwitchReport) -> dict[str, Any]:
    pairs = [
        {
            "from": flow.source,
            "to": flow.destination,
            "version": flow.version,
            "sent": flow.sent,
            "lost": flow.lost,
            "reordered": flow.reordered,
            "longest_gap_ms": round(1000 * flow.longest_gap_s, 1),
        }
        for flow in report.flows
    ]
    return {
        "schema": "bgpctl/lab-switch/v1",
        "from": report.before,
        "to": report.after,
        "took_s": report.took_s,
        "sent": sum(flow.sent for flow in report.flows),
        "lost": report.lost,
        "reordered": sum(flow.reordered for flow in report.flows),
        "longest_gap_ms": round(1000 * max((flow.longest_gap_s for flow in report.flows), default=0.0), 1),
        "pairs": pairs,
    }
