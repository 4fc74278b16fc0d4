"""
`bgpctl lab run`: a topology built, checked and torn down, and its report.

Refuses to know: how a lab is built and verified.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.lab_choice import interruptible, runtime_options, topology_of
from bgpctl.cli.lab_ping import print_matrix
from bgpctl.cli.options import file_or_argument, wait_option
from bgpctl.cli.progress import progress_of
from bgpctl.cli.refusals import Refusal
from bgpctl.cli.render import console, emit, output_option, print_table
from bgpctl.cli.show import SUMMARY
from bgpctl.cli.tables import Column
from bgpctl.lab import runtime
from bgpctl.lab.run import Report, name_of, run

_CHECKS: Final[Sequence[Column]] = (
    Column("CHECK", lambda row: row["name"]),
    Column("RESULT", lambda row: "ok" if row["ok"] else "FAILED"),
    Column("DETAIL", lambda row: row["detail"], wraps=True),
)

_PACKETS: Final[Sequence[Column]] = (
    Column("CHECK", lambda row: row["check"]),
    Column("PACKET", lambda row: row["packet"], wraps=True),
)


@click.command("run")
@file_or_argument
@wait_option("Wait until it has converged, at most TIME.", default="60s")
@click.option("--evidence", is_flag=True, help="Show each node's routes, and a packet for each check of packets.")
@runtime_options
@output_option
def run_command(file: Path, within_s: float, output: str, backend: str, image: str, *, evidence: bool) -> None:
    """Build FILE, wait until it has converged, ping every pair, check, and tear everything down."""
    topology = topology_of(file)
    with interruptible(name_of(topology)), progress_of(topology.name) as progress:
        try:
            report = run(topology, progress, within_s=within_s, runtime=runtime.of(backend, image))
        except RuntimeError as error:
            raise Refusal(str(error)) from error
    if output == "table":
        _print(report)
        _print_evidence(report if evidence else None)
    else:
        emit({**_json(report), **(_evidence(report) if evidence else {})}, output, (), ())
    _print_ends(report)
    sys.exit(_exit_of(report))


def _exit_of(report: Report) -> Exit:
    if report.converged_s is None:
        return Exit.TIMED_OUT
    return Exit.OK if report.ok else Exit.DIFFERENT


def _json(report: Report) -> dict[str, Any]:
    return {
        "schema": "bgpctl/lab-run/v1",
        "topology": report.topology,
        "backend": report.backend,
        "converged_s": report.converged_s,
        "pairs": {"total": len(report.pairs), "ok": sum(pair.ok for pair in report.pairs)},
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in report.checks],
    }


def _print(report: Report) -> None:
    screen = console()
    if report.converged_s is None:
        screen.print(f"{report.topology}: not converged", style="bold red")
        print_table(report.summaries, SUMMARY)
        return
    screen.print(f"{report.topology}: converged in {report.converged_s} s", style="bold")
    print_table(report.summaries, SUMMARY)
    screen.print()
    print_matrix(report.pairs)
    if report.checks:
        screen.print()
        print_table(_json(report)["checks"], _CHECKS)
    screen.print()


def _evidence(report: Report) -> dict[str, Any]:
    examples = [{"check": check.name, "packet": check.example} for check in report.checks if check.example]
    return {"routes": report.routes, "packets": examples}


def _print_evidence(report: Report | None) -> None:
    if report is None:
        return
    for node, routes in report.routes.items():
        click.echo(f"routes of {node}\n{routes}\n")
    print_table(_evidence(report)["packets"], _PACKETS)


def _print_ends(report: Report) -> None:
    """Problems, routes and logs of a lab that did not converge; on standard error, so that -o json has them too."""
    for summary in report.summaries if report.ends else ():
        for problem in summary["problems"]:
            click.echo(f"! {summary['node']}: {problem}", err=True)
    for end in report.ends:
        click.echo(f"\n--- routes of {end.node}\n{end.routes}\n--- end of the log of {end.node}\n{end.log}", err=True)
