"""
Changing how packets cross the underlay without losing one: receive on both, send on one, take away last.

What was before is what the kernel still has, so a switch needs no memory: it can be stopped, restarted and reversed
at any point. A next hop moves to another link only once a packet sent by the new way was answered, and a device that
is not wanted any more stays until every member was seen to send by another one.

Refuses to know: which encapsulations there are, why one was wanted, how a packet is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple

from bgpctl.core.bgp.encap_community import AcceptedTunnels, AdvertisedTunnels, nothing_advertised, objection
from bgpctl.core.cluster import tunnel_addresses
from bgpctl.core.cluster.configuration import Intent, Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric import Desired
from bgpctl.core.fabric.desired import KIND_OF
from bgpctl.core.net.addresses import (
    Address,
    Mac,
    Prefix,
    Vni,
)
from bgpctl.core.net.objects import (
    DATAPLANE_FIELDS,
    PROTOCOL,
    Dataplane,
    Decap,
    KernelObject,
    Key,
    Link,
    LinkKind,
    NextHop,
    NextHopGroup,
    Route,
    Vxlan,
    key_of,
)

REPLY_VALID_S: Final = 5.0
"""How long an answer counts."""
DRAIN_S: Final = 2.0
"""A member must have been seen to send by another link for so long before one is taken away."""
PROBE_EVERY_S: Final = 0.5

_VERSIONS: Final = (4, 6)
_KEPT_REASON: Final = Reason(ReasonCode.KEPT)


class Frame(NamedTuple):
    """What a VXLAN packet needs beside the addresses."""

    vni: Vni
    port: int
    source: Mac
    destination: Mac


class ProbedPath(NamedTuple):
    """
    All that decides whether packets arrive: the device's name alone may stand for another VNI by now, and not every
    sender is let in.
    """

    hop: NextHop
    encapsulation: Encapsulation
    local: Address
    remote: Address
    frame: Frame | None


@dataclass(frozen=True, slots=True)
class Probe:
    """
    An echo request to be sent by the way of `hop` before any traffic takes it.

    The outer packet goes from `local` to `remote`, the request inside it from `source` to `target`; without
    encapsulation only the inner one goes, to the hop's gateway. An answer to our own address on the underlay takes no
    tunnel, so it depends on the way there alone; one to an address of our blocks shows how the remote sends to them.
    """

    hop: NextHop
    encapsulation: Encapsulation
    local: Address
    remote: Address
    source: Address
    target: Address
    frame: Frame | None = None

    @property
    def way(self) -> ProbedPath:
        return ProbedPath(self.hop, self.encapsulation, self.local, self.remote, self.frame)


class ProbeReply(NamedTuple):
    """The request reached its remote; the answer came in by `link`, with IP in IP from the outer address `source`."""

    trial: Probe
    link: str
    source: Address | None = None


class ReturnPath(NamedTuple):
    """
    By which link of ours and from which outer address a remote's answers come, since when, and when last; in seconds
    of the agent's clock.
    """

    link: str
    kind: LinkKind | None
    since_s: float
    last_s: float
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """
    What trials have shown: when a way was answered last, and by next-hop id how the remote sends to us. What must be
    true of all at once is shown by the last round alone, which was at `round_s`.

    It counts for one intent only: others may have been told of a new one first.
    """

    answered: Mapping[ProbedPath, float]
    seen: Mapping[int, ReturnPath]
    round_s: float = 0.0


NO_RESULTS: Final = ProbeResults({}, {})


class PendingMember(NamedTuple):
    """
    A member that the switch waits for: `link` is still used towards it, or by it. `accepts` is what it, or the file,
    says that it accepts, where that is not what is wanted.
    """

    member: str
    link: str
    wanted: str
    accepts: AcceptedTunnels | None = None


@dataclass(frozen=True, slots=True)
class MigrationStep:
    """
    A step of a switch.

    Attributes:
        desired: what should be for now.
        flips: members to whom the new way is not proven yet.
        drains: members that are not known to have left a link that is to go.
        trials: what would show it.
    """

    desired: Desired
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()
    probes: tuple[Probe, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether what should be for now is what should be."""
        return not self.cutovers and not self.drains


def with_replies(
    evidence: ProbeResults, answers: Iterable[ProbeReply], observed: Dataplane, at_s: float
) -> ProbeResults:
    """The evidence with these answers; what is too old to count is forgotten."""
    answered = {way: last_s for way, last_s in evidence.answered.items() if at_s - last_s <= REPLY_VALID_S}
    seen = {number: item for number, item in evidence.seen.items() if at_s - item.last_s <= REPLY_VALID_S}
    for trial, link, source in answers:
        answered[trial.way] = at_s
        if trial.source != trial.local:
            now = ReturnPath(link, kind_of(observed, link), at_s, at_s, source)
            known = seen.get(trial.hop.id, now)
            is_same = known._replace(since_s=at_s, last_s=at_s) == now
            seen[trial.hop.id] = now._replace(since_s=known.since_s) if is_same else now
    return ProbeResults(answered, seen, at_s)


