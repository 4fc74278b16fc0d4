"""
The faults of a cluster's shared IPAM, and what can be freed.

Only a node's own ledger knows that an address has no workload; of other nodes nothing is known here, but that they
are members. An address of a node that is no member any more has no owner: an operator has removed the node.

Refuses to know: where a shared IPAM and a ledger are kept.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.claims import Claims, overlaid
from bgpctl.core.net.addresses import Address, Prefix


class Kind(enum.StrEnum):
    """The kinds of findings."""

    LEAK = "leak"
    NODE_GONE = "node-gone"
    NOT_USED = "not-used"
    REPLACED = "replaced"
    UNREGISTERED = "unregistered"


class Allocation(NamedTuple):
    """An address that a node has given to a workload, by its handle. `number` is that of the allocation."""

    address: Address
    block: Prefix
    node: str
    handle: str
    number: int


class Assignments(NamedTuple):
    """All of a shared IPAM at one moment. `replaced`: blocks whose holder has changed without a release."""

    claims: Claims
    allocations: tuple[Allocation, ...]
    replaced: frozenset[Prefix] = frozenset()


class Finding(NamedTuple):
    """Something wrong. `subject`: an address or a block; `release`: what a release would do, "" if nothing."""

    kind: Kind
    subject: str
    node: str
    text: str
    release: str = ""


class Own(NamedTuple):
    """The knowledge of one node: the addresses that its workloads have, and those that its kernel has in use."""

    node: str
    held: Mapping[Address, str]
    in_use: Collection[Prefix] = ()


def findings(intent: Intent, assignments: Assignments, own: Own | None = None) -> Iterator[Finding]:
    """All that is wrong; `own` is of the host that asks, if it has a ledger."""
    for allocation in assignments.allocations:
        if intent.node(allocation.node) is None:
            text = f"{allocation.handle} had it on node {allocation.node}, which is no member of the cluster"
            yield Finding(Kind.NODE_GONE, f"{allocation.address}", allocation.node, text, "the address is freed")
        elif own and allocation.node == own.node and allocation.address not in own.held:
            yield _leak(allocation, own)
    refused = overlaid(intent, assignments.claims).refused
    for key, claim in sorted(assignments.claims.blocks.items()):
        if intent.node(claim.node) is None:
            text = f"its node {claim.node} is no member of the cluster"
            yield Finding(Kind.NODE_GONE, f"{claim.block}", claim.node, text, "the block is freed")
        elif key in refused:
            yield Finding(Kind.NOT_USED, f"{claim.block}", claim.node, refused[key])
        if claim.block in assignments.replaced:
            text = (
                f"its holder became {claim.node} without a release of the one before; agents that knew that one keep it"
            )
            yield Finding(Kind.REPLACED, f"{claim.block}", claim.node, text)
    for key, loan in sorted(assignments.claims.loans.items()):
        if key in refused and intent.node(loan.node):
            yield Finding(Kind.NOT_USED, f"{loan.prefix.first}", loan.node, refused[key])
    if own:
        yield from _unregistered(assignments, own)


def _leak(allocation: Allocation, own: Own) -> Finding:
    text = f"{allocation.handle} is no workload of node {own.node}"
    if allocation.address.host_prefix in own.in_use:
        return Finding(Kind.LEAK, f"{allocation.address}", own.node, f"{text}, and the kernel has the address in use")
    return Finding(Kind.LEAK, f"{allocation.address}", own.node, text, "the address is freed")


def _unregistered(assignments: Assignments, own: Own) -> Iterator[Finding]:
    known = {allocation.address: allocation for allocation in assignments.allocations}
    for address, handle in sorted(own.held.items()):
        there = known.get(address)
        if there and there.node != own.node:
            text = f"{handle} has it on node {own.node}, and {there.handle} has it on node {there.node}"
            yield Finding(Kind.UNREGISTERED, f"{address}", own.node, text)
        elif not there and any(claim.block.holds(address) for claim in assignments.claims.blocks.values()):
            text = f"{handle} has it on node {own.node}, and the shared IPAM does not know of it"
            yield Finding(Kind.UNREGISTERED, f"{address}", own.node, text, "the address is noted, if it is free")
