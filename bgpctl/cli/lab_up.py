"""
`bgpctl lab up|down`: a lab that stays, and its removal.

Refuses to know: how a lab is built.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.lab_choice import interruptible, runtime_options, topology_of
from bgpctl.cli.options import file_or_argument, wait_option
from bgpctl.cli.progress import Progress, progress_of
from bgpctl.cli.refusals import Refusal
from bgpctl.cli.render import print_table
from bgpctl.cli.show import SUMMARY
from bgpctl.cli.ui import serve_lab
from bgpctl.cli.which_lab import name_option, new_name_option, which
from bgpctl.lab import lab as labs
from bgpctl.lab import runtime
from bgpctl.lab.build import Names
from bgpctl.lab.runtime import Runtime
from bgpctl.lab.topology import Topology


@click.command("up")
@file_or_argument
@new_name_option
@wait_option("Wait until it has converged, at most TIME.", default="60s")
@click.option("--no-wait", is_flag=True, help="Do not wait until it has converged.")
@click.option("--ui", "with_map", is_flag=True, help="Then serve a live map of it, as `bgpctl lab ui` does.")
@runtime_options
def up_command(
    file: Path, name: str | None, within_s: float, backend: str, image: str, *, no_wait: bool, with_map: bool
) -> None:
    """
    Build FILE and leave it running. Exits 4 if it has not converged in time; it stays up.

    Ctrl-C removes what was built; once all is built the lab stays, and is named.
    """
    topology = topology_of(file)
    labs.remove_orphans()
    name = name or Names.of_file(file).lab
    with interruptible(name), progress_of(name) as progress:
        made = _made(topology, name, runtime.of(backend, image), progress)
        progress.stage("converge")
        converged = no_wait or made.wait(within_s, lambda done: progress.count(done, len(topology.agents)))
    print_table(made.summaries(), SUMMARY)
    click.echo(f"run commands in it with: bgpctl lab exec --name {name} NODE -- COMMAND")
    if with_map:
        serve_lab(made)
    sys.exit(Exit.OK if converged else Exit.TIMED_OUT)


def _made(topology: Topology, name: str, place: Runtime, progress: Progress) -> labs.Lab:
    progress.stage("build")
    try:
        return labs.up(topology, name, keep=True, runtime=place, progress=progress)
    except (labs.Exists, RuntimeError) as error:
        raise Refusal(str(error)) from error


@click.command("down")
@name_option
@click.option("--all", "every", is_flag=True, help="End all labs.")
def down_command(name: str | None, *, every: bool) -> None:
    """End a lab and remove everything of it."""
    if every and name:
        raise click.UsageError("--all and --name cannot both be given")
    for each in labs.lab_names() if every else [which(name)]:
        known = each in labs.lab_names()
        with interruptible(each), progress_of(each) as progress:
            progress.stage("remove")
            _remove(each, progress)
        click.echo(f"lab {each} is removed" if known else f"there is no lab {each}")


def _remove(name: str, progress: Progress) -> None:
    try:
        labs.down(name, progress)
    except RuntimeError as error:
        raise Refusal(str(error)) from error