def kind_of(dataplane: Dataplane, link: str) -> LinkKind | None:
    """What the link is; None if there is none of the name."""
    found = dataplane.link(link)
    return found.kind if found else None


def next_step(
    desired: Desired,
    observed: Dataplane,
    intent: Intent,
    node: Node,
    evidence: ProbeResults,
    at_s: float,
    said: AdvertisedTunnels = nothing_advertised,
) -> MigrationStep:
    """
    What should be for now on the way from `observed` to `desired`; `said` has what members say that they accept.

    Only ways to members of the cluster are held back; whoever else is a next hop cannot be asked.
    """
    scene = _Scene(desired, observed, intent, node, evidence, at_s, said)
    guard = scene.guard()
    held = scene.held(guard)
    leaving = {link.name for link in observed.links if link.owned and desired.dataplane.link(link.name) is None}
    orphans = scene.orphans() if leaving else frozenset[Route]()
    drains = tuple(waiting for link in sorted(leaving) for waiting in scene.drains(link, held, orphans))
    staying = leaving & {waiting.link for waiting in drains}
    if not held and not staying and not guard.kept:
        return MigrationStep(desired)
    wanted = {hop.id: hop for hop in desired.dataplane.next_hops}
    flips = (scene.flip(hop, wanted[hop.id]) for hop in held)
    tried = dict.fromkeys((*(wanted[hop.id] for hop in held), *guard.asked))
    ahead = [scene.trial(hop, from_block=False) for hop in tried]
    back = [scene.trial(hop, from_block=True) for hop in sorted(scene.slots)] if staying or guard.drains else []
    return MigrationStep(
        _with(desired, (*scene.kept(held, staying, orphans), *guard.kept)),
        (*flips, *guard.cutovers),
        (*drains, *guard.drains),
        tuple(trial for trial in (*ahead, *back) if trial),
    )


class _Guard(NamedTuple):
    """
    What IP in IP lets in for now, and from which address it sends, where that is not what is wanted yet; next hops
    whose remotes have to let in the wanted address first; who is waited for.
    """

    kept: tuple[Decap, ...] = ()
    asked: tuple[NextHop, ...] = ()
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()


