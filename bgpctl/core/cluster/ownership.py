"""
The owner of each prefix, by the allocations: indexed, because it is asked for every path.

Refuses to know: the consequences for a path.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Node, Pool, Service
from bgpctl.core.cluster.intent import Intent, changed_nodes
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch

_FEW: Final = 64
"""Of more changed nodes everything is asked again, which costs less then."""


class BlockOwnership:
    """The cluster file seen from `node`. `own`: its blocks and the addresses it has from others' blocks, sorted."""

    def __init__(self, intent: Intent, node: Node) -> None:
        self.intent = intent
        self.node = node
        self.own = tuple(sorted({*intent.prefixes_of(node)}))
        self._here = frozenset(node.addresses)
        self._pools = LongestMatch((pool.cidr, pool) for pool in intent.pools)
        self._owners = LongestMatch((prefix, n) for n in intent.nodes for prefix in intent.prefixes_of(n))
        self._own_blocks = intent.blocks_of(node)
        self._blocks = _by_version(block.first for block in self._own_blocks)
        self._allotted = frozenset(pool.cidr for pool in intent.pools if _has_blocks_of_others(intent, pool, node))
        self._members = frozenset(address for n in intent.nodes for address in n.addresses)
        self._nodes = _by_version(address for n in intent.nodes for address in n.addresses)
        networks = (own.network for n in intent.nodes for own in (n.address, n.address6) if own)
        self._services = {service.prefix: service for service in intent.services}
        self._underlays = LongestMatch((network, network) for network in networks)

    def pool(self, prefix: Prefix) -> Pool | None:
        """The pool that contains the whole of `prefix`."""
        return self._pools.covering(prefix)

    def owner(self, prefix: Prefix) -> Node | None:
        """The node whose block or borrowed address `prefix` is, or lies in."""
        return self._owners.covering(prefix)

    def service(self, prefix: Prefix) -> Service | None:
        """The service whose address this is."""
        return self._services.get(prefix)

    def instances(self, service: Service) -> tuple[Node, ...]:
        """The nodes that may announce the service's address."""
        nodes = (self.intent.node(name) for name in service.nodes)
        return tuple(node for node in nodes if node and self.intent.has_instance(service, node))

    def is_nobodys(self, prefix: Prefix) -> bool:
        """True if it lies in a pool in which blocks of other nodes are known, and no node has it, or all of it."""
        pool = self.pool(prefix)
        return pool is not None and pool.cidr in self._allotted and self.owner(prefix) is None

    def on_underlay(self, prefix: Prefix) -> bool:
        """True if `prefix` lies in the network of a node."""
        return self._underlays.covering(prefix) is not None

    def covers_node(self, prefix: Prefix) -> bool:
        """True if the address of a node lies in `prefix`."""
        return _any_inside(self._nodes[prefix.version], prefix)

    def covers_own_block(self, prefix: Prefix) -> bool:
        """True if a block of this node lies in `prefix`, or is it. An address that it borrowed may."""
        near = _any_inside(self._blocks[prefix.version], prefix)
        return near and any(prefix.covers(block) for block in self._own_blocks)

    def is_member(self, address: Address) -> bool:
        """True if it is a node's on the underlay."""
        return address in self._members

    def is_own(self, address: Address) -> bool:
        """True if it is one of this node's own on the underlay."""
        return address in self._here

    def changed_since(self, before: BlockOwnership) -> frozenset[Prefix] | None:
        """
        Where the cluster file was edited: for every prefix that overlaps none of these, all answers are those of
        `before`; for addresses `members_since` has the difference. None if that is not known, as after an edit of this
        node's own record or of more than nodes.
        """
        names = changed_nodes(self.intent, before.intent)
        if names is None or len(names) > _FEW or self.node != before.node:
            return None
        marks = (prefix for name in names for at in (self, before) for prefix in _marks(at.intent, name))
        return frozenset(marks) | (self._allotted ^ before._allotted)

    def members_since(self, before: BlockOwnership) -> frozenset[Address]:
        """The addresses of which `is_member` has another answer than that of `before`."""
        return self._members ^ before._members

    @property
    def capacity(self) -> int:
        """The number of blocks that fit into the pools."""
        bits = {4: 32, 6: 128}
        pools = self.intent.pools
        return sum(pool.cidr.size >> max(0, bits[pool.cidr.version] - pool.block_size) for pool in pools)


def _marks(intent: Intent, name: str) -> Iterator[Prefix]:
    """Prefixes by which a node is known: those that lead to it, its addresses, and the networks that these are in."""
    node = intent.node(name)
    if node:
        yield from intent.prefixes_of(node)
        for own in (node.address, node.address6):
            if own:
                yield own.network


def _has_blocks_of_others(intent: Intent, pool: Pool, node: Node) -> bool:
    """True if a block of another node is known. A file may have this node's blocks alone: BGP brings the others'."""
    others = (other for other in intent.nodes if other.name != node.name)
    return any(pool.cidr.covers(block) for other in others for block in intent.blocks_of(other))


def _by_version(found: Iterable[Address]) -> dict[int, list[int]]:
    values: dict[int, list[int]] = {4: [], 6: []}
    for version, value in sorted(found):
        values[version].append(value)
    return values


def _any_inside(values: list[int], prefix: Prefix) -> bool:
    place = bisect_left(values, prefix.network)
    return place < len(values) and values[place] < prefix.network + prefix.size
