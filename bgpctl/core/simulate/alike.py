"""
Nodes that are alike: a change of the cluster file has the same effects on each.

The plan of each of 1,000 nodes deals with 999 others, so all plans together are a million parts: too much to compute
and too much to read. But a rack of nodes is planned alike: exchange two of them, and the cluster is the same but for
names and addresses. That holds for two nodes if everything that a plan depends on is equal, before the change and
after it: their networks, tunnels and pools, and how much of each pool they have. A node that is changed itself, or
that has lent or borrowed an address, is alike to no other.

Ids of next hops are hashes, and where two of a thousand collide, one moves up (fabric/desired.py): an id may differ
between nodes that are alike.

Refuses to know: the operations of a plan.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.tunnel_addresses import every_tunnel, selects
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.longest_match import LongestMatch


def groups(before: Intent, wanted: Intent) -> tuple[tuple[Node, ...], ...]:
    """The nodes of `wanted`, those that are alike together: groups and nodes in the order of the nodes."""
    found: dict[Hashable, list[Node]] = {}
    lent_before, lent = _lent(before), _lent(wanted)
    for node in wanted.nodes:
        was = before.node(node.name)
        earlier = _traits(before, was, lent_before) if was else None
        own = (earlier, _traits(wanted, node, lent), *_changes(before, was, wanted, node))
        found.setdefault(own, []).append(node)
    return tuple(map(tuple, found.values()))


def usual_gateway(own: InterfaceAddress) -> Address:
    """The last address but one of the network: where a default route is assumed to lead."""
    return Address(own.address.version, own.network.network + own.network.size - 2)


def _changes(before: Intent, was: Node | None, wanted: Intent, node: Node) -> Iterator[str]:
    """The name of a node that is changed itself: which other change is like it is not asked."""
    if was and (was.addresses != node.addresses or before.allocations.of(was.name) != wanted.allocations.of(node.name)):
        yield node.name


def _traits(intent: Intent, node: Node, lent: Mapping[str, tuple[Prefix, ...]]) -> Hashable:
    """Everything that a plan depends on, but for the node's own name and addresses."""
    owns = [own for own in (node.address, node.address6) if own]
    given = intent.allocations.of(node.name)
    return (
        tuple((own.network, own.address == usual_gateway(own)) for own in owns),
        intent.asn_of(node),
        node.cluster_id,
        node.accepts,
        tuple(selects(pool, node) for pool in intent.pools),
        tuple((_pool_name(intent, block), block.length) for block in given.blocks),
        intent.borrowed_by(node),
        lent.get(node.name),
        tuple(_end(intent, node, address) for address in _ends(intent, node)),
        len(given.vtep_macs),
    )


def _ends(intent: Intent, node: Node) -> Iterator[Address | None]:
    return (intent.tunnel_address(node, *tunnel) for tunnel in every_tunnel())


def _end(intent: Intent, node: Node, address: Address | None) -> Hashable:
    """The place of a tunnel's end: its pool, and which of the node's blocks it is in."""
    if address is None:
        return None
    blocks = intent.blocks_of(node)
    inside = next((index for index, block in enumerate(blocks) if block.holds(address)), None)
    return _pool_name(intent, address.host_prefix), inside


def _pool_name(intent: Intent, prefix: Prefix) -> str | None:
    pool = intent.pool_of(prefix)
    return pool.name if pool else None


def _lent(intent: Intent) -> Mapping[str, tuple[Prefix, ...]]:
    """The addresses in each node's blocks that another node has borrowed."""
    owners = LongestMatch((block, node.name) for node in intent.nodes for block in intent.blocks_of(node))
    found: dict[str, tuple[Prefix, ...]] = {}
    for node in intent.nodes:
        for host in intent.borrowed_by(node):
            owner = owners.covering(host)
            if owner:
                found[owner] = (*found.get(owner, ()), host)
    return found
