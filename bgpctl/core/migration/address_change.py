"""
A member's address on the underlay changes, and with it the destination of all that is sent to that member.

The cluster file may be read here before the member's host has the new address, or before its tunnels take packets at
it. So a route to the member stays at its former next hop, and the forwarding entry that this one needs with it, while
packets arrive at the former address and are not known to arrive at the new one. Both are probed in each round.

Unlike the path of another encapsulation, a former address is one that the cluster file does not have any more: soon
no host answers at it. Where neither address answers, as where a firewall drops every echo request, nothing is gained by
waiting, and after the first ROUNDS the file counts alone.

Nothing is held whose former address is another member's now.

Refuses to know: which encapsulations there are, why the address changes, whether a source announced the prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.fabric.encapsulations import behaviour_of, behind
from bgpctl.core.migration.probe_choice import is_proven
from bgpctl.core.migration.probes import Probe
from bgpctl.core.migration.situation import HeldNextHop, PendingMember, Situation
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, FdbEntry, KernelObject, NextHop, Route, key_of

ROUNDS: Final = 4
"""How many rounds of probes may pass without a reply from either address."""


@dataclass(frozen=True, slots=True)
class FormerPath:
    """
    A next hop as it is in the kernel, to an address that its member has no longer by the cluster file.

    Attributes:
        entry: the forwarding entry that it needs, where it leads through a tunnel that has those.
        routes: the routes to the member that lead by it.
    """

    hop: HeldNextHop
    remote: Address
    entry: FdbEntry | None
    routes: tuple[Route, ...]

    @property
    def kept(self) -> Iterator[KernelObject]:
        """All that makes it lead where it does."""
        yield self.hop.present
        yield from (self.entry,) if self.entry else ()
        yield from self.routes


class FormerPaths(NamedTuple):
    """
    The paths to members' former addresses.

    Attributes:
        held: stay now.
        left_entries: forwarding entries that stay until the step after, as their paths are left now for another link.
            An entry that changes before its routes move would send by the former link to the new address, and nothing
            has shown that such packets arrive.
    """

    held: tuple[FormerPath, ...] = ()
    left_entries: tuple[FdbEntry, ...] = ()


def former_paths(situation: Situation) -> FormerPaths:
    """The paths to members' former addresses that are in the kernel."""
    going = _going_next_hops(situation.desired.dataplane, situation.observed)
    if not going:
        return FormerPaths()
    held: list[FormerPath] = []
    left: list[FormerPath] = []
    for path in _former_paths(situation, going):
        (held if _is_held(situation, path) else left).append(path)
    proven = {path.entry for path in left if path.hop.present.link == path.hop.wanted.link}
    entries = dict.fromkeys(path.entry for path in left if path.entry and path.entry not in proven)
    return FormerPaths(tuple(held), tuple(entries))


def former_probe(situation: Situation, path: FormerPath) -> Probe | None:
    """A forward probe of the path as it is; None while this node has no address to send it from."""
    hop, link = path.hop.present, situation.observed.link(path.hop.present.link)
    own = situation.node.underlay(path.remote.version)
    if link is None or own is None:
        return None
    behaviour = behind(link.kind) or behaviour_of(DIRECT)
    frame = behaviour.frame(link, path.entry.mac if path.entry else None)
    if frame is None:
        return None
    return Probe(hop, behaviour.encapsulation, own.address, path.remote, own.address, path.remote, frame)


def pending(situation: Situation, path: FormerPath) -> PendingMember:
    """The member that has to answer at its new address."""
    present, wanted = path.hop
    name, remote = situation.member_name(wanted), situation.remote_of(wanted)
    return PendingMember(name, f"{present.link} to {path.remote}", f"{wanted.link} to {remote}")


def _going_next_hops(wanted: Dataplane, observed: Dataplane) -> Mapping[int, NextHop]:
    """Our next hops by id that are not wanted any more; nearly always there are none."""
    others = observed.next_hops - wanted.next_hops
    ids = {hop.id for hop in wanted.next_hops} if others else set()
    return {hop.id: hop for hop in others if hop.protocol == PROTOCOL and hop.id not in ids}


def _former_paths(situation: Situation, going: Mapping[int, NextHop]) -> Iterator[FormerPath]:
    routes: dict[HeldNextHop, list[Route]] = {}
    hops = {hop.id: hop for hop in situation.desired.dataplane.next_hops}
    for route in situation.observed.routes - situation.desired.dataplane.routes:
        wanted = hops.get(_next_hop_of(situation, route)) if route.next_hop in going else None
        if wanted and route.protocol == PROTOCOL and _is_the_members(situation, wanted, route):
            routes.setdefault(HeldNextHop(going[route.next_hop], wanted), []).append(route)
    for hop, its_routes in sorted(routes.items()):
        entry = _entry(situation.observed, hop.present)
        remote = entry.remote if entry else hop.present.gateway
        if remote and remote not in situation.members and not _is_same_path(hop, entry):
            yield FormerPath(hop, remote, entry, tuple(sorted(its_routes)))


def _next_hop_of(situation: Situation, route: Route) -> int:
    """The next hop that the route is to have; 0 if it is not wanted."""
    near, key = situation.desired.dataplane.route_set.at(route.prefix), key_of(route)
    return next((wanted.next_hop for wanted in near if key_of(wanted) == key), 0)


def _is_the_members(situation: Situation, wanted: NextHop, route: Route) -> bool:
    """True if the next hop leads to a member, and the route to what that member has."""
    remote = situation.remote_of(wanted)
    member = situation.members.get(remote) if remote else None
    return member is not None and route.prefix in situation.intent.prefixes_of(member)


def _is_same_path(hop: HeldNextHop, entry: FdbEntry | None) -> bool:
    """True if packets go the same way by either: by a router, which knows where the member is."""
    present, wanted = hop
    return entry is None and (present.link, present.gateway) == (wanted.link, wanted.gateway)


def _entry(observed: Dataplane, hop: NextHop) -> FdbEntry | None:
    """The forwarding entry to which packets by the next hop go."""
    near = (entry for entry in observed.neighbours if (entry.link, entry.address) == (hop.link, hop.gateway))
    macs = {entry.mac for entry in near}
    return next((entry for entry in observed.fdb if entry.link == hop.link and entry.mac in macs), None)


def _is_held(situation: Situation, path: FormerPath) -> bool:
    if is_proven(situation, path.hop.wanted):
        return False
    former, results = former_probe(situation, path), situation.probe_results
    return results.rounds < ROUNDS or (former is not None and former.path in results.answered)
