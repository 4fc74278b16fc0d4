"""
The FIB: the route that the kernel would use for a destination.

The kernel does not consult one table alone. It goes through its policy rules by ascending priority (fib_rules_lookup in
net/core/fib_rules.c). A rule that matches names a table; there the longest prefix wins, and of routes with one prefix
the lowest metric. A lookup goes on with the next rule when the table has no match, when its match is a `throw` route
(fib_props gives it EAGAIN), or when the rule suppresses what it found (`suppress_prefixlength`, which does not apply
to routes that are an error by themselves). A blackhole, unreachable or prohibit route ends the lookup, and a shorter
prefix behind it does not count. Without configured rules there are those of a fresh namespace: local, main, and for
IPv4 default (fib4_default_rules_init, fib6_rules_net_init).

The routes of the local table are not observed: the kernel makes them from addresses (fib_add_ifaddr), and so does this
file. IPv4 addresses stay local on a link that is down (fib_sync_down_dev spares their
routes), those of its network do not.

A rule may select packets by more than their destination: fwmark, iif, from, uidrange. A lookup here is about a packet
of which only the destination is known, unmarked: such a rule does not match it (inverted, it does). But the answer
depends on that, so `Lookup.conditional` has each such rule that was consulted. Who knows more of a packet
(core/trace) gives `selects`, which answers for the selectors; then only rules for which it has no answer are listed.

Some decisions of ours ask about foreign routes only, because a route of ours that resolved its own next hop would keep
itself up (RFC 4271, section 9.1.2.1). `foreign_fib` is for these. Several parts of one step ask it about the same
dataplane, so the last one is kept.

Refuses to know: broadcast and multicast of IPv6, TOS, neighbours that do not answer, which path of several a flow gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.objects import (
    DEFAULT_TABLE,
    LOCAL_TABLE,
    MAIN_TABLE,
    PROTOCOL,
    LinkAddress,
    Route,
    RouteType,
    Rule,
    RuleAction,
)

_LOOPBACK: Final = "lo"
_KERNEL_PROTOCOL: Final = 2
_DEFAULT_RULES: Final = {
    4: (Rule(4, 0, LOCAL_TABLE), Rule(4, 32766, MAIN_TABLE), Rule(4, 32767, DEFAULT_TABLE)),
    6: (Rule(6, 0, LOCAL_TABLE), Rule(6, 32766, MAIN_TABLE)),
}
_POINT_TO_POINT_LENGTH: Final = 31
"""From this prefix length on an IPv4 network has no broadcast address (RFC 3021)."""
_REFUSALS: Final = {
    RuleAction.BLACKHOLE: RouteType.BLACKHOLE,
    RuleAction.UNREACHABLE: RouteType.UNREACHABLE,
    RuleAction.PROHIBIT: RouteType.PROHIBIT,
}
_DELIVERING: Final = frozenset({RouteType.UNICAST, RouteType.LOCAL, RouteType.BROADCAST})
"""Types that are no error by themselves."""


Selects: TypeAlias = Callable[[str], bool | None]
"""True if a packet has what a rule's selector asks for; None if that is not known."""


class ResolvedNextHop(NamedTuple):
    """How a packet leaves: on `link`, to `gateway`, which is the destination itself on a connected network."""

    link: str
    gateway: Address


class Lookup(NamedTuple):
    """
    The answer for one destination.

    Attributes:
        type: what becomes of the packet; UNREACHABLE too where no rule led to a route.
        route: the route that is used; None if a rule decided alone, or nothing did.
        rule: the rule that led to it; None if none did.
        conditional: the rules consulted that choose packets by more than the destination.
    """

    type: RouteType
    route: Route | None = None
    rule: Rule | None = None
    conditional: tuple[Rule, ...] = ()


class RoutingTable:
    """The routes of one table, best first: the longest prefix, then the lowest metric."""

    def __init__(self, routes: Iterable[Route]) -> None:
        by_prefix: dict[Prefix, list[Route]] = {}
        for route in routes:
            by_prefix.setdefault(route.prefix, []).append(route)
        for same in by_prefix.values():
            same.sort(key=_metric)
        self._by_prefix: LongestMatch[Sequence[Route]] = LongestMatch(by_prefix.items())

    def matches(self, destination: Address) -> Iterator[Route]:
        """All routes that cover the destination, the best first."""
        for same in self._by_prefix.matches(destination.host_prefix):
            yield from same

    def best(self, destination: Address) -> Route | None:
        return next(self.matches(destination), None)


