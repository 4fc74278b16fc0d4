"""
Blocks that nodes claim by themselves: which one a node tries next, and what the claims of all make of a cluster.

A node that has no free address claims a block of the pool. All nodes choose at the same time and without asking each
other, so each has an order of its own: it starts at a place that follows from its name, and goes on by a step that
does too, as two who meet at one block would meet again at the next. Sizes are powers of two, so that an odd step comes
to every block. A claim is then one transaction, which fails if any block overlaps (store/etcd/ipam.py).

A pool's block size is that of the blocks it has; another one in the configuration counts once there is none.

Claims come from all nodes, and a cluster must not be invalid because of one of them. So they are laid over an intent
that was read before: a claim that contradicts it is left out, and named.

Refuses to know: transactions, who has which address.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.configuration import Node, Pool, Use
from bgpctl.core.cluster.intent import Intent, sharing_allocations, with_edits
from bgpctl.core.ipam.blocks import NotGiven, Rule
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.longest_match import LongestMatch

T = TypeVar("T", "Claim", "Loan")

LARGEST: Final = {4: 20, 6: 116}
"""The largest block that a pool may have, as a prefix length, by IP version."""
_MOST_TRIES: Final = 1 << 16
"""Blocks of a pool that are compared to find a free one; an IPv6 pool may have more than can be counted."""


class Claim(NamedTuple):
    """
    A block that a node has claimed.

    Attributes:
        home: it was the node's first of the pool: its tunnel address is of it, and it is not freed for being empty.
        since: grows with the time of the claim; of two that overlap the earlier one counts.
    """

    block: Prefix
    node: str
    home: bool = False
    since: int = 0


class Loan(NamedTuple):
    """An address that a node has borrowed from another one's block."""

    prefix: Prefix
    node: str


@dataclass(frozen=True, slots=True)
class Claims:
    """All claims and loans, by their keys in the shared IPAM."""

    blocks: Mapping[str, Claim]
    loans: Mapping[str, Loan]

    def of(self, node: str) -> tuple[Prefix, ...]:
        """The blocks that a node has claimed."""
        return tuple(sorted(claim.block for claim in self.blocks.values() if claim.node == node))

    def holder(self, block: Prefix) -> str | None:
        """The node that has claimed a block."""
        return next((claim.node for claim in self.blocks.values() if claim.block == block), None)


NO_CLAIMS: Final = Claims({}, {})


# The next block -----------------------------------------------------------------------------------------------------


def next_block(
    intent: Intent, node: Node, pool: Pool, claims: Collection[Claim], within: Prefix | None = None
) -> Prefix:
    """
    The block that the node tries to claim, with the declared blocks of the intent and the claims of all. `within`: a
    prefix that some of its addresses are in. Raises NotGiven.
    """
    fitting = (claim for claim in claims if pool.cidr.covers(claim.block) and _objection(intent, claim) is None)
    first = min(fitting, key=lambda claim: claim.since, default=None)
    own = {claim.block for claim in claims if claim.node == node.name} | {*intent.blocks_of(node)}
    if intent.most_blocks and len(own) >= intent.most_blocks:
        text = f"node {node.name} has {len(own)} blocks, and maxBlocksPerHost is {intent.most_blocks}"
        raise NotGiven(Rule.MOST_BLOCKS, text)
    length = first.block.length if first else pool.block_size
    declared = (block for other in intent.nodes for block in intent.prefixes_of(other) if pool.cidr.overlaps(block))
    # A claim that does not count is in the way of a transaction all the same: by its key.
    claimed = (claim.block if _has_size(claim.block) else claim.block.first.host_prefix for claim in claims)
    taken = _Taken((*claimed, *declared, *_whole(intent.reserved, pool)))
    found = next((block for block in _order(pool.cidr, length, node.name, within) if taken.leaves(block)), None)
    if found is None:
        where = f"pool {pool.name}" if within is None else f"{within} of pool {pool.name}"
        raise NotGiven(Rule.FULL, f"{where} has no free block of /{length} for node {node.name}")
    return found


def _has_size(block: Prefix) -> bool:
    return block.length >= LARGEST[block.version]


def _whole(reserved: Iterable[Prefix], pool: Pool) -> Iterator[Prefix]:
    """Reservations of more than one address: a block that lies in one would give none."""
    return (prefix for prefix in reserved if prefix.size > 1 and pool.cidr.covers(prefix))


