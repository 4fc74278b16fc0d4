"""`bgpctl lab`: topologies in network namespaces, with real packets.

Refuses to know: how a lab is built and verified.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.status import Status

from bgpctl.cli import lab_trace
from bgpctl.cli.exits import Exit
from bgpctl.cli.render import console, emit, output_option, print_table, wide_output_option
from bgpctl.cli.show import SUMMARY
from bgpctl.cli.tables import Column
from bgpctl.cli.which_lab import find, lab_name, name_option, which
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.encapsulation import words
from bgpctl.lab import compose, foreign, netns, probe, runtime
from bgpctl.lab import lab as labs
from bgpctl.lab.build import Names
from bgpctl.lab.labfile import load
from bgpctl.lab.probe import Pair
from bgpctl.lab.run import PING_WITHIN_S, Report, run
from bgpctl.lab.switch import SwitchReport, switch
from bgpctl.lab.topology import Program, Topology

_INTERRUPTED: Final = 130

_CHECKS: Final[Sequence[Column]] = (
    Column("CHECK", lambda row: row["name"]),
    Column("RESULT", lambda row: "ok" if row["ok"] else "FAILED"),
    Column("DETAIL", lambda row: row["detail"], wraps=True),
)


_FLOWS: Final[Sequence[Column]] = (
    Column("FROM", lambda row: row["from"]),
    Column("TO", lambda row: row["to"]),
    Column("IP", lambda row: f"v{row['version']}"),
    Column("SENT", lambda row: str(row["sent"]), goes=2),
    Column("LOST", lambda row: str(row["lost"])),
    Column("REORDERED", lambda row: str(row["reordered"]), goes=1),
    Column("LONGEST GAP", lambda row: f"{row['longest_gap_ms']} ms", goes=3),
)


_PACKETS: Final[Sequence[Column]] = (
    Column("CHECK", lambda row: row["check"]),
    Column("PACKET", lambda row: row["packet"], wraps=True),
)


file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def _runtime_options(function: Callable[..., None]) -> Callable[..., None]:
    image = click.option("--image", default=runtime.IMAGE, show_default=True, help="Image of the containers.")
    backend = click.option(
        "--backend",
        type=click.Choice(runtime.WORDS),
        default=runtime.NETNS,
        show_default=True,
        help="Parts are network namespaces, or containers of the Docker engine on this machine.",
    )
    return backend(image(function))


timeout_option = click.option("--timeout", "within_s", default=60.0, show_default=True, help="Seconds to converge.")


def _named_files(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> Mapping[str, Path]:
    del context, option
    pairs = [value.partition("=") for value in values]
    if not all(name and path for name, _, path in pairs):
        raise click.BadParameter("expected NAME=FILE")
    return {name: Path(path) for name, _, path in pairs}


@click.group()
def lab() -> None:
    """Topologies in network namespaces, with real packets. Needs root."""
    if os.geteuid() != 0:
        raise click.UsageError("labs need root: they make network namespaces")


lab.add_command(lab_trace.explain)
lab.add_command(lab_trace.verify)


def _topology(file: Path) -> Topology:
    loaded = load(file)
    if isinstance(loaded, Topology):
        return loaded
    for problem in loaded:
        click.echo(str(problem), err=True)
    sys.exit(Exit.INVALID)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM cleans up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; the lab is gone", err=True)
        sys.exit(_INTERRUPTED)


class _Progress:
    """A spinner on a terminal, a line per stage elsewhere; always on standard error."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = self._console.status(title) if self._console.is_terminal else None
        if self._status:
            self._status.start()

    def stage(self, text: str) -> None:
        if self._status:
            self._status.update(f"{self._title}: {text}")
        else:
            click.echo(f"{self._title}: {text}", err=True)

    def count(self, done: int, total: int) -> None:
        if self._status:
            self._status.update(f"{self._title}: converge, {done} of {total} nodes")

    def end(self) -> None:
        if self._status:
            self._status.stop()


@lab.command("run")
@file_argument
@timeout_option
@click.option("--evidence", is_flag=True, help="Show each node's routes, and a packet for each check of packets.")
@_runtime_options
@output_option
def run_command(file: Path, within_s: float, output: str, backend: str, image: str, *, evidence: bool) -> None:
    """Build FILE, wait until it has converged, ping every pair, check, and tear everything down."""
    topology = _topology(file)
    progress = _Progress(topology.name)
    with _interruptible():
        try:
            report = run(topology, progress, within_s=within_s, runtime=runtime.of(backend, image))
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        finally:
            progress.end()
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
    _print_matrix(report.pairs)
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


def _print_matrix(pairs: Sequence[Pair]) -> None:
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


