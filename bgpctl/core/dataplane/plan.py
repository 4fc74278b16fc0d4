"""
The difference between what should be and what is, as an ordered tuple of operations: a plan is a value.

Refuses to know: how an operation is carried out, whether it succeeded, why something is wanted (it hands reasons on).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Final

from bgpctl.core.cluster.reasons import Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.dataplane.effects import KernelError, Op, Put, Remove, after, becomes, link_of_sysctl
from bgpctl.core.fabric import Desired
from bgpctl.core.net.objects import (
    DATAPLANE_FIELDS,
    PROTOCOL,
    Dataplane,
    KernelObject,
    Key,
    Link,
    LinkAddress,
    NextHop,
    NextHopGroup,
    Route,
    Sysctl,
    Vxlan,
    key_of,
)

ADD_ORDER: Final = DATAPLANE_FIELDS
"""Make before break: whatever carries a route stands before the route. Removal goes the other way."""

NOT_WANTED: Final = Reason(ReasonCode.NOT_WANTED)


@dataclass(frozen=True, slots=True)
class Plan:
    """`blocked`: what is wanted and not planned, because a stranger's object has its key."""

    ops: tuple[Op, ...]
    blocked: tuple[Unmet, ...] = ()


def plan(desired: Desired, observed: Dataplane) -> Plan:
    """
    What leads from `observed` to `desired` without touching anything that is not ours.

    While a source has not spoken (`desired.prune_holds`) nothing is removed but what another one took back. A device
    that must be made anew is removed first, since the kernel refuses a second one with the same VNI and port: the one
    gap there is.
    """
    extra = _beyond(observed, desired.dataplane)
    wanted, blocked = _without_blocked(desired, observed, extra)
    devices = _device_ops(desired, wanted, observed)
    settled = _settled(observed, devices)
    if settled is not observed or wanted is not desired.dataplane:
        extra = _beyond(settled, wanted)
    puts = [Put(thing, desired.reasons[key]) for key, thing in _missing(wanted, settled, extra)]
    leftover = _removable(desired, wanted, extra, settled)
    return Plan((*devices, *puts, *(Remove(thing, NOT_WANTED) for thing in leftover)), blocked)


def _removable(desired: Desired, wanted: Dataplane, extra: Dataplane, settled: Dataplane) -> Iterator[KernelObject]:
    if not desired.prune_holds:
        yield from _leftover(wanted, owned(extra, settled.links))
    elif desired.withdrawn:
        released = frozenset(route for route in extra.routes if route.prefix in desired.withdrawn)
        yield from _leftover(wanted, owned(Dataplane(routes=released)))


def owned(dataplane: Dataplane, links: frozenset[Link] | None = None) -> Dataplane:
    """
    The part of an observation that is ours: what we marked, and what stands on a link that we marked.

    `links` are all that were observed, if the dataplane is only a part of that.
    """
    names = {link.name for link in (dataplane.links if links is None else links) if link.owned}
    return Dataplane(
        links=frozenset(link for link in dataplane.links if link.owned),
        addresses=frozenset(address for address in dataplane.addresses if address.link in names),
        # Both are named as ours, and can outlive the link that they belong to.
        decaps=dataplane.decaps,
        masquerades=dataplane.masquerades,
        fdb=frozenset(entry for entry in dataplane.fdb if entry.link in names),
        neighbours=frozenset(neighbour for neighbour in dataplane.neighbours if neighbour.link in names),
        next_hops=frozenset(next_hop for next_hop in dataplane.next_hops if next_hop.protocol == PROTOCOL),
        groups=frozenset(group for group in dataplane.groups if group.protocol == PROTOCOL),
        routes=frozenset(route for route in dataplane.routes if route.protocol == PROTOCOL),
    )


def cleanup(observed: Dataplane) -> tuple[Op, ...]:
    """Everything that is ours, removed in the order of removal."""
    return tuple(Remove(thing, NOT_WANTED) for thing in _leftover(Dataplane(), owned(observed)))


def _beyond(dataplane: Dataplane, wanted: Dataplane) -> Dataplane:
    """What is there and not wanted as it is. Found once, because it takes a look at each of 100,000 routes."""
    return Dataplane(*(getattr(dataplane, kind) - getattr(wanted, kind) for kind in DATAPLANE_FIELDS))


def _without_blocked(desired: Desired, observed: Dataplane, extra: Dataplane) -> tuple[Dataplane, tuple[Unmet, ...]]:
    """Routes and next hops can be replaced by anyone who knows their key, so a stranger's key is left alone."""
    wanted = desired.dataplane
    others: Iterable[NextHop | NextHopGroup | Route] = (*extra.next_hops, *extra.groups, *extra.routes)
    strangers = {key_of(thing): thing.protocol for thing in others if thing.protocol != PROTOCOL}
    links = {link.name for link in wanted.links if _is_foreign(link, wanted, observed)}
    taken = {key: strangers[key] for key in strangers.keys() & desired.reasons.keys()}
    if not taken and not links:
        return wanted, ()
    hops = {next_hop for next_hop in wanted.next_hops if key_of(next_hop) in taken or next_hop.link in links}
    ids = {next_hop.id for next_hop in hops}
    groups = frozenset(_usable_groups(wanted, ids, taken.keys()))
    ids |= {group.id for group in wanted.groups} - {group.id for group in groups}
    routes = {route for route in wanted.routes if route.next_hop in ids or key_of(route) in taken}
    facts = [Unmet(UnmetCode.KEY_TAKEN, f"link {name}", "it has not our alias") for name in sorted(links)]
    facts += [
        Unmet(UnmetCode.KEY_TAKEN, f"next hop {hop.id}", f"protocol {taken.get(key_of(hop), 'of its link')}")
        for hop in sorted(hops)
        if hop.link not in links
    ]
    facts += [
        Unmet(UnmetCode.KEY_TAKEN, str(route.prefix), f"protocol {taken.get(key_of(route), 'of its next hop')}")
        for route in sorted(routes, key=lambda route: route.prefix)
    ]
    left = replace(
        _without_links(wanted, links),
        next_hops=wanted.next_hops - hops,
        groups=groups,
        routes=wanted.routes - routes,
    )
    return left, tuple(facts)