class _Taken:
    """Prefixes, the largest of those that nest."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._prefixes: list[Prefix] = []
        for prefix in sorted(prefixes, key=lambda found: (found.version, found.network, found.length)):
            if not self._prefixes or not self._prefixes[-1].covers(prefix):
                self._prefixes.append(prefix)

    def take(self, prefix: Prefix) -> None:
        """One more, which overlaps none."""
        insort(self._prefixes, prefix)

    def leaves(self, block: Prefix) -> bool:
        """True if none of them overlaps the block."""
        after = bisect_right(self._prefixes, block)
        return not any(found.overlaps(block) for found in self._prefixes[max(0, after - 1) : after + 1])


def _order(cidr: Prefix, length: int, node: str, within: Prefix | None) -> Iterator[Prefix]:
    """The blocks of a pool, or those that overlap `within`, in the order of a node."""
    area = within if within and cidr.covers(within) else cidr
    if length <= area.length:
        shift = (32 if cidr.version == 4 else 128) - length
        yield Prefix(cidr.version, area.network >> shift << shift, length)
        return
    number = 1 << (length - area.length)
    size = 1 << ((32 if cidr.version == 4 else 128) - length)
    digest = hashlib.sha256(f"{node}\0{cidr}".encode()).digest()
    start, step = int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:], "big") | 1
    for index in range(min(number, _MOST_TRIES)):
        yield Prefix(cidr.version, area.network + (start + index * step) % number * size, length)


# Claims laid over an intent ------------------------------------------------------------------------------------------


class Overlaid(NamedTuple):
    """An intent with claims, and by key the reason why a claim does not count."""

    intent: Intent
    refused: Mapping[str, str]


def overlaid(intent: Intent, claims: Claims, before: Intent | None = None) -> Overlaid:
    """The intent with what was claimed and borrowed. Equal allocations of the intent `before` are the same objects."""
    refused: dict[str, str] = {}
    blocks = dict(_accepted(intent, claims.blocks, refused))
    loans = dict(_lent(intent, blocks, claims.loans, refused))
    own, lent = _by_node(blocks.values()), _by_node(loans.values())
    given = {}
    for name in own.keys() | lent.keys():
        was = intent.allocations.of(name)
        given[name] = replace(
            was,
            blocks=tuple(sorted({*was.blocks, *(claim.block for claim in own.get(name, ()))})),
            borrowed=tuple(sorted({*was.borrowed, *(loan.prefix for loan in lent.get(name, ()))})),
            home=tuple(sorted(claim.block for claim in own.get(name, ()) if claim.home)),
        )
    found = with_edits(intent, {}, given)
    if before:
        allocations: Allocations = sharing_allocations(found.allocations, before.allocations)
        found = replace(found, allocations=allocations)
    return Overlaid(found, refused)


def _by_node(items: Iterable[T]) -> Mapping[str, list[T]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(item.node, []).append(item)
    return found


def _accepted(intent: Intent, claims: Mapping[str, Claim], refused: dict[str, str]) -> Iterator[tuple[str, Claim]]:
    declared = {block: node.name for node in intent.nodes for block in intent.blocks_of(node)}
    theirs, earlier = _Taken(declared), _Taken(())
    for key, claim in sorted(claims.items(), key=lambda item: (item[1].since, item[1])):
        reason = _objection(intent, claim)
        if reason is None and not earlier.leaves(claim.block):
            reason = "it overlaps a block that was claimed before"
        if reason is None and not theirs.leaves(claim.block) and declared.get(claim.block) != claim.node:
            reason = "it overlaps a block that the cluster file gives to a node"
        if reason:
            refused[key] = f"block {claim.block} of node {claim.node} is not used: {reason}"
        else:
            earlier.take(claim.block)
            yield key, claim


def _objection(intent: Intent, claim: Claim) -> str | None:
    """Why a claim does not count by itself."""
    node = intent.node(claim.node)
    if node is None:
        return f"{claim.node} is no node of the cluster"
    if not _has_size(claim.block):
        return f"a block is a /{LARGEST[claim.block.version]} at most"
    if not node.underlay(claim.block.version):
        return f"the node has no IPv{claim.block.version} address by which it could be reached"
    pool = intent.pool_of(claim.block)
    if pool is None:
        return "it is in no pool"
    return f"pool {pool.name} is for services" if Use.LOAD_BALANCER in pool.allowed_uses else None


def _lent(
    intent: Intent, blocks: Mapping[str, Claim], loans: Mapping[str, Loan], refused: dict[str, str]
) -> Iterator[tuple[str, Loan]]:
    holders = LongestMatch((claim.block, claim.node) for claim in blocks.values())
    for key, loan in sorted(loans.items()):
        holder = holders.covering(loan.prefix)
        if intent.node(loan.node) is None:
            reason = f"{loan.node} is no node of the cluster"
        elif holder is None:
            reason = "it is in no block that a node has claimed"
        elif holder == loan.node:
            reason = "the block is the node's own"
        elif intent.is_strict:
            reason = "strictAffinity forbids it"
        else:
            yield key, loan
            continue
        refused[key] = f"{loan.prefix.first}, borrowed by node {loan.node}, is not used: {reason}"