class Fib:
    """
    The rules and tables of a dataplane; each table is indexed when it is first asked.

    Args:
        local: the routes of the local table, where they were observed; None: those that follow from addresses.
    """

    def __init__(
        self, dataplane: Dataplane, *, only_foreign: bool = False, local: Iterable[Route] | None = None
    ) -> None:
        routes = dataplane.routes
        # A comprehension, because most of 100,000 routes are ours: a filter function takes five times as long.
        self._routes = [route for route in routes if route.protocol != PROTOCOL] if only_foreign else routes
        self._rules = {version: _in_order(dataplane.rules, version) for version in _DEFAULT_RULES}
        self._next_hops = {hop.id: hop for hop in dataplane.next_hops}
        self._groups = {group.id: group for group in dataplane.groups}
        self._local = tuple(_local_routes(dataplane) if local is None else local)
        self._tables: dict[int, RoutingTable] = {}

    def lookup(self, destination: Address, selects: Selects | None = None) -> Lookup:
        """
        The route that the kernel uses for an unmarked packet of which only the destination is known, or, with
        `selects`, for the packet that it answers for.
        """
        rules, at = self._rules[destination.version], 0
        conditional: list[Rule] = []
        while at < len(rules):
            rule = rules[at]
            at += 1
            selected = selects(rule.selector) if rule.selector and selects else not rule.selector
            if selected is None or (rule.selector and selects is None):
                conditional.append(rule)
            if selected is None or not _matches(rule, destination, selected=selected):
                continue
            if rule.action is RuleAction.GOTO:
                at = _place_of(rule.goto, rules, otherwise=at)
            elif rule.action in _REFUSALS:
                return Lookup(_REFUSALS[rule.action], None, rule, tuple(conditional))
            elif rule.action is RuleAction.TABLE:
                route = self.in_table(rule.table, destination)
                if route and route.type is not RouteType.THROW and not _suppresses(rule, route):
                    return Lookup(route.type, route, rule, tuple(conditional))
        return Lookup(RouteType.UNREACHABLE, None, None, tuple(conditional))

    def in_table(self, table: int, destination: Address) -> Route | None:
        """The best route of one table, regardless of rules."""
        return self._table(table).best(destination)

    def matches(self, table: int, destination: Address) -> Iterator[Route]:
        """All routes of one table that cover the destination, the best first."""
        return self._table(table).matches(destination)

    def resolve(self, route: Route, destination: Address) -> ResolvedNextHop | None:
        """
        Where a packet goes by this route; None for a route that leads nowhere, or by a next hop that is not there.

        Of a group the first member stands for all, as the first path does for a multipath route.
        """
        group = self._groups.get(route.next_hop)
        number = group.members[0] if group else route.next_hop
        if number not in self._next_hops:
            link, gateway = route.link, route.gateway
        else:
            link, gateway = self._next_hops[number].link, self._next_hops[number].gateway
        return ResolvedNextHop(link, gateway or destination) if link else None

    def _table(self, number: int) -> RoutingTable:
        if number not in self._tables:
            routes = self._local if number == LOCAL_TABLE else self._routes
            self._tables[number] = RoutingTable(route for route in routes if route.table == number)
        return self._tables[number]


@lru_cache(maxsize=1)
def foreign_fib(dataplane: Dataplane) -> Fib:
    """The FIB as it would be without our routes."""
    return Fib(dataplane, only_foreign=True)


def _metric(route: Route) -> int:
    return route.metric


def _in_order(rules: Iterable[Rule], version: int) -> Sequence[Rule]:
    found = [rule for rule in rules if rule.version == version]
    return sorted(found, key=lambda rule: (rule.priority, rule.place)) or _DEFAULT_RULES[version]


def _matches(rule: Rule, destination: Address, *, selected: bool) -> bool:
    matches = selected and (rule.destination is None or rule.destination.holds(destination))
    return matches is not rule.inverted


def _suppresses(rule: Rule, route: Route) -> bool:
    return route.type in _DELIVERING and route.prefix.length <= rule.suppress_prefixlength


def _place_of(priority: int, rules: Sequence[Rule], *, otherwise: int) -> int:
    """Where to go on; a goto whose target is absent goes on with the next rule. Targets lie ahead of their rule."""
    return next((place for place, rule in enumerate(rules) if rule.priority == priority), otherwise)


def _local_routes(dataplane: Dataplane) -> Iterator[Route]:
    down = {link.name for link in dataplane.links if not link.up}
    for item in dataplane.addresses:
        yield _local_route(item, item.address.address.host_prefix, RouteType.LOCAL)
        if item.address.address.version == 4 and item.link not in down:
            yield from _network_routes(item)


def _network_routes(item: LinkAddress) -> Iterator[Route]:
    """The loopback network, all of which is local, and the broadcast address."""
    network = item.address.network
    if item.link == _LOOPBACK:
        yield _local_route(item, network, RouteType.LOCAL)
    if network.length < _POINT_TO_POINT_LENGTH:
        yield _local_route(item, network.nth(network.size - 1).host_prefix, RouteType.BROADCAST)


def _local_route(item: LinkAddress, prefix: Prefix, kind: RouteType) -> Route:
    return Route(prefix, kind, link=item.link, metric=0, table=LOCAL_TABLE, protocol=_KERNEL_PROTOCOL)
