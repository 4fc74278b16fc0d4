"""
Draining: a device that is not wanted any more stays until no member sends by it.

Removing a tunnel device stops this node from receiving by it, and other nodes learn of the new cluster file later
than this one, or never. So a device of ours that is not wanted any more stays while one of three objects is true:

- A next hop still leads by it, because the new path to that member is not proven.
- A member may still send by it. Return probes show by which link it sends. It has left the device once it has sent
  by another link for DRAIN_S, as packets that it sent before are still in queues and on the wire. A reply by a
  device that has another VNI or port by now came by another device, so its kind is compared as well as its name.
- A route to a member's prefix is in the kernel and in no source any more, or not yet. A change of backend replaces
  what is learned from the list of members by what is learned from BGP, or the reverse, and for a while neither has all
  prefixes. Host prefixes that a member borrows from another's block count too: without their route they would
  follow that block.

Where this node has no block in the pool, no return probe can be made, and none is needed: no packet of that pool is
addressed to it.

Refuses to know: which device is wanted, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple

from bgpctl.core.migration.probes import ReturnPath, kind_of
from bgpctl.core.migration.situation import HeldNextHop, PendingMember, Situation
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, KernelObject, Link, NextHop, NextHopGroup, Route, key_of

DRAIN_S: Final = 2.0
"""How long a member must be seen to send by another link before the old one is removed."""


class Drain(NamedTuple):
    """Unwanted links that stay, the members that they stay for, and the kernel objects that stay with them."""

    links: frozenset[str] = frozenset()
    pending: tuple[PendingMember, ...] = ()
    kept: tuple[KernelObject, ...] = ()


def drain(situation: Situation, held: Collection[HeldNextHop]) -> Drain:
    """The links that stay now; `held` are the next hops that are not moved yet."""
    unwanted = _unwanted_links(situation)
    orphans = _orphaned_routes(situation) if unwanted else frozenset[Route]()
    pending = tuple(user for link in sorted(unwanted) for user in _users(situation, link, held, orphans))
    links = frozenset(user.link for user in pending)
    return Drain(links, pending, tuple(_kept(situation.observed, links, orphans)) if links else ())


def _unwanted_links(situation: Situation) -> frozenset[str]:
    wanted = situation.desired.dataplane
    return frozenset(link.name for link in situation.observed.links if link.owned and wanted.link(link.name) is None)


def _orphaned_routes(situation: Situation) -> frozenset[Route]:
    """Our routes to prefixes that members have according to the cluster file, and that no source announces now."""
    wanted = {key_of(route) for route in situation.desired.dataplane.routes}
    return frozenset(
        route
        for route in situation.observed.routes
        if route.protocol == PROTOCOL
        and route.next_hop
        and route.prefix in situation.member_of_prefix
        and key_of(route) not in wanted
    )


def _users(
    situation: Situation, link: str, held: Iterable[HeldNextHop], orphans: Iterable[Route]
) -> Iterator[PendingMember]:
    """Members that use an unwanted link, or may."""
    for name in sorted({situation.member_of_prefix[route.prefix] for route in orphans}):
        yield PendingMember(name, link, "")
    for present, wanted in held:
        if present.link == link:
            yield PendingMember(situation.member_name(wanted), link, "")
    for hop in sorted(situation.member_next_hops):
        if may_still_send(situation, hop, lambda path: path.link == link):
            yield PendingMember(situation.member_name(hop), link, hop.link)


def may_still_send(situation: Situation, hop: NextHop, is_former: Callable[[ReturnPath], bool]) -> bool:
    """True if the member may still send to our block in this pool by its former path: unless seen otherwise it may."""
    if situation.address_in_pool(situation.node, hop) is None:
        return False
    path = situation.probe_results.return_path(hop.id, situation.at_s)
    if path is None or is_former(path):
        return True
    is_other_device = kind_of(situation.observed, path.link) != path.kind
    return is_other_device or path.last_s - path.since_s < DRAIN_S


def _kept(observed: Dataplane, links: Collection[str], orphans: Collection[Route]) -> Iterator[KernelObject]:
    """Orphaned routes with their next hops, and the draining links with everything that is on them."""
    yield from _next_hops_of(observed, orphans)
    yield from orphans
    for kind in _on_links(observed):
        yield from (obj for obj in kind if _link_of(obj) in links)


def _on_links(observed: Dataplane) -> Iterator[Collection[KernelObject]]:
    yield from (observed.links, observed.addresses, observed.inner_filters, observed.decaps)
    yield from (observed.fdb, observed.neighbours)


def _next_hops_of(observed: Dataplane, routes: Iterable[Route]) -> Iterator[NextHop | NextHopGroup]:
    """The next-hop objects that the routes use; the kernel removes a route together with its next-hop object."""
    used = {route.next_hop for route in routes}
    groups = [group for group in observed.groups if group.id in used]
    used |= {member for group in groups for member in group.members}
    yield from groups
    yield from (hop for hop in observed.next_hops if hop.id in used and hop.protocol == PROTOCOL)


def _link_of(obj: KernelObject) -> str | None:
    return obj.name if isinstance(obj, Link) else getattr(obj, "link", None)
