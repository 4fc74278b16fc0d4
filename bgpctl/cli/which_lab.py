"""
The lab that a command is about: the one that is named, or the only one there is.

Refuses to know: what the command does with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from bgpctl.cli import suggest
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.lab import lab as labs
from bgpctl.lab.build import Names


def lab_name(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """A name that a lab can have. Raises BadParameter."""
    del context, option
    try:
        return Names(name).lab if name is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _named(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--name", metavar="LAB", callback=lab_name, shell_complete=suggest.labs, help=text)


name_option = _named("Name of the lab. If not given: that of the only lab there is.")
new_name_option = _named("Name of the lab. If not given: that of the file.")


def which(name: str | None) -> str:
    """That name, or that of the only lab there is."""
    known = labs.lab_names()
    if name is None and not known:
        raise Refusal("no lab is up; build one with: bgpctl lab up FILE")
    if name is None and len(known) > 1:
        raise click.UsageError(f"choose a lab with --name (up: {', '.join(known)})")
    return name or known[0]


def find(name: str | None) -> labs.Lab:
    """The lab of that name, or the only one there is."""
    try:
        return labs.find(which(name))
    except labs.Unknown as error:
        raise NotFound(str(error)) from error
    except RuntimeError as error:
        raise Refusal(str(error)) from error
