"""
The kernels that the files alone would make, through which packets are followed (core/trace).

A node has one link with its address, a default route, and what the agent puts beside them. A block is routed if BGP
brings it, by the policies and sessions of the files.

Refuses to know: workloads, routers, what is in any kernel now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeAlias

from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Key, Route, RouteType
from bgpctl.core.simulate.preview import Members, assumed_kernel, converged, converged_of, desired
from bgpctl.core.simulate.services import with_instance
from bgpctl.core.trace.announced import Obstacle, Owners, missing, owner_of
from bgpctl.core.trace.journey import Network
from bgpctl.core.trace.snapshot import Snapshot, declared
from bgpctl.core.trace.verify import Block, Obstacles

Announced: TypeAlias = Callable[[str, Address], Obstacle | None]
"""By a node's name and a destination: what keeps the route away from the node."""


def network(
    intent: Intent,
    ends: Iterable[Address],
    live: Mapping[str, Snapshot],
    missing_nodes: Iterable[str] = (),
    announced: Announced | None = None,
) -> Network:
    """
    The nodes at which these addresses are, all of a service's, as the files would have them; those of `live` as they
    are.

    Args:
        intent: of the files.
        ends: source and destination.
        live: kernels that were read, by node.
        missing_nodes: that were to be asked and did not answer: nothing is taken for them.
        announced: what keeps routes away, if another intent than `intent` decides that.
    """
    ends, away = tuple(ends), frozenset(missing_nodes)
    announced = announced or partial(obstacle, intent)
    addresses = {address: node.name for node in intent.nodes for address in node.addresses}
    owners = [owner for end in ends if (owner := node_at(intent, end))]
    instances = [node for end in ends for node in with_instance(intent, end)]
    concerned = {node.name for node in (*owners, *instances)} - live.keys() - away
    snapshots: dict[str, Snapshot | None] = {**dict.fromkeys(away), **live}
    reasons: dict[str, Mapping[Key, Reason]] = {}
    for node in intent.nodes:
        if node.name in concerned:
            kernel = _with_borrowed(intent, node, converged(intent, node, assumed_kernel(node)))
            snapshots[node.name] = declared(_without_missing(intent, node, kernel, ends, announced))
            reasons[node.name] = desired(intent, node, kernel).reasons
        elif node.name in live:
            reasons[node.name] = desired(intent, node, live[node.name].dataplane).reasons
    return Network(snapshots, addresses, reasons)


def everything(intent: Intent) -> tuple[Network, tuple[Block, ...], Obstacles]:
    """All nodes as the files would have them, every block that has workloads, and what keeps routes away."""
    addresses = {address: node.name for node in intent.nodes for address in node.addresses}
    prefixes = [prefix for node in intent.nodes for prefix in intent.prefixes_of(node)]
    snapshots: dict[str, Snapshot | None] = {}
    blocks: list[Block] = []
    obstacles: dict[tuple[str, Prefix], Obstacle] = {}
    policies: dict[str, Policy] = {}
    members, owners = Members(intent), Owners(intent)
    for node in intent.nodes:
        kept = {prefix: found for prefix in prefixes if (found := missing(intent, node, prefix, policies, owners.of))}
        obstacles.update({(node.name, prefix): found for prefix, found in kept.items()})
        kernel = converged_of(members, node, assumed_kernel(node)).drop(map(Route, kept))
        snapshots[node.name] = declared(kernel)
        full_bytes = min(link.mtu_bytes for link in kernel.links)
        blocks += blocks_of(intent, node, full_bytes, owners)
    return Network(snapshots, addresses), tuple(blocks), obstacles


def blocks_of(intent: Intent, node: Node, full_bytes: int, owners: Owners | None = None) -> Iterable[Block]:
    """
    Each with the first address that a workload can have; none where tunnels and other nodes have them all. Not borrowed
    addresses: to these the route of their workload leads, which is not in the files.
    """
    at = owners.at if owners else partial(node_at, intent)
    for prefix in intent.blocks_of(node):
        pool = intent.pool_of(prefix)
        addresses = (prefix.nth(index) for index in range(prefix.size))
        tunnels = frozenset(intent.tunnel_addresses(node))
        free = (item for item in addresses if item not in tunnels and at(item) == node)
        address = next(free, None)
        if pool and address:
            yield Block(node.name, prefix, address, full_bytes, pool.name)


def node_at(intent: Intent, address: Address) -> Node | None:
    """The node whose address it is, or whose block it is in; None if it is outside."""
    named = next((node for node in intent.nodes if address in _own(intent, node)), None)
    return named or owner_of(intent, address.host_prefix)


def obstacle(
    intent: Intent,
    name: str,
    destination: Address,
    announcing: Intent | None = None,
    policies: dict[str, Policy] | None = None,
) -> Obstacle | None:
    """
    The obstacle between the node and a route to the destination, by the files; None for one outside all pools.

    `announcing`: the nodes among which paths spread, of which `intent` is a part; `policies`: theirs, filled as they
    are needed.
    """
    node = intent.node(name)
    if node is None or intent.pool_of(destination.host_prefix) is None:
        return None
    return missing(announcing or intent, node, _announced(intent, destination), policies, partial(owner_of, intent))


def _own(intent: Intent, node: Node) -> tuple[Address, ...]:
    return (*node.addresses, *intent.tunnel_addresses(node))


def _announced(intent: Intent, destination: Address) -> Prefix:
    """The block or borrowed address by which the destination is announced."""
    wanted = destination.host_prefix
    found = [own for node in intent.nodes for own in intent.prefixes_of(node) if own.covers(wanted)]
    return max(found, key=lambda prefix: prefix.length, default=wanted)


def _with_borrowed(intent: Intent, node: Node, kernel: Dataplane) -> Dataplane:
    """
    With a route to each borrowed address, and to each service of a workload, that stands for the workload's, as that to
    a block does for all of them.
    """
    services = (item.prefix for item in intent.services_of(node) if item.workloads)
    return kernel.put(Route(prefix, RouteType.BLACKHOLE) for prefix in (*intent.borrowed_by(node), *services))


def _without_missing(
    intent: Intent, node: Node, kernel: Dataplane, ends: Iterable[Address], announced: Announced
) -> Dataplane:
    """Without the routes to blocks that BGP would not bring: `converged` takes all as announced."""
    gone = [_announced(intent, end) for end in ends if announced(node.name, end)]
    return kernel.drop(map(Route, gone))