@dataclass(frozen=True)
class _Scene:
    """What one decision is made from: the arguments of `hold`."""

    desired: Desired
    observed: Dataplane
    intent: Intent
    node: Node
    probe_results: ProbeResults
    at_s: float
    said: AdvertisedTunnels

    @cached_property
    def _others(self) -> list[Node]:
        return [other for other in self.intent.nodes if other.name != self.node.name]

    @cached_property
    def members(self) -> dict[Address, Node]:
        return {
            own.address: other
            for other in self._others
            for version in _VERSIONS
            if (own := other.underlay(version)) is not None
        }

    @cached_property
    def homes(self) -> Mapping[Prefix, str]:
        return {
            prefix: other.name
            for other in self._others
            for prefix in (*other.blocks, *tunnel_addresses.borrowed(self.intent, other))
        }

    @cached_property
    def slots(self) -> frozenset[NextHop]:
        """The wanted next hops that lead to members."""
        return frozenset(hop for hop in self.desired.dataplane.next_hops if self.remote_of(hop) in self.members)

    def remote_of(self, hop: NextHop) -> Address | None:
        why = self.desired.reasons.get(key_of(hop))
        return why.remote if why else hop.gateway

    def member_of(self, hop: NextHop) -> str:
        remote = self.remote_of(hop)
        return self.members[remote].name if remote in self.members else str(remote)

    def held(self, guard: _Guard) -> tuple[NextHop, ...]:
        """
        Our next hops as they are that have to stay so for now: their members did not answer by the wanted link, or
        what goes by it does not come from the wanted address yet.
        """
        waiting = {decap.link for decap in guard.kept if guard.cutovers}
        wanted = {hop.id: hop for hop in self.slots}
        return tuple(
            hop
            for hop in sorted(self.observed.next_hops, key=lambda hop: hop.id)
            if hop.protocol == PROTOCOL and hop.id in wanted
            if hop.link != wanted[hop.id].link
            if wanted[hop.id].link in waiting
            or not self._is_answered(wanted[hop.id])
            or self._refused(wanted[hop.id]) is not None
        )

    def flip(self, present: NextHop, wanted: NextHop) -> PendingMember:
        return PendingMember(self.member_of(wanted), present.link, wanted.link, self._refused(wanted))

    def _refused(self, wanted: NextHop) -> AcceptedTunnels | None:
        encapsulation, remote = self.desired.reasons[key_of(wanted)].encapsulation, self.remote_of(wanted)
        if remote is None or encapsulation is None or encapsulation is Encapsulation.DIRECT:
            return None
        return objection(self.members[remote], encapsulation, self.said, remote.version)

    def _is_answered(self, wanted: NextHop, *, at_once: bool = False) -> bool:
        """Whether packets by this way arrive; `at_once`: together with those by others."""
        trial = self.trial(wanted, from_block=False)
        answered_s = self.probe_results.answered.get(trial.way) if trial else None
        if answered_s is None or self.at_s - answered_s > REPLY_VALID_S:
            return False
        return not at_once or answered_s == self.probe_results.round_s

    def orphans(self) -> frozenset[Route]:
        """
        Our routes to prefixes that members still have, but that nobody tells us of any more, or not yet: while a
        device is to go, what is learned changes from the registry to BGP or back.
        """
        wanted = {key_of(route) for route in self.desired.dataplane.routes}
        return frozenset(
            route
            for route in self.observed.routes
            if route.protocol == PROTOCOL
            and route.next_hop
            and route.prefix in self.homes
            and key_of(route) not in wanted
        )

    def drains(self, link: str, held: Iterable[NextHop], orphans: Iterable[Route]) -> Iterator[PendingMember]:
        """Who still uses a link that is to go, or may."""
        for name in sorted({self.homes[route.prefix] for route in orphans}):
            yield PendingMember(name, link, "")
        for hop in held:
            if hop.link == link:
                yield PendingMember(self.member_of(hop), link, "")
        for hop in sorted(self.slots):
            if self._may_send(hop, lambda seen: seen.link == link):
                yield PendingMember(self.member_of(hop), link, hop.link)

    def _may_send(self, hop: NextHop, is_former: Callable[[ReturnPath], bool]) -> bool:
        """Whether the member may still send to our blocks of this pool as it did; without blocks it does not."""
        seen = self.probe_results.seen.get(hop.id)
        if self._own_block(hop) is None:
            return False
        if seen is None or self.at_s - seen.last_s > REPLY_VALID_S or is_former(seen):
            return True
        if kind_of(self.observed, seen.link) != seen.kind:
            return True
        return seen.last_s - seen.since_s < DRAIN_S

    def guard(self) -> _Guard:
        """
        A node's address on the underlay changes: it sends from the former one until all let in the new one, and they
        let in the former one until it is seen to send from another. With the ipip module the kernel alone decides
        from which it sends.
        """
        wanted, present = _only(self.desired.dataplane.decaps), _only(self.observed.decaps)
        if wanted is None or present is None or wanted[:2] != present[:2]:
            return _Guard()
        former = [source for source in present.sources if source not in wanted.sources]
        asked, unproven = self._senders(wanted) if present.local in wanted.also else ((), ())
        drains = tuple(waiting for source in former for waiting in self._may_send_from(source, wanted.link))
        local = present.local if unproven else wanted.local
        kept = wanted._replace(
            local=local,
            also=tuple(address for address in wanted.own if address != local),
            sources=tuple(sorted({*wanted.sources, *(source for source in former if drains)})),
        )
        link, new = f"{wanted.link} from {present.local}", f"{wanted.link} from {wanted.local}"
        flips = tuple(PendingMember(self.member_of(hop), link, new) for hop in unproven)
        return _Guard((kept,) if kept != wanted else (), asked if unproven else (), flips, drains)

    def _senders(self, decap: Decap) -> tuple[tuple[NextHop, ...], tuple[NextHop, ...]]:
        """
        The next hops whose remotes can be asked whether they let in another sender; those that stand in its way. Of
        one that is to lead elsewhere, or that nobody tells us of, nothing can be proven: it goes first.
        """
        wanted = {hop.id for hop in self.desired.dataplane.next_hops if hop.link == decap.link}
        users = [hop for hop in self.observed.next_hops if hop.link == decap.link and hop.protocol == PROTOCOL]
        numbers = {hop.id for hop in users}
        asked = tuple(hop for hop in sorted(self.slots) if hop.link == decap.link and hop.id in numbers)
        going = (hop for hop in sorted(users) if hop.id not in wanted)
        return asked, (*going, *(hop for hop in asked if not self._is_answered(hop, at_once=True)))

    def _may_send_from(self, source: Address, link: str) -> Iterator[PendingMember]:
        """Who may still send from this address; of whom nobody tells us anything, nothing is known."""
        heard = {self.members[remote].name for hop in self.slots if (remote := self.remote_of(hop))}
        unheard = {node.name for node in self.members.values() if node.blocks and self.node.blocks} - heard
        sending = {self.member_of(hop) for hop in self.slots if self._may_send(hop, lambda seen: seen.source == source)}
        for name in sorted(unheard | sending):
            yield PendingMember(name, f"source {source} of {link}", "")

    def kept(self, held: Iterable[NextHop], staying: set[str], orphans: Iterable[Route]) -> Iterator[KernelObject]:
        """What is there and has to stay for now."""
        now = self.observed
        used = {route.next_hop for route in orphans} if staying else set()
        groups = [group for group in now.groups if group.id in used]
        used |= {member for group in groups for member in group.members}
        yield from held
        yield from groups
        yield from (hop for hop in now.next_hops if hop.id in used and hop.protocol == PROTOCOL)
        yield from orphans if staying else ()
        for kind in (now.links, now.addresses, now.decaps, now.fdb, now.neighbours):
            yield from (thing for thing in kind if _link_of(thing) in staying)

    def trial(self, hop: NextHop, *, from_block: bool) -> Probe | None:
        """What would show something about the way; None where nothing can: no block to ask from, or no frame."""
        why = self.desired.reasons[key_of(hop)]
        remote, encapsulation = self.remote_of(hop), why.encapsulation
        if remote is None or encapsulation is None:
            return None
        own = self.node.underlay(remote.version)
        source = self._own_block(hop) if from_block else (own.address if own else None)
        target = self._target(hop, remote, encapsulation)
        frame = self._frame(hop) if encapsulation is Encapsulation.VXLAN else None
        if own is None or source is None or target is None or (encapsulation is Encapsulation.VXLAN and not frame):
            return None
        return Probe(hop, encapsulation, own.address, remote, source, target, frame)

    def _target(self, hop: NextHop, remote: Address, encapsulation: Encapsulation) -> Address | None:
        """
        An address that the remote answers for. Without encapsulation the underlay between two subnets has to know
        the pool itself, so there it is one of the pool's.
        """
        if encapsulation is not Encapsulation.DIRECT or hop.gateway == remote:
            return remote
        return self._first_of(self.members[remote], hop)

    def _own_block(self, hop: NextHop) -> Address | None:
        return self._first_of(self.node, hop)

    def _first_of(self, node: Node, hop: NextHop) -> Address | None:
        name = self.desired.reasons[key_of(hop)].pool
        pool = next((pool for pool in self.intent.pools if pool.name == name), None)
        return next((block.first for block in node.blocks if pool and pool.cidr.covers(block)), None)

    @cached_property
    def _macs(self) -> Mapping[tuple[str, Address | None], Mac]:
        return {(entry.link, entry.address): entry.mac for entry in self.desired.dataplane.neighbours}

    def _frame(self, hop: NextHop) -> Frame | None:
        plane = self.desired.dataplane
        link = plane.link(hop.link)
        destination = self._macs.get((hop.link, hop.gateway))
        if link is None or link.mac is None or destination is None or not isinstance(link.kind, Vxlan):
            return None
        return Frame(link.kind.vni, link.kind.port, link.mac, destination)


