"""
The difference between what should be and what is, as an ordered tuple of operations: a plan is a value.

The same tuple is printed by `plan`, folded by the preview, executed by the agent and checked by the tests. It is found
by comparing whole tables, so it does not matter which events were lost. Tables are compared as sets first and only the
difference is sorted: with 100,000 routes that is 13 ms, and 3.5 s if everything is sorted.

To remove what is wrong and add what is missing would lose packets. So the steps of `plan` are these:

1. *Blocked.* A put replaces whatever has its key, a foreign route as well as ours. What is wanted under a foreign key
   is left out, together with what leads by it, and is reported.
2. *Devices.* Changes of links and addresses have side effects on all that stands on them (effects.py), so they come
   first, and the rest is compared with the dataplane as they leave it. A device whose VNI, port or underlay changes is
   removed first, since the kernel refuses a second one with the same VNI and port (EEXIST): the one gap there is.
   New addresses come before old ones go, because the last IPv4 address of a device takes its routes along.
3. *Puts*, in the order of addition: FDB and neighbour entries before the next hops that need them, these before
   routes (EINVAL otherwise). A put replaces in place: one message, and no packet finds the key absent.
4. *Removals*, in the reverse order, of what is ours and has no wanted object in its place. While a source of routes is
   incomplete (`prune_holds`) only routes are removed that another source withdrew, or that it cannot be the source of.

A route with another metric, table or protocol would be a second route, so all three are always explicit.

Decisions: docs/decisions/0001-level-not-edge.md, 0003-ours-is-what-we-marked.md, 0005-ignorance-is-a-type.md.

Refuses to know: how an operation is carried out, whether it succeeded, why something is wanted (it hands reasons on).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple, cast

from bgpctl.core.cluster.reasons import Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.dataplane.effects import Op, Put, Remove, after_each
from bgpctl.core.dataplane.ops import Reasons, RouteOps, joined
from bgpctl.core.dataplane.route_order import MANY, in_order
from bgpctl.core.fabric import Desired
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Comparison, Dataplane
from bgpctl.core.net.objects import (
    PROTOCOL,
    KernelObject,
    Key,
    Link,
    LinkAddress,
    NextHop,
    NextHopGroup,
    Route,
    Sysctl,
    key_of,
    link_of_sysctl,
)
from bgpctl.core.net.replacing import replace
from bgpctl.core.net.route_set import RouteSet

NOT_WANTED: Final = Reason(ReasonCode.NOT_WANTED)


@dataclass(frozen=True, slots=True)
class Plan:
    """`blocked`: what is wanted and not planned, because a foreign object has its key."""

    ops: Sequence[Op]
    blocked: tuple[Unmet, ...] = ()


def plan(desired: Desired, observed: Dataplane) -> Plan:
    """The operations that lead from `observed` to `desired` without touching anything that is not ours."""
    return planned(desired, observed)[0]


def planned(desired: Desired, observed: Dataplane, before: Comparison | None = None) -> tuple[Plan, Comparison]:
    """`plan`, and the comparison that it follows from: as `before` it spares the next one what has not changed."""
    comparison = desired.dataplane.compared(observed, before)
    wanted, blocked = _without_blocked(desired, observed, comparison)
    devices = _device_ops(desired, wanted, observed)
    settled = _settled(observed, devices)
    rest = comparison
    if settled is not observed or wanted is not desired.dataplane:
        rest = wanted.compared(settled, comparison)
    puts = _puts(rest.missing, desired.reasons)
    removals = _removals(_removable(desired, wanted, rest, settled))
    return Plan(joined((devices, *puts, *removals)), blocked), comparison


def cleanup(observed: Dataplane) -> Sequence[Op]:
    """Everything that is ours, removed in the order of removal."""
    return joined(_removals(observed.owned()))


# 1. Blocked ---------------------------------------------------------------------------------------------------


class _Taken(NamedTuple):
    """Names of links that are foreign; keys of foreign routes and next hops with their protocol; prefixes of routes."""

    links: frozenset[str]
    keys: Mapping[Key, int]
    prefixes: frozenset[Prefix]


def _without_blocked(
    desired: Desired, observed: Dataplane, comparison: Comparison
) -> tuple[Dataplane, tuple[Unmet, ...]]:
    """The wanted objects that can be had: routes and next hops can be replaced by anyone who knows their key."""
    wanted = desired.dataplane
    taken = _taken(desired, observed, comparison)
    if not taken.links and not taken.keys:
        return wanted, ()
    hops = [hop for hop in wanted.next_hops if hop.link in taken.links or key_of(hop) in taken.keys]
    unusable = {hop.id for hop in hops}
    groups = list(_usable_groups(wanted, unusable, taken.keys))
    unusable |= {group.id for group in wanted.groups} - {group.id for group in groups}
    # Few keys are taken, and to go through all routes is needed only where their next hop is.
    near = wanted.routes if unusable else chain.from_iterable(map(wanted.route_set.at, taken.prefixes))
    routes = {route for route in near if route.next_hop in unusable or key_of(route) in taken.keys}
    blocked = Dataplane.of((*wanted.on_links(taken.links), *hops, *wanted.groups, *routes))
    return wanted.minus(blocked).put(groups), tuple(_facts(taken, hops, routes))


def _taken(desired: Desired, observed: Dataplane, comparison: Comparison) -> _Taken:
    extra = comparison.extra
    routes = [route for route in comparison.routes.same_key if route.protocol != PROTOCOL]
    others: Iterable[NextHop | NextHopGroup | Route] = (*extra.next_hops, *extra.groups, *routes)
    foreign = {key_of(obj): obj.protocol for obj in others if obj.protocol != PROTOCOL}
    wanted = desired.dataplane
    return _Taken(
        frozenset(link.name for link in wanted.links if _is_foreign(link, wanted, observed)),
        {key: protocol for key, protocol in foreign.items() if key in desired.reasons},
        frozenset(route.prefix for route in routes),
    )


def _is_foreign(wanted: Link, plane: Dataplane, observed: Dataplane) -> bool:
    """
    True if another program uses a link with this name. One without our alias is taken over only if it is what we
    would make ourselves, or a bare device that a kernel module brings, and carries no address that we do not want.
    """
    present = observed.link(wanted.name)
    if present is None or present.owned:
        return False
    others = {item for item in observed.addresses if item.link == wanted.name and item not in plane.addresses}
    return present.kind != wanted.kind or bool(others)


def _usable_groups(wanted: Dataplane, blocked: Container[int], taken: Container[Key]) -> Iterator[NextHopGroup]:
    """The wanted groups without the members that cannot be had, as far as any is left."""
    for group in wanted.groups:
        members = tuple(member for member in group.members if member not in blocked)
        if members and key_of(group) not in taken:
            yield group._replace(members=members)


def _facts(taken: _Taken, hops: Iterable[NextHop], routes: Iterable[Route]) -> Iterator[Unmet]:
    for name in sorted(taken.links):
        yield Unmet(UnmetCode.KEY_TAKEN, f"link {name}", "it has not our alias")
    for hop in sorted(hops):
        if hop.link not in taken.links:
            yield Unmet(UnmetCode.KEY_TAKEN, f"next hop {hop.id}", _holder(taken, hop, "its link"))
    for route in sorted(routes, key=lambda route: route.prefix):
        yield Unmet(UnmetCode.KEY_TAKEN, str(route.prefix), _holder(taken, route, "its next hop"))


def _holder(taken: _Taken, obj: NextHop | Route, carrier: str) -> str:
    return f"protocol {taken.keys.get(key_of(obj), f'of {carrier}')}"


# 2. Devices ---------------------------------------------------------------------------------------------------


def _device_ops(desired: Desired, wanted: Dataplane, observed: Dataplane) -> tuple[Op, ...]:
    """Changes of links, then of their addresses, as the changed links leave them."""
    links = tuple(_link_ops(desired, wanted, observed))
    present = _own_addresses(_settled(observed, links))
    return (*links, *_address_ops(desired, wanted, present))


def _link_ops(desired: Desired, wanted: Dataplane, observed: Dataplane) -> Iterator[Op]:
    """First the removal of what has to be made anew: VNI and port of the new one may be those of the old one."""
    changed = sorted(wanted.links - observed.links, key=lambda link: link.name)
    if not desired.prune_holds:
        for link in changed:
            if _must_be_made_anew(link, observed):
                yield Remove(link, desired.reasons[key_of(link)])
    for link in changed:
        yield Put(link, desired.reasons[key_of(link)])


def _must_be_made_anew(wanted: Link, observed: Dataplane) -> bool:
    present = observed.link(wanted.name)
    return present is not None and present.owned and wanted.kind.refusal(present) != 0


def _own_addresses(dataplane: Dataplane) -> frozenset[LinkAddress]:
    names = {link.name for link in dataplane.links if link.owned}
    return frozenset(item for item in dataplane.addresses if item.link in names or item.protocol == PROTOCOL)


def _address_ops(desired: Desired, wanted: Dataplane, present: frozenset[LinkAddress]) -> Iterator[Op]:
    """New addresses before old ones go: a device's last IPv4 address takes its routes and neighbours along."""
    for address in sorted(wanted.addresses - present):
        yield Put(address, desired.reasons[key_of(address)])
    if not desired.prune_holds:
        kept = {link.name for link in wanted.links}
        for address in sorted(present - wanted.addresses):
            if address.link in kept or address.protocol == PROTOCOL:  # the others go with their links
                yield Remove(address, NOT_WANTED)


