"""
Dumps of all routes, each decoded with the help of the last one: equal messages decode to equal routes, and of 100,000,
hardly any differs.

Refuses to know: sockets, and what has become of a route since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import filterfalse
from types import MappingProxyType
from typing import NamedTuple

from bgpctl.core.net.objects import Route, RouteType
from bgpctl.core.net.route_set import RouteSet
from bgpctl.kernel import decode, route_columns
from bgpctl.kernel.decode import Names
from bgpctl.kernel.mirror import RouteKey, key_of_route


class RouteDump(NamedTuple):
    """
    Attributes:
        names: of the links, by interface index.
        decoded: by the message body.
        routes: all that are understood.
        multipath: by the message body, the keys of IPv6 routes with several ways.
        alike: the keys of routes that differ in the kernel and are alike here.
        unnamed: the message bodies of routes through links that are not among the names.
    """

    names: Names
    decoded: Mapping[bytes, Route | None] = MappingProxyType({})
    routes: RouteSet = RouteSet()
    multipath: Mapping[bytes, RouteKey] = MappingProxyType({})
    alike: frozenset[RouteKey] = frozenset()
    unnamed: frozenset[bytes] = frozenset()

    @property
    def ambiguous(self) -> frozenset[RouteKey]:
        """The keys of routes about which a notification does not say everything."""
        return self.alike.union(self.multipath.values())

    def next(self, dumped: Sequence[bytes], names: Names) -> RouteDump:
        """The dump of these messages; the same object if they are those of this one."""
        if names != self.names:
            return RouteDump(names).next(dumped, names)
        new = route_columns.routes(list(filterfalse(self.decoded.__contains__, dumped)), names)
        if not new and len(dumped) == len(self.decoded):
            return self
        decoded = {body: self.decoded[body] for body in filterfalse(new.__contains__, dumped)} | new
        routes, alike = self._routes(decoded, new)
        # Not what nearly all are: an IPv4 route by next-hop object is neither.
        odd = [
            (body, route) for body, route in new.items() if route and not (route.next_hop and route.prefix.version == 4)
        ]
        multipath = {body: key_of_route(route) for body, route in odd if _has_several_ways(body)}
        multipath |= {body: key for body, key in self.multipath.items() if body in decoded}
        unnamed = {body for body, route in odd if _is_unnamed(route)}
        unnamed |= {body for body in self.unnamed if body in decoded}
        return RouteDump(names, decoded, routes, multipath, alike, frozenset(unnamed))

    def _routes(
        self, decoded: Mapping[bytes, Route | None], new: Mapping[bytes, Route | None]
    ) -> tuple[RouteSet, frozenset[RouteKey]]:
        """The routes, in shards shared with this dump, and the keys of those that are alike."""
        shown = [route for route in decoded.values() if route]
        taken_over = len(decoded) - len(new)
        if len(new) + len(self.decoded) - taken_over < len(decoded):
            gone = self.decoded.keys() - decoded.keys()
            went = [route for body in gone if (route := self.decoded[body])]
            routes = self.routes.changed(new=filter(None, new.values()), gone=went)
        else:
            routes = RouteSet.of(shown)
        if len(routes) == len(shown):
            return routes, frozenset()
        alike = frozenset(key_of_route(route) for route, number in Counter(shown).items() if number > 1)
        return RouteSet.of(shown).sharing(routes), alike


def _is_unnamed(route: Route) -> bool:
    return route.type is RouteType.UNICAST and not route.next_hop and route.link is None


def _has_several_ways(body: bytes) -> bool:
    return decode.is_ipv6(body) and decode.has_several_ways(body)
