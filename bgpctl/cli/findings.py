"""
Problems of cluster files, as a compiler would print them.

Refuses to know: the rules, and whose files they are.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem, Severity
from bgpctl.ports import Loaded

_WORDS: Final = {Severity.ERROR: "problem", Severity.WARNING: "warning", Severity.INFO: "note"}


def valid(loaded: Loaded) -> Intent:
    """The intent; with errors they are printed and the program ends. Warnings are printed all the same."""
    if isinstance(loaded, Intent):
        show(problem for problem in loaded.remarks if problem.severity is Severity.WARNING)
        return loaded
    show(loaded)
    click.echo(counts(loaded), err=True)
    sys.exit(Exit.INVALID)


def show(problems: Iterable[Problem]) -> None:
    """One line each, the place first, so that editors can jump there."""
    for problem in problems:
        kind = "" if problem.severity is Severity.ERROR else f"{_WORDS[problem.severity]}: "
        where = f"{problem.path}: " if problem.path else ""
        click.echo(f"{problem.place}: {kind}{where}{problem.message}", err=True)


def counts(problems: Iterable[Problem]) -> str:
    """How many of each kind: `1 problem, 2 warnings`."""
    numbers = Counter(problem.severity for problem in problems)
    return ", ".join(count(numbers[kind], _WORDS[kind]) for kind in Severity if numbers[kind])
