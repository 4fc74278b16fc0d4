"""
`bgpctl validate`: the problems of cluster and lab files, as a compiler prints them. Needs no root and no kernel.

Refuses to know: the rules.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli import findings
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import files_or_arguments
from bgpctl.cli.render import emit, output_option
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem, Severity
from bgpctl.lab import labfile
from bgpctl.ports import Loaded
from bgpctl.store import secrets, texts

_SCHEMA: Final = "bgpctl/validate/v1"


@click.command()
@files_or_arguments
@output_option
@click.option(
    "--elsewhere",
    is_flag=True,
    help="The files are for another machine: a password file that is missing here is a warning.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show notes too: what is understood and has no effect here.")
def validate(files: tuple[Path, ...], output: str, *, elsewhere: bool, verbose: bool) -> None:
    """
    Check cluster and lab files: schema and meaning. Needs no root and no kernel.

    A file with a password that is named and does not exist is an error, as it is for the node that needs it.
    """
    found = texts.read_texts(files)
    loaded = texts.understand(files, found)
    missing = _missing(loaded, files, found, Severity.WARNING if elsewhere else Severity.ERROR)
    problems = tuple(sorted({*_all_problems(loaded, files), *missing}))
    if output == "table":
        _print(loaded, problems, verbose=verbose)
    else:
        emit({"schema": _SCHEMA, "ok": is_ok(problems), "problems": list(map(_row, problems))}, output, (), ())
    sys.exit(Exit.OK if is_ok(problems) else Exit.INVALID)


def _missing(loaded: Loaded, files: tuple[Path, ...], found: texts.Texts, severity: Severity) -> tuple[Problem, ...]:
    """Of a cluster without other errors."""
    if not isinstance(loaded, Intent):
        return ()
    given = (loaded.mesh_password_file, *(peer.password_file for peer in loaded.peers))
    named = {file for file in given if file}
    return secrets.missing(files, [text for text in found if isinstance(text, str)], named, severity)


def is_ok(problems: Iterable[Problem]) -> bool:
    """True if nothing among them keeps a file out."""
    return all(problem.severity is not Severity.ERROR for problem in problems)


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


def _print(loaded: Loaded, problems: tuple[Problem, ...], *, verbose: bool) -> None:
    """A cluster that exists somewhere has hundreds of notes: without `verbose` they are counted."""
    shown = [problem for problem in problems if verbose or problem.severity is not Severity.INFO]
    findings.show(shown)
    counts = findings.counts(problems) + ("" if len(shown) == len(problems) else " (notes: -v)")
    if not is_ok(problems):
        click.echo(counts, err=True)
    elif isinstance(loaded, Intent):
        sizes = {"node": loaded.nodes, "pool": loaded.pools, "peer": loaded.peers}
        size = ", ".join(count(len(found), noun) for noun, found in sizes.items())
        click.echo(f"valid: {size}" + (f"; {counts}" if problems else ""))
