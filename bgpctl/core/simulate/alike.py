"""
Nodes that are alike: a change of the cluster file has the same effects on each.

The plan of each of 1,000 nodes deals with 999 others, so all plans together are a million parts: too much to compute
and too much to read. But a plan depends on little. The node's own part are its tunnels and pools, and how much of each
pool it has. Of another member it matters what that member has, and if it is in the node's network, before the change
and after it; nothing else about the pair does. So two nodes are planned alike, but for names and addresses, if they
have the same themselves, and have as many neighbours of each kind in their networks, which may be two. A node that is
changed itself, or that has lent or borrowed an address, is of a kind of its own; so is a network that overlaps another.

Ids of next hops are hashes, and where two of a thousand collide, one moves up (fabric/desired.py): an id may differ
between nodes that are alike.

Refuses to know: the operations of a plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.tunnel_addresses import every_tunnel, selects
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.longest_match import LongestMatch


def groups(before: Intent, wanted: Intent) -> tuple[tuple[Node, ...], ...]:
    """The nodes of `wanted`, those that are alike together: groups and nodes in the order of the nodes."""
    of = kinds(before, wanted)
    found: dict[Hashable, list[Node]] = {}
    for node in wanted.nodes:
        found.setdefault(of[node.name], []).append(node)
    return tuple(map(tuple, found.values()))


def kinds(before: Intent, wanted: Intent) -> Mapping[str, Hashable]:
    """The kind of each node of either intent: equal for those that are alike."""
    of_each, places = _kinds(before, wanted), _places(before, wanted)
    numbers: dict[_Place, Counter[Hashable]] = {}
    for name, kind in of_each.items():
        for place in places[name]:
            numbers.setdefault(place, Counter())[kind] += 1
    apart = _overlapping(before) | _overlapping(wanted)
    company = {
        place: place if apart.intersection(place.networks) else frozenset(count.items())
        for place, count in numbers.items()
    }
    return {name: (kind, *map(company.__getitem__, places[name])) for name, kind in of_each.items()}


def _kinds(before: Intent, wanted: Intent) -> Mapping[str, Hashable]:
    """The traits of each node of either intent: all but its own name, addresses and networks."""
    earlier, later = _traits_of_each(before), _traits_of_each(wanted)
    names = dict.fromkeys((*earlier, *later))
    return {name: (earlier.get(name), later.get(name), *_changes(before, wanted, name)) for name in names}


class _Place(NamedTuple):
    """The networks that a node is in, before the change, after it, or both."""

    when: str
    networks: tuple[Prefix, ...]


def _places(before: Intent, wanted: Intent) -> Mapping[str, tuple[_Place, ...]]:
    earlier, later = ({node.name: _networks(node) for node in intent.nodes} for intent in (before, wanted))
    return {
        name: (
            _Place("before", earlier.get(name, ())),
            _Place("after", later.get(name, ())),
            _Place("both", (*earlier.get(name, ()), *later.get(name, ()))),
        )
        for name in (*earlier, *later)
    }


def _networks(node: Node) -> tuple[Prefix, ...]:
    return tuple(own.network for own in (node.address, node.address6) if own)


def _overlapping(intent: Intent) -> frozenset[Prefix]:
    """Networks that lie in another one or around it, or whose nodes differ in their other network."""
    sites = {_networks(node) for node in intent.nodes}
    networks = Counter(network for site in sites for network in site)
    around = LongestMatch((network, network) for network in networks)
    nested = (tuple(around.matches(network)) for network in networks)
    shared = (network for network, count in networks.items() if count > 1)
    return frozenset((*shared, *(network for found in nested if len(found) > 1 for network in found)))


def usual_gateway(own: InterfaceAddress) -> Address:
    """The last address but one of the network: where a default route is assumed to lead."""
    return Address(own.address.version, own.network.network + own.network.size - 2)


def _changes(before: Intent, wanted: Intent, name: str) -> Iterator[str]:
    """The name of a node that is changed itself: which other change is like it is not asked."""
    was, node = before.node(name), wanted.node(name)
    if was and node and (was.addresses, before.allocations.of(name)) != (node.addresses, wanted.allocations.of(name)):
        yield name


def _traits_of_each(intent: Intent) -> Mapping[str, Hashable]:
    lent = _lent(intent)
    return {node.name: _traits(intent, node, lent) for node in intent.nodes}


def _traits(intent: Intent, node: Node, lent: Mapping[str, tuple[Prefix, ...]]) -> Hashable:
    owns = [own for own in (node.address, node.address6) if own]
    given = intent.allocations.of(node.name)
    return (
        tuple((own.address.version, own.length, own.address == usual_gateway(own)) for own in owns),
        intent.asn_of(node),
        node.cluster_id,
        node.accepts,
        node.ttl_security,
        tuple(selects(pool, node) for pool in intent.pools),
        tuple((_pool_name(intent, block), block.length) for block in given.blocks),
        intent.borrowed_by(node),
        lent.get(node.name),
        tuple(_end(intent, node, address) for address in _ends(intent, node)),
        len(given.vtep_macs),
        tuple((service.name, intent.workload_of(service, node)) for service in intent.services_of(node)),
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
