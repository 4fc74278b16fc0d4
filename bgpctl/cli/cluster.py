"""
`bgpctl cluster import|status|renew|export`: a cluster's store in an etcd, as an operator sees it from any host.

Refuses to know: keys and records of the store.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.lazy import LazyGroup
from bgpctl.cli.options import files_or_arguments, store_option
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.cli.render import emit, is_text, output_option, print_table
from bgpctl.cli.render_intent import as_yaml
from bgpctl.cli.tables import Column
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent import render_short
from bgpctl.ports import NotPossibleNow, StoreStatus
from bgpctl.process.clock import LinuxClock
from bgpctl.store import texts
from bgpctl.store.etcd import importing
from bgpctl.store.etcd.duties import ALIVE
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.gateway import PATIENT_S
from bgpctl.store.etcd.options import Options, UnusableStore, options_of
from bgpctl.store.etcd.store import EtcdStore

_SCHEMA: Final = "bgpctl/cluster-status/v1"
_STATUS: Final = (
    Column("STORE", lambda row: row["store"]),
    Column("GENERATION", lambda row: row["generation"]),
    Column("REVISION", lambda row: row["revision"]),
    Column("NODES", lambda row: row["nodes"]),
    Column("POOLS", lambda row: row["pools"]),
)

_MEMBERS: Final = (
    Column("NODE", lambda row: row["node"]),
    Column("ADDRESS", lambda row: ", ".join(row["address"])),
    Column("BLOCKS", lambda row: ", ".join(row["blocks"]) or "-"),
    Column("AGENT", lambda row: "alive" if row["alive"] else "not heard"),
)

_COMMANDS: Final = {
    "backup": "cluster_backup",
    "init": "cluster_operate",
    "invitations": "cluster_operate",
    "invite": "cluster_operate",
    "join": "cluster_join",
    "leave": "cluster_join",
    "remove": "cluster_operate",
    "restore": "cluster_backup",
    "revoke": "cluster_operate",
    "serve": "cluster_serve",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def cluster() -> None:
    """A cluster on an etcd: its nodes, which join it, and its store."""


def options_at(word: str | None) -> Options:
    """The store that was given. Raises NotFound."""
    if not word:
        raise click.UsageError("which store: --store STORE, or BGPCTL_STORE")
    try:
        return options_of(word)
    except UnusableStore as error:
        raise NotFound(str(error)) from error


def opened(word: str | None, files: tuple[Path, ...] = ()) -> EtcdStore:
    """
    The store, which answers; `files` are to replace its configuration. What is on this host's disk is none. Exits 3 if
    it does not answer.
    """
    options = options_at(word)
    names = [str(file.resolve()) for file in files]
    try:
        store = EtcdStore(replace(options, snapshot=None), LinuxClock(), names, PATIENT_S)
        store.load()
    except (UnusableStore, NotPossibleNow) as error:
        raise NotFound(str(error)) from error
    _heard(store)
    return store


def _heard(store: EtcdStore) -> StoreStatus:
    status = store.status()
    if not status.is_heard:
        click.echo(f"{status.name} does not answer: {status.reason}", err=True)
        sys.exit(Exit.UNREACHABLE)
    return status


@cluster.command("import")
@files_or_arguments
@store_option
@click.option(
    "--replaces",
    metavar="UUID",
    help="Agents that know this content (bgpctl show summary) take the store's for its successor: after a loss.",
)
def import_(files: tuple[Path, ...], store: str | None, replaces: str | None) -> None:
    """
    Put a whole cluster into the store: from cluster files, or from what `calicoctl` or `kubectl` has dumped.

    Its settings become the configuration, which `bgpctl apply --store` replaces from then on; each node and its blocks
    become two records of their own. What the store has as it is in the files is not written again, and nodes that are
    not in the files stay.
    """
    parts = importing.parts_of(valid(texts.load(files)))
    target = opened(store)
    name = str(files[0].resolve())
    try:
        done = importing.put(target.kv, name, parts, replaces)
    except NotPossibleNow as error:
        raise Refusal(str(error)) from error
    nodes = count(len(parts.records) // 2, "node")
    written = count(done.written, "record")
    click.echo(f"{nodes} in {_heard(target).name} as generation {done.generation}; {written} written")
    for key in done.others:
        click.echo(f"stays, and is not in the files: {key}")


@cluster.command()
@store_option
@output_option
def status(store: str | None, output: str) -> None:
    """
    Show the store, and its nodes: which of them have been heard by the store in the last 30 s.

    Exits 3 if the store does not answer, 2 if it has no cluster.
    """
    found = opened(store)
    intent = valid(found.load())
    row = {
        "store": _heard(found).name,
        "generation": found.generation,
        "revision": _heard(found).revision,
        "nodes": len(intent.nodes),
        "pools": len(intent.pools),
        "uuid": _heard(found).uuid,
    }
    members = _members(found, intent)
    emit({"schema": _SCHEMA, **row, "members": members}, output, [row], _STATUS)
    if is_text(output) and members:
        click.echo()
        print_table(members, _MEMBERS, output)


def _members(store: EtcdStore, intent: Intent) -> list[dict[str, Any]]:
    try:
        alive = {key.removeprefix(ALIVE) for key in store.kv.list(ALIVE).entries}
    except FAULTS as error:
        raise Refusal(f"the nodes' signs of life cannot be read: {error}") from error
    return [
        {
            "node": node.name,
            "address": [str(address) for address in node.addresses],
            "blocks": [str(block) for block in intent.blocks_of(node)],
            "alive": node.name in alive,
        }
        for node in intent.nodes
    ]


@cluster.command()
@store_option
def export(store: str | None) -> None:
    """Print the cluster as a cluster file in the short form, for `bgpctl plan --from`, `render` and `validate`."""
    found = opened(store)
    intent: Intent = valid(found.load())
    documents = [render_short.short(intent), *importing.restrictions(intent)]
    click.echo(as_yaml("in the short form", [Path("store")], (), documents), nl=False)


@cluster.command()
@store_option
def renew(store: str | None) -> None:
    """
    After a backup was restored on purpose: have all agents take the store's content, although they know newer.

    Without, agents keep what they know, and remove nothing. It gives the content another uuid.
    """
    try:
        now = importing.renew(opened(store).kv)
    except NotPossibleNow as error:
        raise Refusal(str(error)) from error
    click.echo(f"the content is {now} from now on; agents take it within a second")
