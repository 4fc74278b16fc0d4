"""
Labs and lab files that commands are given, by name and by path.

Refuses to know: what is done with them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bgpctl.cli import findings, suggest
from bgpctl.cli.exits import Exit
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.lab import lab as labs
from bgpctl.lab import runtime
from bgpctl.lab.build import Names
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology
from bgpctl.store import secrets


def _lab_name(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    del context, option
    try:
        return Names(name).lab if name is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _named(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--name", metavar="LAB", callback=_lab_name, shell_complete=suggest.labs, help=text)


name_option = _named("Name of the lab. If not given: that of the only lab there is.")
new_name_option = _named("Name of the lab. If not given: that of the file.")


def runtime_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--backend` and `--image`."""
    image = click.option("--image", default=runtime.IMAGE, show_default=True, help="Image of the containers.")
    backend = click.option(
        "--backend",
        type=click.Choice(runtime.WORDS),
        default=runtime.NETNS,
        show_default=True,
        help="Parts are network namespaces, or containers of the Docker engine on this machine.",
    )
    return backend(image(function))


def topology_of(file: Path) -> Topology:
    """The topology in the file; with problems they are printed and the program ends."""
    loaded = load(file)
    problems = _missing_secrets(file, loaded.intent) if isinstance(loaded, Topology) else loaded
    if isinstance(loaded, Topology) and not problems:
        return loaded
    findings.show(problems)
    sys.exit(Exit.INVALID)


def _missing_secrets(file: Path, intent: Intent) -> tuple[Problem, ...]:
    """The password files that the lab would need, and that are not there."""
    given = (intent.mesh_password_file, *(peer.password_file for peer in intent.peers))
    return secrets.missing([file], [file.read_text(encoding="utf-8")], {name for name in given if name})


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


@contextlib.contextmanager
def interruptible(name: str) -> Iterator[None]:
    """
    SIGTERM cleans up as Ctrl-C does. Exits 130 then, and if something is left of the lab of this name that the present
    process made, names the command that removes it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(_left(name), err=True)
        sys.exit(Exit.INTERRUPTED)


def _left(name: str) -> str:
    record = labs.record_of(name)
    if name not in labs.lab_names() or (record and record["owner"]["pid"] != os.getpid()):
        return f"interrupted; nothing is left of lab {name}"
    how = "stays up" if record.get("whole") else "is there in part"
    return f"interrupted; lab {name} {how}; remove it with: bgpctl lab down --name {name}"
