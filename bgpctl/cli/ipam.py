"""
`bgpctl ipam show|check|release`: who has which block and address of a cluster on an etcd, and what was left over.

Refuses to know: keys and records of the store, the rules for what is wrong (core/ipam/audit.py).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from bgpctl.attach import ledger_file, observe
from bgpctl.attach.shared_ipam import held, settle
from bgpctl.cli.cluster import opened
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import store_option
from bgpctl.cli.render import emit, is_text, output_option
from bgpctl.cli.shared_ipam import opened as opened_shared
from bgpctl.cli.tables import Column
from bgpctl.cli.workload_options import state_dir_option, this_node_option
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.audit import Assignments, Finding, Own, findings
from bgpctl.store.etcd import ipam_audit
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.kv import Kv

_BLOCKS: Final[Sequence[Column]] = (
    Column("BLOCK", lambda row: row["block"]),
    Column("POOL", lambda row: row["pool"]),
    Column("NODE", lambda row: row["node"]),
    Column("USED", lambda row: row["used"]),
    Column("OF", lambda row: row["size"]),
    Column("BORROWED", lambda row: row["borrowed"]),
    Column("SINCE", lambda row: row["origin"]),
)
_ADDRESSES: Final[Sequence[Column]] = (
    Column("ADDRESS", lambda row: row["address"]),
    Column("NODE", lambda row: row["node"]),
    Column("HANDLE", lambda row: row["handle"], wraps=True),
    Column("BLOCK", lambda row: row["block"]),
)
_FINDINGS: Final[Sequence[Column]] = (
    Column("SUBJECT", lambda row: row["subject"]),
    Column("KIND", lambda row: row["kind"]),
    Column("NODE", lambda row: row["node"]),
    Column("WHY", lambda row: row["text"], wraps=True),
    Column("RELEASE", lambda row: row["release"] or "nothing: it is for the operator", wraps=True),
)


@click.group()
def ipam() -> None:
    """Blocks and addresses that the nodes of a cluster on an etcd have claimed by themselves."""


class _Read(NamedTuple):
    kv: Kv
    intent: Intent
    assignments: Assignments


@contextmanager
def _answers() -> Iterator[None]:
    """Exits 3 if the store does not answer."""
    try:
        yield
    except FAULTS as error:
        click.echo(f"the shared IPAM cannot be read: {error}", err=True)
        sys.exit(Exit.UNREACHABLE)


def _read(word: str | None) -> _Read:
    store = opened(word)
    intent = valid(store.load())
    with _answers():
        return _Read(store.kv, intent, ipam_audit.read(store.kv))


def _own(state_dir: Path, node: str) -> Own | None:
    """The knowledge of this host, if it has a ledger of this node."""
    ledger = ledger_file.read(state_dir)
    if ledger.node != node:
        return None
    return Own(node, held(ledger))


def _findings(read: _Read, own: Own | None) -> list[Finding]:
    if own:
        leaks = [a.address.host_prefix for a in read.assignments.allocations if a.node == own.node]
        own = own._replace(in_use=observe.in_use([p for p in leaks if p.first not in own.held], ""))
    return [*findings(read.intent, read.assignments, own)]


@ipam.command()
@click.option("--addresses", is_flag=True, help="Each address and its workload, instead of the blocks.")
@store_option
@output_option
def show(*, addresses: bool, store: str | None, output: str) -> None:
    """Show the blocks of all nodes, with how many of their addresses are used; also those that are declared."""
    read = _read(store)
    used = read.assignments.allocations
    if addresses:
        each = [{"address": str(a.address), "node": a.node, "handle": a.handle, "block": str(a.block)} for a in used]
        emit({"schema": "bgpctl/ipam-addresses/v1", "addresses": each}, output, each, _ADDRESSES)
        return
    claims = {claim.block: claim for claim in read.assignments.claims.blocks.values()}
    declared = {block: node.name for node in read.intent.nodes for block in read.intent.blocks_of(node)}
    rows: list[dict[str, Any]] = []
    for block in sorted({*claims, *declared}):
        pool, claim = read.intent.pool_of(block), claims.get(block)
        there = [allocation for allocation in used if allocation.block == block]
        holder = claim.node if claim else declared[block]
        rows.append(
            {
                "block": str(block),
                "pool": pool.name if pool else None,
                "node": holder,
                "used": len(there) if claim else None,
                "size": block.size,
                "borrowed": sum(allocation.node != holder for allocation in there),
                "origin": "claimed" if claim else "declared",
            }
        )
    emit({"schema": "bgpctl/ipam-blocks/v1", "blocks": rows}, output, rows, _BLOCKS)


def _row(finding: Finding) -> dict[str, Any]:
    return {**finding._asdict(), "kind": finding.kind.value, "release": finding.release or None}


@ipam.command()
@store_option
@this_node_option("IPAM")
@state_dir_option
@output_option
def check(store: str | None, node: str | None, state_dir: Path, output: str) -> None:
    """
    Find addresses without a workload, blocks of nodes that are gone, and what two nodes have; say what a release does.

    Whether an address of a node has a workload is known on that node only. Exits 1 if anything is found, 3 if the store
    does not answer.
    """
    read = _read(store)
    own = _own(state_dir, node or socket.gethostname())
    rows = list(map(_row, _findings(read, own)))
    scope = f"workloads of node {own.node}" if own else "no node's workloads: this host has no ledger of one (--node)"
    if rows or not is_text(output):
        emit({"schema": "bgpctl/ipam-check/v1", "checked": scope, "findings": rows}, output, rows, _FINDINGS)
    if is_text(output):
        used, blocks = len(read.assignments.allocations), len(read.assignments.claims.blocks)
        click.echo(f"{count(blocks, 'claimed block')}, {count(used, 'address', 'addresses')}; checked: {scope}")
    sys.exit(Exit.DIFFERENT if rows else Exit.OK)


@ipam.command()
@click.argument("subjects", nargs=-1, metavar="[ADDRESS|BLOCK]...")
@store_option
@this_node_option("IPAM")
@state_dir_option
def release(subjects: tuple[str, ...], store: str | None, node: str | None, state_dir: Path) -> None:
    """
    Release what `bgpctl ipam check` says can be, or some of it.

    Blocks and addresses of a node that is no member any more are given to others afterwards: be sure that it is off.
    Exits 5 if not all was done, 3 if the store does not answer.
    """
    read = _read(store)
    here = node or socket.gethostname()
    own = _own(state_dir, here)
    wanted = [found for found in _findings(read, own) if found.release and (not subjects or found.subject in subjects)]
    with _answers():
        ipam_audit.release_of_nobody(read.kv, read.intent, read.assignments, wanted)
        if own and any(found.node == here for found in wanted) and store:
            with ledger_file.locked(state_dir) as file:
                settle(opened_shared(store, here, state_dir), file.read())
    left = {(found.kind, found.subject) for found in _findings(_read(store), own)}
    done = [found for found in wanted if (found.kind, found.subject) not in left]
    for found in wanted:
        words = found.release if found in done else "could not be freed now; try again"
        click.echo(f"{found.subject}: {words}")
    if not wanted:
        click.echo("there is nothing to release; see: bgpctl ipam check")
    sys.exit(Exit.OK if len(done) == len(wanted) else Exit.PARTLY)
