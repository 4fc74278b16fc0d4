"""
Labs that commands build: their file, their options, and Ctrl-C meanwhile.

Refuses to know: how a lab is built.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bgpctl.cli import findings
from bgpctl.cli.exits import Exit
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.lab import lab as labs
from bgpctl.lab import runtime
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology
from bgpctl.store import secrets


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


@contextlib.contextmanager
def interruptible(name: str) -> Iterator[None]:
    """
    SIGTERM cleans up as Ctrl-C does. Exits 130 then, and if something is there of the lab of this name, names the
    command that removes it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(_left(name), err=True)
        sys.exit(Exit.INTERRUPTED)


def _left(name: str) -> str:
    if name not in labs.lab_names():
        return f"interrupted; nothing is left of lab {name}"
    how = "stays up" if labs.record_of(name).get("whole") else "is there in part"
    return f"interrupted; lab {name} {how}; remove it with: bgpctl lab down --name {name}"
