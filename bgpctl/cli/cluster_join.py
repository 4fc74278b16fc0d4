"""
`bgpctl cluster join|leave`: this host becomes a node of a cluster, or is one no more.

Refuses to know: what the join service does.
"""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from bgpctl import client, filesystem
from bgpctl.cli.join_options import (
    address_of,
    address_option,
    directory_option,
    host_name_option,
    places_of,
    refusals,
    state_option,
)
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.core.cluster import join_file
from bgpctl.core.cluster.join_file import BadJoinFile, JoinFile
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.autodetect import Method
from bgpctl.join import member
from bgpctl.join.places import Places

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_BYTES: Final = 1 << 16
_UNIT: Final = "bgpctl-agent.service"
_DROP_IN: Final = Path("/etc/systemd/system") / f"{_UNIT}.d" / "join.conf"


@click.command()
@click.option(
    "--from", "source", required=True, metavar="FILE", help="The join file, for its owner alone; - is standard input."
)
@host_name_option
@address_option
@click.option("--block", metavar="PREFIX", help="The first block; the first free one without.")
@click.option("--pool", metavar="NAME", help="The pool of the first block; the cluster's first one without.")
@click.option("--start", is_flag=True, help="Enable and start the agent's unit, as systemctl does.")
@directory_option
@state_option
def join(
    source: str,
    node: str,
    method: Method | InterfaceAddress,
    block: str | None,
    pool: str | None,
    *,
    start: bool,
    directory: Path,
    state_dir: Path,
) -> None:
    """
    Make this host a node of a cluster, with a join file of `bgpctl cluster invite`.

    It gets a certificate, a user of the store and its first block, and starts nothing unless asked. Exits 2 if the file
    or the service is not usable, 6 if the cluster refuses.
    """
    places = places_of(directory, state_dir)
    with refusals():
        member.refuse_member(places)
    file = _read(source)
    address = address_of(method)
    wishes = {key: value for key, value in (("block", block), ("pool", pool)) if value}
    with refusals():
        places.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        blocks = member.join(places, file, node, address, wishes)
    report(places, file.cluster, node, address, blocks)
    if start:
        start_agent(places, node)


def report(places: Places, cluster: str, node: str, address: InterfaceAddress, blocks: list[str]) -> None:
    """Print what was done for this host, and the next command."""
    click.echo(f"node {node} of cluster {cluster}: address {address}, block {', '.join(blocks) or 'none'}")
    click.echo(f"its certificate is in {places.keys}, its store in {places.store}")
    more = "" if places.keys == client.KEYS else f" --keys {places.keys}"
    click.echo(f"next: bgpctl agent run --node {node} --store {places.store}{more}")


def start_agent(places: Places, node: str) -> None:
    """Enable and start the agent's unit, for this node and its store. Raises Refusal."""
    program = shutil.which("systemctl")
    if program is None:
        raise Refusal("this host has no systemctl: start the agent as this host starts its services")
    variables = {"BGPCTL_AGENT_RUN_NODE": node, "BGPCTL_AGENT_RUN_FILES": "", "BGPCTL_STORE": places.store}
    lines = (f"Environment={key}={value}\n" for key, value in (*variables.items(), ("BGPCTL_KEYS", places.keys)))
    _DROP_IN.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _DROP_IN.write_text(f"# Written by bgpctl cluster join.\n[Service]\n{''.join(lines)}")
    for words in (("daemon-reload",), ("enable", "--now", _UNIT)):
        done = subprocess.run((program, *words), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refusal(f"{_UNIT} does not start: {done.stderr.strip()}; see: journalctl -u {_UNIT}")
    click.echo(f"{_UNIT} runs")


def _read(source: str) -> JoinFile:
    try:
        if source == "-":
            return join_file.read(sys.stdin.read(_LONGEST_BYTES), "standard input")
        path = Path(source)
        if path.is_file() and path.stat().st_mode & _OTHERS:
            raise NotFound(
                f"other users can read {path}, which has a secret; run: chmod 0600 {path}, and ask for another"
            )
        return join_file.read(filesystem.read(path, _LONGEST_BYTES).decode(), source)
    except BadJoinFile as error:
        raise NotFound(str(error)) from error
    except UnicodeDecodeError as error:
        raise NotFound(f"{source} is no join file: it is no UTF-8 text") from error
    except OSError as error:
        raise NotFound(f"{source} cannot be read: {error.strerror}") from error


@click.command()
@directory_option
@state_option
def leave(directory: Path, state_dir: Path) -> None:
    """
    Make this host a node no more: its record, user, block and certificate are gone at once, and its secrets here.

    End its agent before. The join service has to run. Exits 2 if it does not, 6 if it refuses.
    """
    places = places_of(directory, state_dir)
    with refusals():
        if places.ca.exists():
            raise Refusal(f"this host has the cluster's authority ({places.ca}), and stays")
        left = member.leave(places)
    click.echo(f"{left.node} is no node of cluster {left.cluster} any more; what it had is free")
    click.echo("next: bgpctl cleanup, which removes its routes and links here")
