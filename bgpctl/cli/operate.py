"""
`bgpctl peer up|down|refresh`, `bgpctl drain|undrain`, `bgpctl agent journal`: what an operator asks of a running agent.

Refuses to know: how the agent does it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import client
from bgpctl.cli.exits import Exit
from bgpctl.cli.show import run_dir_option

_TIMEOUT_S: Final = {"journal": 120.0}
"""A journal with 100,000 paths takes the agent some ten seconds, beside its work."""


def ask(run_dir: Path, verb: str, content: str = "", **query: str) -> dict[str, Any]:
    """Exits 3 if no agent answers, 6 if we may not ask, 2 if the question makes no sense."""
    try:
        return client.ask(run_dir / client.SOCKET, verb, query, content=content, timeout_s=_TIMEOUT_S.get(verb, 5.0))
    except client.AgentAway as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.UNREACHABLE)
    except client.Denied as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    except client.Nonsense as error:
        raise click.UsageError(str(error)) from error


@click.group()
@run_dir_option
@click.pass_context
def peer(context: click.Context, run_dir: Path) -> None:
    """One BGP session of this node."""
    context.obj = run_dir


@peer.command()
@click.argument("name")
@click.pass_obj
def down(run_dir: Path, name: str) -> None:
    """
    End the session with the peer NAME (or address), and keep it down until `bgpctl peer up` or the agent's restart.

    Our routes are withdrawn from the peer first.
    """
    ask(run_dir, "peer-down", peer=name)
    click.echo(f"{name} is being shut down; bring it back with: bgpctl peer up {name}")


@peer.command()
@click.argument("name")
@click.pass_obj
def up(run_dir: Path, name: str) -> None:
    """Have a session again with the peer NAME (or address)."""
    ask(run_dir, "peer-up", peer=name)
    click.echo(f"{name} may come up; watch it with: bgpctl show neighbor {name}")


@peer.command()
@click.argument("name")
@click.pass_obj
def refresh(run_dir: Path, name: str) -> None:
    """Ask the peer NAME (or address) for its whole table again; what it does not repeat is dropped."""
    ask(run_dir, "peer-refresh", peer=name)
    click.echo(f"{name} is asked for its whole table")


@click.command()
@run_dir_option
def drain(run_dir: Path) -> None:
    """Tell all peers that this node is about to go, so that they use others' routes where there are any (RFC 8326)."""
    ask(run_dir, "drain")
    click.echo("draining: peers prefer others' routes from now on; take it back with: bgpctl undrain")


@click.command()
@run_dir_option
def undrain(run_dir: Path) -> None:
    """Take `bgpctl drain` back."""
    ask(run_dir, "undrain")
    click.echo("not draining")


@click.command()
@run_dir_option
def journal(run_dir: Path) -> None:
    """
    Write the agent's last events to a file, with the commands that answered them: journal.jsonl in its run directory.

    `bgpctl agent replay` replays them on any machine. The file has addresses and names of the cluster in it, and no
    password. `bgpctl show events` prints the same in words.
    """
    body = ask(run_dir, "journal")
    click.echo(f"{body['events']} events in {body['file']}")
