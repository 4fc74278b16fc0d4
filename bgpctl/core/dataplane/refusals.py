"""
The errno with which the kernel refuses to put an object, given what is there.

Refuses to know: what a put changes once it is accepted (effects.py).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import assert_never

from bgpctl.core.net.addresses import LINK_LOCAL
from bgpctl.core.net.dataplane import DataplaneBuilder
from bgpctl.core.net.fib import RoutingTable
from bgpctl.core.net.objects import (
    MAIN_TABLE,
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    RouteType,
    Sysctl,
    WorkloadFilter,
    link_of_sysctl,
)


def refusal_of(plane: DataplaneBuilder, obj: KernelObject) -> int:
    """The errno (as in errno(3)) with which the kernel refuses to put this; 0 if it does not."""
    match obj:
        case Route():  # first, because there are most of them
            return _refusal_of_route(plane, obj)
        case Link():
            return _refusal_of_link(plane, obj)
        case LinkAddress(link="lo"):
            return 0  # every namespace has it
        case LinkAddress(link=name) | Neighbour(link=name) | InnerFilter(link=name):
            return 0 if plane.link(name) else errno.ENODEV
        case Decap(link=name, underlay=underlay):
            return 0 if plane.link(name) and plane.link(underlay) else errno.ENODEV
        case FdbEntry():
            return _refusal_of_fdb_entry(plane, obj)
        case NextHop():
            return _refusal_of_next_hop(plane, obj)
        case NextHopGroup():
            return _refusal_of_group(plane, obj)
        case Masquerade() | WorkloadFilter():
            return 0
        case Sysctl(name=name):
            link_name = link_of_sysctl(name)
            return 0 if link_name is None or plane.link(link_name) else errno.ENOENT
        case _:
            assert_never(obj)


# Links and what stands on them --------------------------------------------------------------------------------


def _refusal_of_link(plane: DataplaneBuilder, wanted: Link) -> int:
    present = plane.link(wanted.name)
    return wanted.kind.refusal(present) if present else _refusal_of_new_link(plane, wanted)


def _refusal_of_new_link(plane: DataplaneBuilder, wanted: Link) -> int:
    under, alone = wanted.kind.stands_on(), wanted.kind.excludes()
    if under is not None and plane.link(under) is None:
        return errno.ENODEV
    others = (link.kind.excludes() for link in plane.all(Link) if link.name != wanted.name)
    return errno.EEXIST if alone is not None and alone in others else 0


def _refusal_of_fdb_entry(plane: DataplaneBuilder, entry: FdbEntry) -> int:
    link = plane.link(entry.link)
    if link is None:
        return errno.ENODEV
    version = link.kind.entries_version()
    if version is None:
        return errno.EOPNOTSUPP
    return 0 if entry.remote.version == version else errno.EAFNOSUPPORT


# Next hops ----------------------------------------------------------------------------------------------------


def _refusal_of_next_hop(plane: DataplaneBuilder, wanted: NextHop) -> int:
    link = plane.link(wanted.link)
    if link is None:
        return errno.ENODEV
    if not link.up:
        return errno.ENETDOWN
    # A group does not become a next hop (nh_replace: EINVAL).
    if plane.group(wanted.id) or _is_reached_by_another_link(plane, wanted):
        return errno.EINVAL
    users = {wanted.id, *groups_with(plane, wanted.id)}
    return errno.EINVAL if _is_ipv4(wanted) and _carries_ipv6(plane, users) else 0


def _is_reached_by_another_link(plane: DataplaneBuilder, wanted: NextHop) -> bool:
    """
    True if an on-link IPv6 gateway is reached by another link: the kernel resolves it in the main table
    (ip6_route_check_nh_onlink), accepts the default route and a blackhole as an answer, and does not ask about
    link-local gateways.
    """
    gateway = wanted.gateway
    if gateway is None or gateway.version == 4 or not wanted.onlink or LINK_LOCAL.holds(gateway):
        return False
    best = plane.derived(Route, _ipv6_main_table).best(gateway)
    if best is None or best.type is not RouteType.UNICAST or not best.prefix.length:
        return False
    return wanted.link != (_first_link(plane, best.next_hop) if best.next_hop else best.link)


def _ipv6_main_table(routes: Iterable[Route]) -> RoutingTable:
    return RoutingTable(route for route in routes if route.table == MAIN_TABLE and route.prefix.version == 6)


def _first_link(plane: DataplaneBuilder, number: int) -> str | None:
    """The link of the next hop with this id, or of the first member of the group with this id."""
    group = plane.group(number)
    hop = plane.next_hop(group.members[0] if group else number)
    return hop.link if hop else None


def _refusal_of_group(plane: DataplaneBuilder, wanted: NextHopGroup) -> int:
    """Members must be next hops that are there, each once; a next hop does not become a group."""
    if not wanted.members or len(set(wanted.members)) < len(wanted.members) or plane.next_hop(wanted.id):
        return errno.EINVAL
    hops = [plane.next_hop(member) for member in wanted.members]
    if None in hops:
        return errno.EINVAL
    any_ipv4 = any(hop is not None and _is_ipv4(hop) for hop in hops)
    return errno.EINVAL if any_ipv4 and _carries_ipv6(plane, {wanted.id}) else 0


def _is_ipv4(hop: NextHop) -> bool:
    return hop.gateway is None or hop.gateway.version == 4


def _carries_ipv6(plane: DataplaneBuilder, ids: Iterable[int]) -> bool:
    """True if an IPv6 route names one of these; it cannot use an IPv4 next hop."""
    named = plane.derived(Route, routes_by_next_hop)
    return any(route.prefix.version == 6 for number in ids for route in named.get(number, ()))


def groups_with(plane: DataplaneBuilder, number: int) -> Iterable[int]:
    """The ids of the groups that this next hop is a member of."""
    return plane.derived(NextHopGroup, _groups_by_member).get(number, ())


def _groups_by_member(groups: Iterable[NextHopGroup]) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = {}
    for group in groups:
        for member in group.members:
            found.setdefault(member, []).append(group.id)
    return found


def routes_by_next_hop(routes: Iterable[Route]) -> Mapping[int, list[Route]]:
    """The routes that name a next-hop object or group, by its id."""
    found: dict[int, list[Route]] = {}
    for route in routes:
        if route.next_hop:
            found.setdefault(route.next_hop, []).append(route)
    return found


# Routes -------------------------------------------------------------------------------------------------------


def _refusal_of_route(plane: DataplaneBuilder, route: Route) -> int:
    if route.next_hop:
        return _refusal_of_user(plane, route)
    if route.type is RouteType.UNICAST and route.link is not None:
        link = plane.link(route.link)
        if link is None:
            return errno.ENODEV
        return 0 if link.up else errno.ENETDOWN
    return 0


def _refusal_of_user(plane: DataplaneBuilder, route: Route) -> int:
    """The next-hop object must be there, and an IPv6 route cannot use an IPv4 one."""
    group = plane.group(route.next_hop)
    hops = list(filter(None, map(plane.next_hop, group.members if group else (route.next_hop,))))
    unusable = route.prefix.version == 6 and any(map(_is_ipv4, hops))
    return errno.EINVAL if not hops or unusable else 0
