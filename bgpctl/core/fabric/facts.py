"""
What this node's own kernel tells about the underlay: where the node's address lives, how another is reached.

Refuses to know: pools, blocks, BGP. Reads only objects that are not ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.objects import MAIN_TABLE, PROTOCOL, Dataplane, Route, RouteType

_LOOPBACK: Final = "lo"
"""The kernel's name for it in every network namespace."""


@dataclass(frozen=True, slots=True)
class Underlay:
    """An address of this node, the link that carries it, its MTU in bytes, and its other addresses of the version."""

    address: InterfaceAddress
    link: str
    mtu_bytes: int
    also: tuple[Address, ...] = ()

    @property
    def version(self) -> int:
        return self.address.address.version


@dataclass(frozen=True, slots=True)
class ResolvedNextHop:
    """How a packet to an underlay address leaves: on `link`, to `gateway`."""

    link: str
    gateway: Address


def underlay_of(dataplane: Dataplane, own: InterfaceAddress) -> Underlay | None:
    """
    Where an address of this node is; None while no link that is up carries it. An address on the loopback device, as
    nodes with several uplinks have it, stands for the link of the default route.
    """
    carriers: set[str | None] = {item.link for item in dataplane.addresses if item.address.address == own.address}
    if carriers == {_LOOPBACK}:
        carriers = {_default_link(dataplane, own.address.version)}
    links = [link for link in dataplane.links if link.name in carriers and link.up and not link.owned]
    best = min(links, key=lambda link: link.name, default=None)
    if best is None:
        return None
    others = {item.address.address for item in dataplane.addresses if item.link == best.name} - {own.address}
    also = sorted(other for other in others if other.version == own.address.version)
    return Underlay(own, best.name, best.mtu_bytes, tuple(also))


def _default_link(dataplane: Dataplane, version: int) -> str | None:
    return _Table(dataplane).link_to(Address(version, 0))


def outer_mtu_bytes(dataplane: Dataplane, underlay: Underlay, remotes: Iterable[Address]) -> int:
    """
    The smallest MTU of the links by which encapsulated packets leave for `remotes`: not all leave by the underlay
    link that has the node's address.
    """
    mtus = {link.name: link.mtu_bytes for link in dataplane.links}
    table = _Table(dataplane)
    far = (remote for remote in remotes if not underlay.address.network.holds(remote))
    links = {table.link_to(remote) for remote in far}
    return min(mtus[link] for link in {underlay.link, *links} if link in mtus)


class _Table:
    """The main table without our routes, for many look-ups: one dictionary per prefix length."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._by_length: dict[tuple[int, int], dict[int, Route]] = {}
        self._hops = {hop.id: hop.link for hop in dataplane.next_hops}
        for route in dataplane.routes:
            if _leads(route):
                known = self._by_length.setdefault((route.prefix.version, route.prefix.length), {})
                known[route.prefix.network] = min(known.get(route.prefix.network, route), route, key=_metric)
        self._lengths = sorted(self._by_length, reverse=True)

    def link_to(self, remote: Address) -> str | None:
        """The link of the longest match, the lowest metric first; None if nothing leads there."""
        for version, length in self._lengths:
            if version == remote.version:
                network = InterfaceAddress(remote, length).network.network
                route = self._by_length[version, length].get(network)
                if route:
                    return self._hops.get(route.next_hop, route.link)
        return None


def _metric(route: Route) -> int:
    return route.metric


def resolve(dataplane: Dataplane, remote: Address) -> ResolvedNextHop | None:
    """The longest match for `remote` among the main table's routes that are not ours, the lowest metric first."""
    matches = [route for route in dataplane.routes if _leads(route) and route.prefix.holds(remote)]
    best = max(matches, key=lambda route: (route.prefix.length, -route.metric), default=None)
    # Others use next-hop objects too: FRR does for every route.
    hop = next((hop for hop in dataplane.next_hops if best and hop.id == best.next_hop), None)
    link, gateway = (hop.link, hop.gateway) if hop else (best.link, best.gateway) if best else (None, None)
    return ResolvedNextHop(link, gateway or remote) if link else None


def _leads(route: Route) -> bool:
    unicast = route.type is RouteType.UNICAST and route.table == MAIN_TABLE
    return unicast and route.protocol != PROTOCOL
