"""
What this node's own kernel tells about the underlay: where the node's address lives, how another is reached.

Refuses to know: pools, blocks, BGP. Reads only objects that are not ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpctl.core.cluster import Node
from bgpctl.core.model import MAIN_TABLE, PROTOCOL, Address, Dataplane, Route, RouteType


@dataclass(frozen=True, slots=True)
class Underlay:
    """The link that carries this node's address, and its MTU in bytes."""

    link: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True)
class Way:
    """How a packet to an underlay address leaves: on `link`, to `gateway`."""

    link: str
    gateway: Address


def underlay_of(dataplane: Dataplane, node: Node) -> Underlay | None:
    """Where the node's address is; None while no link that is up carries it."""
    carriers = {item.link for item in dataplane.addresses if item.address.address == node.address.address}
    links = [link for link in dataplane.links if link.name in carriers and link.up and not link.owned]
    best = min(links, key=lambda link: link.name, default=None)
    return Underlay(best.name, best.mtu_bytes) if best else None


def way_to(dataplane: Dataplane, remote: Address) -> Way | None:
    """The longest match for `remote` among the main table's routes that are not ours, the lowest metric first."""
    matches = [route for route in dataplane.routes if _leads(route) and route.prefix.holds(remote)]
    best = max(matches, key=lambda route: (route.prefix.length, -route.metric), default=None)
    # Others use next-hop objects too: FRR does for every route.
    hop = next((hop for hop in dataplane.next_hops if best and hop.id == best.next_hop), None)
    link, gateway = (hop.link, hop.gateway) if hop else (best.link, best.gateway) if best else (None, None)
    return Way(link, gateway or remote) if link else None


def _leads(route: Route) -> bool:
    unicast = route.type is RouteType.UNICAST and route.table == MAIN_TABLE
    return unicast and route.protocol != PROTOCOL