def _usable_groups(wanted: Dataplane, blocked: Container[int], taken: Container[Key]) -> Iterator[NextHopGroup]:
    """The wanted groups without the members that cannot be had, as far as any is left."""
    for group in wanted.groups:
        members = tuple(member for member in group.members if member not in blocked)
        if members and key_of(group) not in taken:
            yield group._replace(members=members)


def _is_foreign(wanted: Link, plane: Dataplane, observed: Dataplane) -> bool:
    """
    Whether somebody else uses a link with this name. One without our alias is taken over only if it is what we would
    make ourselves, or the bare tunl0 that the ipip module brings, and carries no address that we do not want.
    """
    present = observed.link(wanted.name)
    if present is None or present.owned:
        return False
    theirs = {item for item in observed.addresses if item.link == wanted.name} - plane.addresses
    return present.kind != wanted.kind or bool(theirs)


def _without_links(wanted: Dataplane, names: set[str]) -> Dataplane:
    """The wanted objects that do not stand on these links."""
    return replace(
        wanted,
        links=frozenset(link for link in wanted.links if link.name not in names),
        sysctls=frozenset(sysctl for sysctl in wanted.sysctls if link_of_sysctl(sysctl.name) not in names),
        addresses=frozenset(address for address in wanted.addresses if address.link not in names),
        decaps=frozenset(decap for decap in wanted.decaps if decap.link not in names),
        fdb=frozenset(entry for entry in wanted.fdb if entry.link not in names),
        neighbours=frozenset(neighbour for neighbour in wanted.neighbours if neighbour.link not in names),
    )


def _device_ops(desired: Desired, wanted: Dataplane, observed: Dataplane) -> tuple[Op, ...]:
    """
    Changes of links and their addresses: these have side effects on everything that stands on them, so they come
    before it. New addresses come before old ones go: a device's last IPv4 address takes its neighbours along.
    """
    changed = sorted(wanted.links - observed.links, key=lambda link: link.name)
    anew = [] if desired.prune_holds else [link for link in changed if _must_be_made_anew(link, observed)]
    removals = [Remove(link, desired.reasons[key_of(link)]) for link in anew]
    puts = [Put(link, desired.reasons[key_of(link)]) for link in changed]
    left = _own_addresses(_settled(observed, [*removals, *puts]))
    added = [Put(address, desired.reasons[key_of(address)]) for address in sorted(wanted.addresses - left)]
    kept = {link.name for link in wanted.links}
    gone = [] if desired.prune_holds else sorted(address for address in left - wanted.addresses if address.link in kept)
    return (*removals, *puts, *added, *(Remove(address, NOT_WANTED) for address in gone))


def _own_addresses(dataplane: Dataplane) -> frozenset[LinkAddress]:
    names = {link.name for link in dataplane.links if link.owned}
    return frozenset(address for address in dataplane.addresses if address.link in names)


def _must_be_made_anew(wanted: Link, observed: Dataplane) -> bool:
    present = observed.link(wanted.name)
    if present is None or not present.owned or not isinstance(wanted.kind, Vxlan):
        return False
    return not becomes(present.kind, wanted.kind)


def _settled(dataplane: Dataplane, ops: Iterable[Op]) -> Dataplane:
    """The dataplane once the device operations are done; one that will be refused changes nothing."""
    for op in ops:
        try:
            dataplane = after(dataplane, op)
        except KernelError:
            continue
    return dataplane


def _missing(wanted: Dataplane, settled: Dataplane, extra: Dataplane) -> Iterator[tuple[Key, KernelObject]]:
    for kind in ADD_ORDER:
        mine, present = getattr(wanted, kind), getattr(settled, kind)
        nothing = len(present) - len(getattr(extra, kind)) == len(mine)
        if not nothing and kind not in {"links", "addresses"}:
            found = ((key_of(thing), thing) for thing in mine - present)
            yield from sorted(found, key=_SEQUENCES.get(kind, itemgetter(0)))


def _specific_first(item: tuple[Key, Route]) -> tuple[int, ...]:
    """
    A borrowed address can be reached before the blackhole of the block around it stands.

    Numbers side by side: 100,000 keys with keys inside take half a second longer to sort.
    """
    _, route = item
    version, network, length = route.prefix
    return -length, network, version, route.table, route.metric


def _link_first(item: tuple[Key, Sysctl]) -> tuple[bool, Key]:
    """A link is told to heed router advertisements all the same before the host becomes a router."""
    key, sysctl = item
    return link_of_sysctl(sysctl.name) is None, key


_SEQUENCES: Final[Mapping[str, Callable[[Any], Any]]] = {"sysctls": _link_first, "routes": _specific_first}
"""In which order things of one kind are put, where it matters."""


def _leftover(wanted: Dataplane, ours: Dataplane) -> Iterator[KernelObject]:
    """What is ours and is not about to be replaced."""
    for kind in reversed(ADD_ORDER):
        different = getattr(ours, kind) - getattr(wanted, kind)
        keys = {key_of(thing) for thing in getattr(wanted, kind)} if different else set()
        yield from sorted((thing for thing in different if key_of(thing) not in keys), key=key_of)
