"""
`bgpctl peer up|down|refresh`, `bgpctl drain|undrain`, `bgpctl agent journal`: requests to a running agent.

Refuses to know: how the agent does it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import client
from bgpctl.cli import suggest
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import run_dir_option
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.core.cluster.count import count

_TIMEOUT_S: Final = {"journal": 120.0}
"""A journal with 100,000 paths takes the agent some ten seconds, beside its work."""


def ask(run_dir: Path, verb: str, content: str = "", **query: str) -> dict[str, Any]:
    """Exits 3 if no agent answers, 6 if the user may not request this, 2 if the request is not valid."""
    try:
        return client.ask(run_dir / client.SOCKET, verb, query, content=content, timeout_s=_TIMEOUT_S.get(verb, 5.0))
    except client.AgentAway as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.UNREACHABLE)
    except client.Denied as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    except client.NotPossible as error:
        raise Refusal(str(error)) from error
    except client.BadRequest as error:
        raise NotFound(str(error)) from error


@click.group()
@run_dir_option
@click.pass_context
def peer(context: click.Context, run_dir: Path) -> None:
    """One BGP session of this node."""
    context.obj = run_dir


@peer.command()
@click.argument("name", shell_complete=suggest.peers)
@click.pass_obj
def down(run_dir: Path, name: str) -> None:
    """
    End the session with the peer NAME (or address), and keep it down until `bgpctl peer up` or the agent's restart.

    Our routes are withdrawn from the peer first.
    """
    ask(run_dir, "peer-down", peer=name)
    click.echo(f"the session with {name} is being shut down; end this with: bgpctl peer up {name}")


@peer.command()
@click.argument("name", shell_complete=suggest.peers)
@click.pass_obj
def up(run_dir: Path, name: str) -> None:
    """Allow the session with the peer NAME (or address) again."""
    ask(run_dir, "peer-up", peer=name)
    click.echo(f"the session with {name} is allowed again; watch it with: bgpctl show neighbor {name}")


@peer.command()
@click.argument("name", shell_complete=suggest.peers)
@click.pass_obj
def refresh(run_dir: Path, name: str) -> None:
    """Request a route refresh from the peer NAME (or address); paths that it does not announce again are removed."""
    ask(run_dir, "peer-refresh", peer=name)
    click.echo(f"route refresh requested from {name}; watch it with: bgpctl show events")


@click.command()
@run_dir_option
def drain(run_dir: Path) -> None:
    """Announce graceful shutdown (RFC 8326) to all peers: they prefer routes of other nodes where there are any."""
    ask(run_dir, "drain")
    click.echo("draining: peers prefer routes of other nodes; end it with: bgpctl undrain")


@click.command()
@run_dir_option
def undrain(run_dir: Path) -> None:
    """End `bgpctl drain`."""
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
    click.echo(f"{count(body['events'], 'event')} in {body['file']}")