@lab.command("up")
@file_argument
@name_option
@timeout_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it has converged.")
@_runtime_options
def up_command(file: Path, name: str | None, within_s: float, backend: str, image: str, *, wait: bool) -> None:
    """Build FILE and leave it running."""
    topology = _topology(file)
    labs.remove_orphans()
    with _interruptible():
        try:
            place = runtime.of(backend, image)
            made = labs.up(topology, name or Names.of_file(file).lab, keep=True, runtime=place)
        except (labs.Exists, RuntimeError) as error:
            raise click.ClickException(str(error)) from error
    converged = not wait or made.wait(within_s)
    print_table(made.summaries(), SUMMARY)
    click.echo(f"run commands in it with: bgpctl lab exec --name {made.names.lab} NODE -- COMMAND")
    sys.exit(Exit.OK if converged else Exit.TIMED_OUT)


@lab.command("down")
@click.option("--name", callback=lab_name, help="Name of the lab. If not given: that of the only lab there is.")
@click.option("--all", "every", is_flag=True, help="End all labs.")
def down_command(name: str | None, *, every: bool) -> None:
    """End a lab and remove everything of it."""
    if every and name:
        raise click.UsageError("--all and --name cannot both be given")
    for each in labs.lab_names() if every else [which(name)]:
        known = each in labs.lab_names()
        try:
            labs.down(each)
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"lab {each} is removed" if known else f"there is no lab {each}")


@lab.command("status")
@name_option
@wide_output_option
def status_command(name: str | None, output: str) -> None:
    """Every node of a running lab in one line."""
    found = find(name)
    summaries = found.summaries()
    body = {"schema": "bgpctl/lab-status/v1", "lab": found.names.lab, "nodes": summaries}
    emit(body, output, summaries, SUMMARY)
    sys.exit(Exit.OK if all(summary["converged"] for summary in summaries) else Exit.DIFFERENT)


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("where")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(name: str | None, where: str, command: tuple[str, ...]) -> None:
    """
    Run COMMAND in the namespace of a node, router or workload.

    `bgpctl show …` there talks to that node's agent.
    """
    # Not the whole lab: its file may be one that has to be undone, in which a workload has left its block.
    names = Names(which(name))
    namespace = names.of(where)
    if namespace not in netns.names(namespace):
        raise click.UsageError(f"{where} is not a part of lab {find(name).names.lab}")
    variables = {
        "BGPCTL_RUN_DIR": str(labs.run_dir_of(names, where)),
        "BGPCTL_KEYS": str(labs.keys_of(names, where)),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }
    netns.enter(namespace)
    try:
        result = subprocess.run(("/usr/bin/env", *command), env={**os.environ, **variables}, check=False)
    except OSError as error:
        raise click.ClickException(f"{command[0]}: {error.strerror}") from error
    sys.exit(result.returncode)


@lab.command("ping")
@name_option
@output_option
def ping_command(name: str | None, output: str) -> None:
    """Ping every ordered pair of workloads."""
    found = find(name)
    pairs = probe.matrix(found.names, found.topology.workloads, within_s=PING_WITHIN_S)
    if output == "table":
        _print_matrix(pairs)
    else:
        emit(_pairs(found.names.lab, pairs), output, (), ())
    sys.exit(Exit.OK if all(pair.ok for pair in pairs) else Exit.DIFFERENT)


@lab.command("switch")
@click.argument("pool")
@click.argument("encapsulation", type=click.Choice(list(words())))
@click.option("--pps", default=100, show_default=True, help="Packets a second in each direction of each pair.")
@name_option
@timeout_option
@output_option
def switch_command(pool: str, encapsulation: str, pps: int, name: str | None, within_s: float, output: str) -> None:
    """Change the ENCAPSULATION of POOL in a running lab under load, and count lost packets."""
    found = find(name)
    progress = _Progress(found.names.lab)
    try:
        report = switch(found, pool, encapsulation, pps, progress, within_s=within_s)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    finally:
        progress.end()
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


def _pairs(name: str, pairs: Sequence[Pair]) -> Mapping[str, Any]:
    rows = [{"from": p.source, "to": p.destination, "version": p.version, "ok": p.ok} for p in pairs]
    return {"schema": "bgpctl/lab-ping/v1", "lab": name, "pairs": rows}


@lab.group()
def export() -> None:
    """Write a lab file in the formats of other tools."""


@export.command("compose")
@click.option("-f", "--file", "file", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Lab file.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME=FILE",
    callback=_named_files,
    help="Lab file of the services of `docker compose --profile NAME`; can be repeated.",
)
def compose_command(file: Path, profiles: Mapping[str, Path]) -> None:
    """Write a compose file, for hosts where the image can be built; paths in it are relative as that of FILE."""
    more = {name: _topology(path) for name, path in profiles.items()}
    options = "".join(f" --profile {name}={path}" for name, path in profiles.items())
    try:
        text = compose.export(_topology(file), more, f"bgpctl lab export compose -f {file}{options}")
    except compose.Inexpressible as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.INVALID)
    click.echo(text, nl=False)


@export.command("bird")
@click.argument("name")
@click.option("-f", "--file", "file", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Lab file.")
def bird_command(name: str, file: Path) -> None:
    """Print the BIRD configuration of the router or node NAME that runs it."""
    topology = _topology(file)
    if topology.runs.get(name) is not Program.BIRD:
        raise click.UsageError(f"{name} does not run bird in {file}")
    click.echo(foreign.bird_configuration(topology, name), nl=False)
