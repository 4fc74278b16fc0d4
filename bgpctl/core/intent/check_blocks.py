"""
Rules of blocks and borrowed addresses: their owners, and that they fit their pool.

Refuses to know: how blocks are handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bgpctl.core.cluster.configuration import Pool, Use
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.cluster.tunnel_addresses import selects
from bgpctl.core.intent.breach import Breach, note, some
from bgpctl.core.intent.check_pools import use_rules
from bgpctl.core.intent.draft import BlockDraft, Draft, Stated
from bgpctl.core.net.addresses import Prefix

T = TypeVar("T")


def check_block_records(intent: Intent, draft: Draft) -> None:
    """Note every rule that a block or a borrowed address of `draft` breaks by itself."""
    for block in draft.blocks:
        note(draft, block, _block_rules(intent, draft, block.value))
    for borrowed in draft.borrowed:
        note(draft, borrowed, _borrowed_rules(intent, draft, borrowed.value))
    _limits(intent, draft)


def _block_rules(intent: Intent, draft: Draft, block: BlockDraft) -> Iterator[Breach]:
    yield from _owner_rules(draft, block)
    pool = intent.pool_of(block.prefix)
    if pool is None:
        yield from _outside(intent, draft, block.prefix)
        return
    if block.prefix.length != pool.block_size:
        hint = "; an address of another node's block stands under borrowed" if block.prefix.size == 1 else ""
        message = f"{block.prefix} is not a block of pool {pool.name}: its blockSize is {pool.block_size}{hint}"
        yield Breach("", message, "block-length")
    yield from _use_rules(intent, pool, block.prefix)
    yield from _pool_rules(intent, pool, block)


def _owner_rules(draft: Draft, block: BlockDraft) -> Iterator[Breach]:
    if not draft.declared("node", block.node) and draft.knows_all("node"):
        yield Breach("node", f"{block.prefix} belongs to node {block.node}, which is not given", "unknown-node")


def _outside(intent: Intent, draft: Draft, prefix: Prefix) -> Iterator[Breach]:
    if draft.knows_all("pool"):
        known = some([f"{pool.name} {pool.cidr}" for pool in intent.pools])
        yield Breach("", f"{prefix} is in no pool ({known})", "block-outside")


def _use_rules(intent: Intent, pool: Pool, prefix: Prefix) -> Iterator[Breach]:
    """The rules of use for a pool that is disabled: for others they are checked with the pool."""
    for _, message, rule, severity in use_rules(intent, pool) if pool.disabled else ():
        yield Breach("", f"{prefix} is of pool {pool.name}: {message}", rule, severity)


def _pool_rules(intent: Intent, pool: Pool, block: BlockDraft) -> Iterator[Breach]:
    node, version = intent.node(block.node), block.prefix.version
    if Use.LOAD_BALANCER in pool.allowed_uses:
        message = f"pool {pool.name} is for LoadBalancer: its addresses are those of services, of no node"
        yield Breach("", message, "load-balancer-block")
    if node and not node.underlay(version):
        message = f"node {node.name} has no IPv{version} address by which {block.prefix} could be reached"
        yield Breach("", message, "no-underlay")
    if node and not selects(pool, node):
        message = f"pool {pool.name} is for nodes with {pool.node_selector}, and {node.name} is none: Calico would give"
        yield Breach("", f"{message} it no more blocks", "not-selected", Severity.WARNING)


def _borrowed_rules(intent: Intent, draft: Draft, borrowed: BlockDraft) -> Iterator[Breach]:
    yield from _owner_rules(draft, borrowed)
    pool, node = intent.pool_of(borrowed.prefix), intent.node(borrowed.node)
    if pool is None:
        yield from _outside(intent, draft, borrowed.prefix)
    else:
        yield from _use_rules(intent, pool, borrowed.prefix)
    if pool and node and not node.underlay(borrowed.prefix.version):
        yield from _pool_rules(intent, pool, borrowed)
    own = next((block for block in intent.blocks_of(node) if block.covers(borrowed.prefix)), None) if node else None
    if own:
        yield Breach("", f"{borrowed.prefix} is in {own}, the node's own block: it is not borrowed", "borrowed-own")
    if draft.limits.strict_at:
        message = f"strictAffinity at {draft.limits.strict_at.place} forbids addresses of another node's block"
        yield Breach("", f"{borrowed.prefix}: {message}", "strict-affinity")


def check_block_owners(draft: Draft) -> None:
    """Note every block that another one contains, or that has two owners."""
    for outer, inner in nested(draft.blocks, lambda block: block.prefix):
        first, second = by_place(outer, inner)
        prefix, other = second.value.prefix, f"node {first.value.node} at {first.at.place}"
        is_same = (outer.value.node, outer.value.prefix) == (inner.value.node, inner.value.prefix)
        if is_same and outer.value.by != inner.value.by:
            # A block and the claim to it name the same node.
            continue
        if is_same:
            draft.wrong(second.at, f"{prefix} is already given at {first.at.place}", "duplicate")
        elif outer.value.prefix == inner.value.prefix:
            draft.wrong(second.at, f"{prefix} is already a block of {other}", "block-owners")
        elif inner.value.prefix.size > 1:
            # A host prefix here is of the wrong length anyway, which is reported already.
            draft.wrong(second.at, f"{prefix} overlaps block {first.value.prefix} of {other}", "block-overlap")


def nested(things: Iterable[Stated[T]], prefix_of: Callable[[T], Prefix]) -> Iterator[tuple[Stated[T], Stated[T]]]:
    """Each thing whose prefix lies inside another's, after the one right around it. Sorted prefixes nest or part."""
    around: list[Stated[T]] = []
    for thing in sorted(things, key=lambda stated: (prefix_of(stated.value), stated.at.place)):
        while around and not prefix_of(around[-1].value).covers(prefix_of(thing.value)):
            around.pop()
        if around:
            yield around[-1], thing
        around.append(thing)


def by_place(one: Stated[T], two: Stated[T]) -> tuple[Stated[T], Stated[T]]:
    """The one that stands first in the files, and the other."""
    return (one, two) if one.at.place <= two.at.place else (two, one)


def _limits(intent: Intent, draft: Draft) -> None:
    most, at = draft.limits.most_blocks, draft.limits.most_blocks_at
    if not most or not at:
        return
    for name, stated in draft.nodes.items():
        has = len(intent.blocks_of(stated.value))
        if has > most:
            message = f"node {name} has {has} blocks, and maxBlocksPerHost is {most}"
            draft.wrong(at, message, "too-many-blocks", Severity.WARNING)
