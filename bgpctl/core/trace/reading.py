"""
A kernel's answers about routes: which one a packet takes, by which next hops, and which source address goes with it.

Refuses to know: filters, sizes, other kernels; path MTUs and redirects that a kernel has learned.
"""

from __future__ import annotations

from functools import partial

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.fib import Fib, Lookup, ResolvedNextHop
from bgpctl.core.net.objects import PROTOCOL, Link, Route, RouteType
from bgpctl.core.trace.selectors import Lookedup, selects
from bgpctl.core.trace.snapshot import OwnAddress, RouteDetails, Snapshot

_NO_DETAILS = RouteDetails()


class Kernel:
    """A snapshot with an index of its routes; `name` is the node's."""

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        self.name = name
        self.snapshot = snapshot
        self.links = {link.name: link for link in snapshot.dataplane.links}
        self.fib = Fib(snapshot.dataplane, local=snapshot.local)
        self._hops = {hop.id: hop for hop in snapshot.dataplane.next_hops}
        self._groups = {group.id: group for group in snapshot.dataplane.groups}

    def lookup(self, flow: Lookedup) -> Lookup:
        """The route for a packet."""
        return self.fib.lookup(flow.packet.destination, partial(selects, flow=flow))

    def link(self, name: str) -> Link | None:
        return self.links.get(name)

    def details(self, route: Route) -> RouteDetails:
        return self.snapshot.details.get(route, _NO_DETAILS)

    def next_hops(self, route: Route, destination: Address) -> tuple[ResolvedNextHop, ...]:
        """All that a flow may have; none if the route names objects that are not there."""
        if route.next_hop:
            group = self._groups.get(route.next_hop)
            numbers = group.members if group else (route.next_hop,)
            found = [self._hops[number] for number in numbers if number in self._hops]
            return tuple(ResolvedNextHop(hop.link, hop.gateway or destination) for hop in found)
        hops = self.details(route).hops or ((route.link, route.gateway),)
        return tuple(ResolvedNextHop(link, gateway or destination) for link, gateway in hops if link)

    def ours_behind(self, route: Route, destination: Address) -> Route | None:
        """The route of ours that would be used if `route`, a foreign one, were not there."""
        if route.protocol == PROTOCOL:
            return None
        found = self.fib.matches(route.table, destination)
        return next((other for other in found if _is_leading(other)), None)

    def source(self, link: str, next_hop: Address, route: Route | None = None) -> Address | None:
        """
        The IPv4 source address of a packet that is made here (fib_result_prefsrc, inet_select_addr): the route's, else
        the link's first one in the next hop's network, else its first one, else the first of another link.
        """
        given = self.details(route).source if route else None
        if given:
            return given
        primary = [item for item in self.snapshot.addresses if _is_usable(item)]
        mine = [item.address for item in primary if item.link == link]
        near = [own.address for own in mine if own.network.holds(next_hop)]
        others = [item.address.address for item in primary if item.link != link and item.scope == 0]
        return next(iter([*near, *(own.address for own in mine), *others]), None)


def _is_usable(item: OwnAddress) -> bool:
    return item.address.address.version == 4 and not item.secondary


def _is_leading(route: Route) -> bool:
    return route.protocol == PROTOCOL and route.type is RouteType.UNICAST
