"""
`bgpctl cluster init|invite|invitations|revoke|remove`: a cluster's first host, and what its operator does there.

Refuses to know: how records, certificates and users are made (bgpctl/join).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli import values
from bgpctl.cli.cluster_join import report
from bgpctl.cli.findings import valid
from bgpctl.cli.join_options import (
    address_of,
    address_option,
    directory_option,
    host_name_option,
    places_of,
    refusals,
    state_option,
)
from bgpctl.cli.render import emit, output_option
from bgpctl.cli.tables import Column
from bgpctl.core.cluster import join_file
from bgpctl.core.cluster.join_file import JoinFile
from bgpctl.core.cluster.join_secret import Invitation
from bgpctl.core.intent.fields import is_name, not_a_name
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.autodetect import Method
from bgpctl.join import founding, member, server
from bgpctl.join.founding import Founding
from bgpctl.join.places import Places
from bgpctl.join.refused import JoinRefused
from bgpctl.join.service import Cluster
from bgpctl.process import keys
from bgpctl.store import texts
from bgpctl.store.etcd import importing

_SCHEMA: Final = "bgpctl/invitations/v1"
_STDOUT: Final = "-"
_INVITATIONS: Final = (
    Column("ID", lambda row: row["id"]),
    Column("ENDS", lambda row: row["ends"]),
    Column("STATE", lambda row: row["state"]),
    Column("NODE", lambda row: row["node"] or "-"),
)
lifetime_option = click.option(
    "--lifetime",
    "lifetime_s",
    callback=values.duration_s,
    default="24h",
    show_default=True,
    metavar="TIME",
    help="The secret of the join file is refused after it.",
)


@click.command()
@click.option("--pool", metavar="CIDR", help="The cluster's pool; or a cluster file with -f.")
@click.option(
    "--encapsulation", default="VXLANCrossSubnet", show_default=True, help="Of that pool, as Calico names it."
)
@click.option(
    "-f", "--file", "file", type=click.Path(path_type=Path, dir_okay=False), help="The settings, instead of --pool."
)
@click.option("--etcd", is_flag=True, help="Run Debian's etcd on this host: so it is without --store.")
@click.option("--store", metavar="FILE", help="An etcd that is there, as a file that describes it for its root user.")
@click.option(
    "--cluster", "name", default="default", show_default=True, metavar="NAME", help="Names the cluster's keys."
)
@host_name_option
@address_option
@click.option(
    "--port", type=click.IntRange(1, 65535), default=server.PORT, show_default=True, help="Of the join service."
)
@click.option(
    "--join-file",
    "join_file_name",
    default="join-file",
    show_default=True,
    metavar="FILE",
    help="Written for the next host.",
)
@lifetime_option
@directory_option
@state_option
def init(  # noqa: PLR0913 (click passes every option)
    pool: str | None,
    encapsulation: str,
    file: Path | None,
    store: str | None,
    node: str,
    method: Method | InterfaceAddress,
    *,
    name: str,
    port: int,
    join_file_name: str,
    lifetime_s: float,
    etcd: bool,
    directory: Path,
    state_dir: Path,
) -> None:
    """
    Make a cluster: its authority, its etcd with users, and this host as its first node.

    Hosts join with the file that it writes, once `bgpctl cluster serve` runs here. What is there already stays, so it
    may be repeated after a failure.
    """
    if bool(pool) == bool(file):
        raise click.UsageError("the cluster's settings: either --pool CIDR, or -f FILE")
    if store and etcd:
        raise click.UsageError("either --etcd, or the --store that is there")
    if not is_name(node):
        raise click.UsageError(f"--node: {not_a_name(node)}")
    places = places_of(directory, state_dir)
    address = address_of(method)
    with refusals():
        member.refuse_member(places)
        text = founding.configuration_of(pool, encapsulation) if pool else _settings(file or Path())
        wanted = Founding(node, address, name, text, port)
        founding.authority(places)
        if store:
            founding.given_etcd(places, store)
        else:
            click.echo(f"etcd at {address.address}: {founding.own_etcd(places, wanted)}")
        blocks = founding.found(places, wanted)
        report(places, name, node, address, blocks)
        _invite(places, join_file_name, lifetime_s, address, port)
    click.echo("next: bgpctl cluster serve, or: systemctl enable --now bgpctl-join.socket")


def _settings(file: Path) -> str:
    """A cluster file without its nodes, which join."""
    intent = valid(texts.load([file]))
    if intent.nodes:
        raise JoinRefused(f"{file} has nodes: here they join; to take it as it is: bgpctl cluster import")
    return importing.parts_of(intent).configuration


@click.command()
@click.argument("file", default="join-file")
@lifetime_option
@click.option("--port", type=click.IntRange(1, 65535), help="Of the join service, if it is not that of init.")
@directory_option
@state_option
def invite(file: str, lifetime_s: float, port: int | None, directory: Path, state_dir: Path) -> None:
    """Write a join file, with a secret that lets one host join once; - is standard output."""
    places = places_of(directory, state_dir)
    with refusals():
        own = member.membership_of(places)
        _invite(places, file, lifetime_s, InterfaceAddress.parse(own.host), port or own.port)


def _invite(places: Places, name: str, lifetime_s: float, address: InterfaceAddress, port: int) -> None:
    """Never written over: another join file may wait there."""
    path = Path(name)
    if name != _STDOUT and path.exists():
        raise JoinRefused(f"{path} is there already; name another file")
    cluster = Cluster(places)
    invitation, secret = cluster.invite(lifetime_s)
    ca = keys.ca_of(places.ca).decode()
    made = JoinFile(cluster.options.cluster, str(address.address), port, ca, invitation.number, secret)
    text = join_file.written(made)
    if name == _STDOUT:
        click.echo(text, nl=False)
        return
    keys.write_private(path.absolute(), text.encode())
    click.echo(f"{path} lets one host join until {_date(invitation.ends_s)}; there: bgpctl cluster join --from {path}")


@click.command()
@output_option
@directory_option
@state_option
def invitations(output: str, directory: Path, state_dir: Path) -> None:
    """List join files by their IDs: which are open, used, expired or revoked. Their secrets are kept nowhere."""
    with refusals():
        found = Cluster(places_of(directory, state_dir)).registry.invitations()
    rows = [_row(item, time.time()) for item in found]
    emit({"schema": _SCHEMA, "invitations": rows}, output, rows, _INVITATIONS)


def _row(item: Invitation, now_s: float) -> dict[str, Any]:
    state = "open" if now_s < item.ends_s else "expired"
    state = "used" if item.node else state
    state = "revoked" if item.is_revoked else state
    return {"id": item.number, "ends": _date(item.ends_s), "state": state, "node": item.node}


def _date(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%MZ")


@click.command()
@click.argument("number", metavar="ID")
@directory_option
@state_option
def revoke(number: str, directory: Path, state_dir: Path) -> None:
    """Have a join file let nobody in any more, by the ID that `bgpctl cluster invitations` shows."""
    with refusals():
        Cluster(places_of(directory, state_dir)).registry.revoke(number)
    click.echo(f"join file {number} lets nobody in any more")


@click.command()
@click.argument("node")
@click.option("--force", is_flag=True, help="Although its agent is alive: its workloads are cut off.")
@directory_option
@state_option
def remove(node: str, directory: Path, state_dir: Path, *, force: bool) -> None:
    """
    Remove a node that is gone: its record, its user of the store, its blocks and its certificates.

    One whose agent was heard in the last 30 s is refused (exit 6) without --force.
    """
    places = places_of(directory, state_dir)
    with refusals():
        Cluster(places).remove(node, force=force)
    click.echo(f"{node} is no node any more: its blocks are free, its user and certificates are void")
