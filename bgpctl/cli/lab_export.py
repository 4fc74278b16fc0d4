"""
`bgpctl lab export`: a lab file in the formats of other tools.

Refuses to know: those formats.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.lab_choice import topology_of
from bgpctl.cli.options import file_or_argument
from bgpctl.cli.refusals import NotFound
from bgpctl.lab import compose, foreign
from bgpctl.lab.topology import Program


def _named_files(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> Mapping[str, Path]:
    del context, option
    pairs = [value.partition("=") for value in values]
    if not all(name and path for name, _, path in pairs):
        raise click.BadParameter("expected NAME=FILE")
    return {name: Path(path) for name, _, path in pairs}


@click.group()
def export() -> None:
    """Write a lab file in the formats of other tools."""


@export.command("compose")
@file_or_argument
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
    more = {name: topology_of(path) for name, path in profiles.items()}
    options = "".join(f" --profile {name}={path}" for name, path in profiles.items())
    try:
        text = compose.export(topology_of(file), more, f"bgpctl lab export compose -f {file}{options}")
    except compose.Inexpressible as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.INVALID)
    click.echo(text, nl=False)


@export.command("bird")
@click.argument("name")
@file_or_argument
def bird_command(name: str, file: Path) -> None:
    """Print the BIRD configuration of the router or node NAME that runs it."""
    topology = topology_of(file)
    if topology.runs.get(name) is not Program.BIRD:
        raise NotFound(f"{name} does not run bird in {file}")
    click.echo(foreign.bird_configuration(topology, name), nl=False)
