"""
What the join service gives a new node, and takes back from one that is gone: the one place that claims for others.

A node gets its first block in the transaction that makes it a member, so that it has one or is none. Later blocks are
claimed by the node itself.

Refuses to know: how the transaction is written (registry.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.core.cluster.configuration import Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Prefix
from bgpctl.join.refused import JoinRefused

_BITS = {4: 32, 6: 128}


def first_block(intent: Intent, block: str | None, pool: str | None) -> tuple[Prefix, ...]:
    """
    The block of a new node: `block`, or the first free one of `pool`, or of the first pool that gives nodes blocks. A
    cluster without such a pool gives none. Raises JoinRefused: it overlaps another node's, or there is none.
    """
    if block is not None:
        return (_given(intent, block),)
    pools = [item for item in intent.pools if pool in (None, item.name) and not item.disabled]
    if pool is not None and not pools:
        raise JoinRefused(f"pool {pool} is none of this cluster's: {', '.join(p.name for p in intent.pools) or 'none'}")
    if not pools:
        return ()
    return (_free(intent, pools[0]),)


def _given(intent: Intent, text: str) -> Prefix:
    try:
        wanted = Prefix.parse(text)
    except ValueError as error:
        raise JoinRefused(f"--block: {error}") from error
    for node, block in _taken(intent):
        if block.overlaps(wanted):
            raise JoinRefused(f"block {wanted} overlaps {block}, which node {node} has; choose another one")
    return wanted


def _free(intent: Intent, pool: Pool) -> Prefix:
    taken = [block for _, block in _taken(intent)]
    for network in range(
        pool.cidr.network, pool.cidr.network + pool.cidr.size, 1 << _BITS[pool.cidr.version] - pool.block_size
    ):
        candidate = Prefix(pool.cidr.version, network, pool.block_size)
        if not any(block.overlaps(candidate) for block in taken):
            return candidate
    raise JoinRefused(f"pool {pool.name} ({pool.cidr}) has no free block; add a pool, or remove nodes that are gone")


def _taken(intent: Intent) -> Iterator[tuple[str, Prefix]]:
    for name, given in intent.allocations.by_node.items():
        for block in given.blocks:
            yield name, block