def _only(decaps: Collection[Decap]) -> Decap | None:
    return next(iter(decaps)) if len(decaps) == 1 else None


def _link_of(thing: KernelObject) -> str | None:
    return thing.name if isinstance(thing, Link) else getattr(thing, "link", None)


def _with(desired: Desired, kept: Iterable[KernelObject]) -> Desired:
    """Of two objects with one key the kept one counts, and nothing that leads by it has its new reason yet."""
    why = dict(desired.reasons)
    kinds: dict[str, dict[Key, KernelObject]] = {
        kind: {key_of(thing): thing for thing in getattr(desired.dataplane, kind)} for kind in DATAPLANE_FIELDS
    }
    held: set[int] = set()
    for thing in kept:
        kinds[KIND_OF[type(thing)]][key_of(thing)] = thing
        why[key_of(thing)] = replace(why.get(key_of(thing), _KEPT_REASON), code=ReasonCode.KEPT)
        held |= {thing.id} if isinstance(thing, NextHop | NextHopGroup) else set()
    for route in desired.dataplane.routes:
        if route.next_hop in held:
            why[key_of(route)] = replace(why[key_of(route)], code=ReasonCode.KEPT)
    plane = Dataplane(**{kind: frozenset(things.values()) for kind, things in kinds.items()})  # type: ignore[arg-type]
    return replace(desired, dataplane=plane, reasons=why)