def _settled(dataplane: Dataplane, ops: Iterable[Op]) -> Dataplane:
    """The dataplane once the device operations are done; one that will be refused changes nothing."""
    return after_each(dataplane, ops)[0]


# 3. Puts ------------------------------------------------------------------------------------------------------


def _puts(missing: Dataplane, reasons: Mapping[Key, Reason]) -> Iterator[Sequence[Op]]:
    """All but links and addresses, which are device operations."""
    for table in filter(None, missing.tables()):
        kind = next(map(type, table), None)
        if kind is Route:
            yield _of_routes(Put, in_order(cast(Iterable[Route], table), specific_first=True), reasons)
        elif kind not in {None, Link, LinkAddress}:
            ordered = sorted(table, key=_link_first if kind is Sysctl else key_of)
            yield [Put(obj, reasons[key_of(obj)]) for obj in ordered]


def _of_routes(verb: type[Put | Remove], routes: Sequence[Route], reasons: Reasons) -> Sequence[Op]:
    ops = RouteOps(verb, routes, reasons)
    return ops if len(routes) >= MANY else tuple(ops)


def _link_first(sysctl: KernelObject) -> tuple[bool, Key]:
    """
    A link is set to accept router advertisements all the same (accept_ra 2) before the host becomes a router, which
    ignores them otherwise and loses its default route (Documentation/networking/ip-sysctl.rst).
    """
    return link_of_sysctl(cast(Sysctl, sysctl).name) is None, key_of(sysctl)


# 4. Removals --------------------------------------------------------------------------------------------------


def _removable(desired: Desired, wanted: Dataplane, rest: Comparison, settled: Dataplane) -> Dataplane:
    """Our objects that no wanted object replaces; while a source is incomplete, only routes that may go."""
    routes = rest.routes.owned - rest.routes.same_key
    if desired.prune_holds:
        return Dataplane(routes=frozenset([route for route in routes if desired.may_go(route.prefix)]))
    others = replace(rest.extra, routes=RouteSet()).owned(settled.links).without_keys_of(wanted)
    return replace(others, routes=routes)


def _removals(dataplane: Dataplane) -> Iterator[Sequence[Op]]:
    """Of all objects, in the order of removal."""
    yield _of_routes(Remove, in_order(dataplane.route_set, specific_first=False), NOT_WANTED)
    for table in reversed(dataplane.tables()):
        if table and table is not dataplane.routes:
            yield [Remove(obj, NOT_WANTED) for obj in sorted(table, key=key_of)]
