"""
Routes of ours that the kernel does not use: something foreign is consulted first, and packets go where that leads.

The kernel holds our route, and a comparison with what is wanted shows no more. Yet another program's route with
the same prefix and a lower metric, one inside our prefix, or a policy rule before the main table takes the packets.

Only the foreign is gone through. It divides the destinations into few regions, in each of which every packet has the
same answer: the prefixes of foreign routes and rules that lie in pools, and, where there are rules, the pools. So
50,000 routes of ours cost nothing where no other program has a route into a pool.

A foreign route to a workload is none: it delivers here, in another node's block too. Nor is one that leads where ours
does. What a rule asks of a packet that is not known here (a mark, its user) is taken not to match.

Refuses to know: what follows from it, and whose a foreign object is.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import Fib
from bgpctl.core.net.objects import DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, Route, RouteType, Rule
from bgpctl.core.trace.packet import Packet
from bgpctl.core.trace.selectors import Lookedup, selects

_MOST_REGIONS: Final = 1000
"""With a table of another program's in a pool the first of them speak for all; so do the first routes in a region."""
_MAIN_RULES: Final = ((0, LOCAL_TABLE), (32766, MAIN_TABLE))
_DEFAULT_RULE: Final = (32767, DEFAULT_TABLE)
"""Of every host: priority and table. IPv6 has no default table."""
_FROM_A_WORKLOAD: Final = ""
"""Its link is no rule's."""


class Shadow(NamedTuple):
    """
    Packets to `prefix` do not take `ours`.

    Attributes:
        by: the route that is used instead; None if a rule decides alone.
        rule: the one that led there.
    """

    prefix: Prefix
    ours: Route
    by: Route | None
    rule: Rule | None

    @property
    def text(self) -> str:
        """In words."""
        rule = f"rule {self.rule.priority}" if self.rule else "no rule"
        if self.by is None:
            what = "ends them" if self.rule else "leads to it"
            return f"packets to {self.prefix} do not take our route: {rule} {what}"
        table = "" if self.by.table == MAIN_TABLE else f" of table {self.by.table} by {rule}"
        return f"packets to {self.prefix} do not take our route: the route {_named(self.by)}{table} comes first"

    @property
    def remedy(self) -> str:
        """The command that removes what is in the way, or shows it."""
        family = "-6 " if self.prefix.version == 6 else ""
        if self.by is None or self.by.table != MAIN_TABLE:
            return f"ip {family}rule show"
        return f"ip {family}route del {self.by.prefix} proto {self.by.protocol} metric {self.by.metric}"


class Suspects(NamedTuple):
    """
    The foreign part of a node's kernel that may be consulted before our routes.

    Attributes:
        foreign: all that is not ours (net/dataplane.py: surroundings).
        pools: with their blocks' routes; nothing is looked for elsewhere.
        own: this node's own blocks, in which workloads have routes.
        regions: destinations of which each has one answer.
    """

    foreign: Dataplane
    pools: tuple[Prefix, ...]
    own: tuple[Prefix, ...]
    regions: tuple[Prefix, ...]


def suspects(
    foreign: Dataplane, pools: tuple[Prefix, ...], own: tuple[Prefix, ...], before: Suspects | None = None
) -> Suspects:
    """The suspects in these pools; the very object `before` where nothing differs."""
    if before and before.foreign is foreign and (before.pools, before.own) == (pools, own):
        return before
    towards = [rule.destination for rule in foreign.rules if rule.destination]
    found = {
        *(region for pool in pools for region in _of_routes(foreign, pool, own)),
        *(region for region in towards if any(map(region.overlaps, pools))),
        *(pool for pool in pools if _has_own_rules(foreign, pool.version)),
    }
    return Suspects(foreign, pools, own, tuple(sorted(found)[:_MOST_REGIONS]))


def shadows(among: Suspects, wanted: Dataplane) -> tuple[Shadow, ...]:
    """Our routes, with their next hops in `wanted`, that packets do not take; one for each region."""
    pairs = [(region, route) for region in among.regions for route in _ours(region, wanted)]
    if not pairs:
        return ()
    fib = Fib(_with(among.foreign, wanted, (route for _, route in pairs)))
    workloads = frozenset(link.name for link in among.foreign.links if link.workload)
    found = (_shadow(among, fib, region, route, workloads) for region, route in pairs)
    return tuple(sorted({item.prefix: item for item in found if item}.values(), key=_prefix))


def _with(foreign: Dataplane, wanted: Dataplane, ours: Iterable[Route]) -> Dataplane:
    """The foreign part with these routes of ours, and all that routes of ours may name."""
    return replace(
        foreign,
        routes=foreign.route_set.changed(ours, ()),
        next_hops=foreign.next_hops | wanted.next_hops,
        groups=foreign.groups | wanted.groups,
    )


def _has_own_rules(foreign: Dataplane, version: int) -> bool:
    """True if the rules are not those of a fresh host."""
    rules = {(rule.priority, rule.table) for rule in foreign.rules if rule.version == version}
    return bool(rules) and not {*_MAIN_RULES} <= rules <= {*_MAIN_RULES, _DEFAULT_RULE}


def _of_routes(foreign: Dataplane, pool: Prefix, own: Collection[Prefix]) -> Iterator[Prefix]:
    workloads = {link.name for link in foreign.links if link.workload}
    for route in foreign.route_set.inside(pool):
        if route.link not in workloads and not any(block.covers(route.prefix) for block in own):
            yield route.prefix


def _ours(region: Prefix, wanted: Dataplane) -> Iterable[Route]:
    """Our route to the region, or if that is wider than those, one of each next hop."""
    covering = [route for route in wanted.route_set.covering(region) if route.table == MAIN_TABLE]
    if covering:
        nearest = max(covering, key=_length)
        return (nearest,) if nearest.next_hop else ()
    some = islice(wanted.route_set.inside(region), _MOST_REGIONS)
    return {route.next_hop: route for route in some if route.next_hop}.values()


def _length(route: Route) -> int:
    return route.prefix.length


def _named(route: Route) -> str:
    """As ip-route(8) has it."""
    words = (
        "" if route.type is RouteType.UNICAST else route.type.name.lower(),
        str(route.prefix),
        f"via {route.gateway}" if route.gateway else "",
        f"dev {route.link}" if route.link else "",
        f"nhid {route.next_hop}" if route.next_hop else "",
        f"metric {route.metric}",
    )
    return " ".join(filter(None, words))


def _prefix(shadow: Shadow) -> Prefix:
    return shadow.prefix


def _shadow(among: Suspects, fib: Fib, region: Prefix, ours: Route, workloads: Container[str]) -> Shadow | None:
    prefix = region if ours.prefix.covers(region) else ours.prefix
    source = next((block.first for block in among.own if block.version == prefix.version), Address(prefix.version, 0))
    flow = Lookedup(Packet(source, prefix.first), _FROM_A_WORKLOAD)
    found = fib.lookup(prefix.first, lambda selector: selects(selector, flow))
    if found.route == ours:
        return None
    theirs = fib.resolve(found.route, prefix.first) if found.route else None
    if theirs and (theirs.link in workloads or theirs == fib.resolve(ours, prefix.first)):
        return None
    return Shadow(prefix, ours, found.route, found.rule)
