"""
The lab that a command is about: the one that is named, or the only one there is.

Refuses to know: what the command does with it.
"""

from __future__ import annotations

import click

from bgpctl.lab import lab as labs
from bgpctl.lab.build import Names


def lab_name(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """A name that a lab can have. Raises BadParameter."""
    try:
        return Names(name).lab if name is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


name_option = click.option(
    "--name", callback=lab_name, help="Name of the lab. If not given: the file's, or that of the only lab there is."
)


def which(name: str | None) -> str:
    """That name, or that of the only lab there is."""
    known = labs.lab_names()
    if name is None and len(known) != 1:
        raise click.UsageError(f"choose a lab with --name (up: {', '.join(known) or 'none'})")
    return name or known[0]


def find(name: str | None) -> labs.Lab:
    """The running lab."""
    try:
        return labs.find(which(name))
    except (labs.Unknown, RuntimeError) as error:
        raise click.UsageError(str(error)) from error
