"""
The addresses that a node may give to its workloads by the cluster file: those of its own blocks, but for some.

Tunnel ends are derived: the first address of a node's first block in a pool with an encapsulation (tunnel_addresses.py
in cluster/). An edit of the cluster file can give a pool an encapsulation, or make another block the first one, and a
workload cannot be renumbered. So the first address of every block that tunnels may use is kept. All others are given,
the last one too, as Calico does on Linux: each is a host prefix. A block of one address is for a workload.

Refuses to know: which addresses are in use.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bgpctl.core.cluster.configuration import Node, Pool, Use
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.cluster.tunnel_addresses import selects
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch


class Rule(enum.Enum):
    """The rule by which no address is given, or a workload is not added."""

    ADDRESS_IN_USE = "address-in-use"
    ADDRESS_KEPT = "address-kept"
    COOLING_DOWN = "cooling-down"
    FULL = "full"
    MOST_BLOCKS = "most-blocks"
    NAME_TAKEN = "name-taken"
    NO_BLOCK = "no-block"
    OTHER_NODE = "other-node"
    OUTSIDE_BLOCKS = "outside-blocks"
    POOL_NOT_KNOWN = "pool-not-known"
    POOL_NOT_USABLE = "pool-not-usable"
    SAME_VERSION = "same-version"
    STORE_AWAY = "store-away"


class NotGiven(Exception):
    """No address can be given; the text is for the operator. `pool`: that has none; `address`: that was asked for."""

    def __init__(self, rule: Rule, text: str, pool: str = "", address: Address | None = None) -> None:
        super().__init__(text)
        self.rule = rule
        self.pool = pool
        self.address = address


class Range(NamedTuple):
    """The prefixes of a pool, by its name, from which a node gives addresses."""

    pool: str
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class NodeBlocks:
    """The blocks of one node, as its workloads may use them."""

    intent: Intent
    node: Node
    kept: LongestMatch[str]

    @classmethod
    def of(cls, intent: Intent, node: Node) -> NodeBlocks:
        """Of a node of the cluster."""
        return cls(intent, node, LongestMatch(_kept(intent, node)))

    @property
    def blocks(self) -> tuple[Prefix, ...]:
        """All of them, sorted."""
        return self.intent.blocks_of(self.node)

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """The blocks, and the addresses that were borrowed for workloads of the node."""
        return (*self.blocks, *self.intent.allocations.of(self.node.name).borrowed)

    def pool(self, name: str) -> Pool:
        """The pool, if workloads of this node may have its addresses. Raises NotGiven."""
        pool = next((found for found in self.intent.pools if found.name == name), None)
        if pool is None:
            known = ", ".join(found.name for found in self.intent.pools) or "none"
            raise NotGiven(Rule.POOL_NOT_KNOWN, f"the cluster file has no pool {name}; it has: {known}")
        if found := self._obstacle(pool):
            raise NotGiven(Rule.POOL_NOT_USABLE, f"pool {name} {found}")
        return pool

    def in_pool(self, pool: Pool) -> tuple[Prefix, ...]:
        """The node's blocks of the pool. Raises NotGiven without any."""
        found = tuple(block for block in self.blocks if pool.cidr.covers(block))
        if not found:
            text = f"node {self.node.name} has no block of pool {pool.name}; add one to its blocks in the cluster file"
            raise NotGiven(Rule.NO_BLOCK, text, pool.name)
        return found

    def range(self, pool: Pool, within: Prefix | None = None) -> Range:
        """The node's blocks of the pool, or their parts within a prefix. Raises NotGiven without any."""
        blocks = self.in_pool(pool)
        if within is None:
            return Range(pool.name, blocks)
        found = tuple(within if block.covers(within) else block for block in blocks if block.overlaps(within))
        if not found:
            own = ", ".join(map(str, blocks))
            text = f"node {self.node.name} has no block of pool {pool.name} in {within}; it has: {own}"
            raise NotGiven(Rule.NO_BLOCK, text, pool.name)
        return Range(pool.name, found)

    def check(self, address: Address) -> None:
        """Check that a workload of this node may have the address. Raises NotGiven."""
        if not any(prefix.holds(address) for prefix in self.prefixes):
            raise NotGiven(Rule.OUTSIDE_BLOCKS, self._outside(address), address=address)
        if why := self.kept.holding(address):
            raise NotGiven(Rule.ADDRESS_KEPT, f"{address} is {why}")

    def pool_of(self, address: Address) -> Pool:
        """The pool of an address that a workload of this node may be given now. Raises NotGiven."""
        self.check(address)
        pool = self.intent.pool_of(address.host_prefix)
        if pool is None:
            raise NotGiven(Rule.OUTSIDE_BLOCKS, f"{address} is in no pool")
        return self.pool(pool.name)

    def may_choose(self, address: Address) -> bool:
        """True if a workload may get the address without a request for it."""
        reserved = any(prefix.holds(address) for prefix in self.intent.reserved)
        return not reserved and self.kept.holding(address) is None

    def _obstacle(self, pool: Pool) -> str:
        if pool.disabled:
            return "is disabled: it gives no new addresses"
        if Use.WORKLOAD not in pool.allowed_uses:
            return "is not for workloads (allowedUses)"
        return "" if selects(pool, self.node) else f"is not for node {self.node.name} (nodeSelector)"

    def _outside(self, address: Address) -> str:
        owner = BlockOwnership(self.intent, self.node).owner(address.host_prefix)
        if owner:
            return f"{address} is in a block of node {owner.name}"
        return f"{address} is in no block of node {self.node.name}: {', '.join(map(str, self.blocks)) or 'it has none'}"


def _kept(intent: Intent, node: Node) -> Iterator[tuple[Prefix, str]]:
    """Addresses that no workload may have, with the reason."""
    for address in intent.tunnel_addresses(node):
        yield address.host_prefix, "the tunnel address of this node"
    blocks = intent.blocks_of(node)
    for other in intent.nodes:
        yield from ((own.host_prefix, f"the address of node {other.name}") for own in other.addresses)
        if other is not node:
            lent = (prefix for prefix in intent.borrowed_by(other) if any(block.covers(prefix) for block in blocks))
            yield from ((prefix, f"borrowed by node {other.name}") for prefix in lent)
    yield from ((peer.address.host_prefix, f"BGP peer {peer.name}") for peer in intent.peers if peer.address)
    for block in blocks:
        pool = intent.pool_of(block)
        if pool and Use.TUNNEL in pool.allowed_uses and block.size > 1:
            yield block.first.host_prefix, f"the first address of block {block}, which is kept for this node's tunnel"
