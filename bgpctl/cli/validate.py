"""
`bgpctl validate`: the problems of cluster and lab files, as a compiler prints them. Needs no root and no kernel.

Refuses to know: the rules.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.render import emit, output_option
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem, Severity
from bgpctl.lab import labfile
from bgpctl.ports import Loaded
from bgpctl.store import texts

_SCHEMA: Final = "bgpctl/validate/v1"

files_option = click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    help="Cluster file; may be given several times.",
)


@click.command()
@files_option
@output_option
def validate(files: tuple[Path, ...], output: str) -> None:
    """Check cluster and lab files: schema and meaning. Needs no root and no kernel."""
    loaded = texts.load(files)
    problems = _all_problems(loaded, files)
    if output == "table":
        _print(loaded, problems)
    else:
        emit({"schema": _SCHEMA, "ok": is_ok(problems), "problems": list(map(_row, problems))}, output, (), ())
    sys.exit(Exit.OK if is_ok(problems) else Exit.INVALID)


def is_ok(problems: Iterable[Problem]) -> bool:
    """True if nothing among them keeps a file out."""
    return all(problem.severity is not Severity.ERROR for problem in problems)


def valid(loaded: Loaded) -> Intent:
    """The intent; with errors they are printed and the program ends. Warnings are printed all the same."""
    if isinstance(loaded, Intent):
        _print_problems(problem for problem in loaded.remarks if problem.severity is Severity.WARNING)
        return loaded
    _print_problems(loaded)
    click.echo(_count(loaded), err=True)
    sys.exit(Exit.INVALID)


def _all_problems(loaded: Loaded, files: Iterable[Path]) -> tuple[Problem, ...]:
    """Of the cluster that all files make together, and of each file that is a lab."""
    found = set(loaded.remarks if isinstance(loaded, Intent) else loaded)
    for lab in filter(labfile.is_lab, files):
        topology = labfile.load(lab)
        found.update(topology if isinstance(topology, tuple) else ())
    return tuple(sorted(found))


def _row(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.path,
        "message": problem.message,
        "rule": problem.rule,
        "severity": problem.severity.value,
    }


def _print(loaded: Loaded, problems: tuple[Problem, ...]) -> None:
    _print_problems(problems)
    if not is_ok(problems):
        click.echo(_count(problems), err=True)
    elif isinstance(loaded, Intent):
        sizes = {"node": loaded.nodes, "pool": loaded.pools, "peer": loaded.peers}
        size = ", ".join(count(len(found), noun) for noun, found in sizes.items())
        click.echo(f"valid: {size}" + (f"; {_count(problems)}" if problems else ""))


_WORDS: Final = {Severity.ERROR: "problem", Severity.WARNING: "warning", Severity.INFO: "note"}


def _print_problems(problems: Iterable[Problem]) -> None:
    """One line each, the place first, so that editors can jump there."""
    for problem in problems:
        kind = "" if problem.severity is Severity.ERROR else f"{_WORDS[problem.severity]}: "
        where = f"{problem.path}: " if problem.path else ""
        click.echo(f"{problem.place}: {kind}{where}{problem.message}", err=True)


def _count(problems: Iterable[Problem]) -> str:
    numbers = Counter(problem.severity for problem in problems)
    return ", ".join(count(numbers[kind], _WORDS[kind]) for kind in Severity if numbers[kind])
