"""
Workloads of a node whose addresses would be in none of its blocks: no other node would find them.

Refuses to know: who attached them.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.objects import MAIN_TABLE, PROTOCOL, Route, RouteType


def outside(before: Intent | None, wanted: Intent, node: Node, observed: Dataplane) -> tuple[Prefix, ...]:
    """Addresses and networks behind this node that are the node's by `before`, and not by `wanted`."""
    was = before.node(node.name) if before else None
    if before is None or was is None:
        return ()
    former, own = (
        LongestMatch((prefix, True) for prefix in found)
        for found in (before.prefixes_of(was), wanted.prefixes_of(node))
    )
    found = {prefix for prefix in _behind(observed) if former.covering(prefix) and not own.covering(prefix)}
    return tuple(sorted(found))


def _behind(observed: Dataplane) -> Iterator[Prefix]:
    """Workloads, by the routes that lead to their links, and addresses of this host's other links."""
    yield from (route.prefix for route in observed.routes if _is_local(route))
    tunnels = {link.name for link in observed.links if link.owned}
    yield from (item.address.address.host_prefix for item in observed.addresses if item.link not in tunnels)


def _is_local(route: Route) -> bool:
    """A route of another program that leads to a link here, and to no router."""
    is_foreign = route.protocol != PROTOCOL and route.table == MAIN_TABLE and route.type is RouteType.UNICAST
    return (
        is_foreign and route.link is not None and (route.gateway is None or route.gateway.host_prefix == route.prefix)
    )
