"""
From the known facts to the desired state.

A prefix from BGP or from the list of members has a next-hop set (desired.py); what a pool needs from its encapsulation
is requested through `protocol.py`. So this file is the same for every encapsulation.

The desired state is derived in stages, each a pure function of the input that its NamedTuple names. A stage whose input
is the very same objects as in the derivation `before` is taken over from there, and in a table of prefixes only those
are derived whose value is another object (net/table.py). So the result is that of a whole derivation, at the cost of
the difference.

1. *Learned*: the next-hop set of each prefix from BGP.
2. *By members*: the next-hop set of each prefix from the list of members.
3. *In use*: the next-hop sets, and how many prefixes have each.
4. *Resolution*: their next hops and groups (next_hops.py).
5. *Routes*: one to each prefix whose next-hop set is resolved.

*Base* is all else: this node's own blocks, its tunnels, its settings, and the entries of its tunnels (entries.py).

Where only some nodes of the intent are others than before (`changed`), what follows from each of the others alone is
taken over as well.

Refuses to know: which encapsulations there are, the objects of ours in the kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Final, NamedTuple

from bgpctl.core.bgp.decision import Choice
from bgpctl.core.bgp.possible_sources import PossibleSources
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.intent import Intent, changed_nodes
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode, Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric import members, nat, next_hops, service_addresses, workloads
from bgpctl.core.fabric.desired import Desired, NextHopSet, Reasoned, Reasons, gather
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.fabric.entries import Devices, Entries, EntriesInput, entries
from bgpctl.core.fabric.facts import Underlay, smallest_mtu_bytes, underlay_of
from bgpctl.core.fabric.next_hops import Resolution, ResolutionInput
from bgpctl.core.fabric.path_mtu import NO_PATH_MTUS, PathMtus
from bgpctl.core.fabric.protocol import Site
from bgpctl.core.fabric.return_path import strict_links
from bgpctl.core.fabric.senders import SendersInput, ours, senders
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane, surroundings
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.objects import Key, NextHop, Route, RouteType, Sysctl
from bgpctl.core.net.replacing import replace
from bgpctl.core.net.route_set import RouteSet
from bgpctl.core.net.table import Mapped, Table, is_same

_FORWARDING: Final = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_FORWARDED: Final = Reason(ReasonCode.FORWARDING)


class Question(NamedTuple):
    """
    All that is derived from.

    Attributes:
        node: whose kernel it is about.
        names: of each BGP peer, for the reasons.
        best: the best path of each prefix that policy let in.
        foreign: of this node's kernel what is not ours, and all links and addresses (net/dataplane.py: surroundings).
        prune_holds: sources that are incomplete.
        withdrawn: prefixes that their source has withdrawn.
        sources: of which prefixes the incomplete ones may still be one; None: of any.
        path_mtus: what is known of the sizes that pass.
    """

    intent: Intent
    node: Node
    names: Mapping[Address, str]
    best: Table[Choice]
    foreign: Dataplane
    prune_holds: tuple[PruneHold, ...] = ()
    withdrawn: frozenset[Prefix] = frozenset()
    sources: PossibleSources | None = None
    path_mtus: PathMtus = NO_PATH_MTUS


class BaseInput(NamedTuple):
    """All that the base depends on."""

    intent: Intent
    node: Node
    foreign: Dataplane


class Base(NamedTuple):
    """
    Everything but what leads to other nodes' prefixes.

    Attributes:
        entries: of the tunnel devices for each other member; a part of `dataplane`, with reasons of their own.
        versions: IP versions of which the node's address is found.
        unknown: the node's addresses that are on no link.
        strict: links whose reverse-path filter drops answers to this node.
    """

    made_from: BaseInput
    site: Site
    entries: Entries
    versions: tuple[int, ...]
    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    unknown: tuple[str, ...]
    strict: tuple[str, ...]


class LearnedInput(NamedTuple):
    """All that the next-hop sets from BGP depend on."""

    pools: tuple[Pool, ...]
    versions: tuple[int, ...]
    names: Mapping[Address, str]
    best: Table[Choice]


class Learned(NamedTuple):
    """The next-hop sets of the prefixes from BGP."""

    made_from: LearnedInput
    hop_sets: Table[NextHopSet]


class MembersInput(NamedTuple):
    """All that the next-hop sets from the list of members depend on."""

    intent: Intent
    node: Node
    versions: tuple[int, ...]


class ByMembers(NamedTuple):
    """
    The next-hop sets of the prefixes from the list of members.

    Attributes:
        found: of each member that has prefixes, their next-hop sets, or why one has none.
        is_distinct: no two members have the same prefix.
    """

    made_from: MembersInput
    found: Mapping[str, tuple[members.Found, ...]]
    hop_sets: Table[NextHopSet]
    unmet: tuple[Unmet, ...]
    is_distinct: bool


class HopSets(NamedTuple):
    """The next-hop sets of all prefixes; none is in both tables, because a pool decides."""

    learned: Table[NextHopSet]
    by_members: Table[NextHopSet]


class NextHopSetsInUse(NamedTuple):
    """The next-hop sets, with how many prefixes have each; the object `hop_sets` stays while its members do."""

    made_from: HopSets
    counts: Mapping[NextHopSet, int]
    hop_sets: frozenset[NextHopSet]


class Routes(NamedTuple):
    """
    The node's own routes, and one to each other prefix whose next-hop set is resolved. `limits`: the MTU in bytes of
    those by a path that is narrower than its link.
    """

    own: RouteSet
    hop_sets: HopSets
    resolution: Resolution
    limits: Mapping[NextHopSet, int]
    routes: RouteSet


class Derivation(NamedTuple):
    """The result, and all stages that it follows from."""

    made_from: Question
    base: Base
    learned: Learned
    by_members: ByMembers
    in_use: NextHopSetsInUse
    resolution: Resolution
    routes: Routes
    desired: Desired


def derive(
    intent: Intent,
    node: Node,
    names: Mapping[Address, str],
    choices: Iterable[Choice],
    observed: Dataplane,
    prune_holds: Iterable[PruneHold] = (),
) -> Desired:
    """
    The objects that should be in the kernel of `node`.

    `names` has the name of each BGP peer, for the reasons; `choices` the best path of each prefix that policy let
    in. Of `observed`, this node's kernel, only objects that are not ours are used, and the names of our tunnels.
    """
    best = Table.of((choice.best.path.prefix, choice) for choice in choices)
    foreign = surroundings(observed).foreign
    return derived(Question(intent, node, names, best, foreign, tuple(prune_holds))).desired


def derived(question: Question, before: Derivation | None = None) -> Derivation:
    """The objects that should be in the kernel; what the derivation `before` has of it is taken over."""
    if before and is_same(before.made_from, question):
        return before
    changed = changed_nodes(question.intent, before.base.made_from.intent) if before else None
    base = _base(BaseInput(question.intent, question.node, question.foreign), before.base if before else None, changed)
    learned = _learned(
        LearnedInput(question.intent.pools, base.versions, question.names, question.best),
        before.learned if before else None,
    )
    by_members = _by_members(
        MembersInput(question.intent, question.node, base.versions), before.by_members if before else None, changed
    )
    tables = HopSets(learned.hop_sets, by_members.hop_sets)
    in_use = _in_use(tables, before.in_use if before else None)
    resolution = next_hops.resolved(
        ResolutionInput(base.site, in_use.hop_sets), before.resolution if before else None, changed
    )
    limits = question.path_mtus.limits(resolution)
    routes = _routes(base.dataplane.route_set, tables, resolution, limits, before.routes if before else None)
    desired = _desired(question, base, by_members, routes)
    if before:
        dataplane = desired.dataplane.sharing(before.desired.dataplane)
        desired = replace(desired, dataplane=dataplane)
    return Derivation(question, base, learned, by_members, in_use, resolution, routes, desired)


# Base ----------------------------------------------------------------------------------------------------------


def _base(read: BaseInput, before: Base | None, changed: frozenset[str] | None) -> Base:
    if before and is_same(before.made_from, read):
        return before
    intent, node, foreign = read
    own = [address for version in _versions(intent, node) if (address := node.underlay(version))]
    underlays = {item.version: item for address in own if (item := underlay_of(foreign, address))}
    others = senders(SendersInput(intent, node, ours(intent, node)), before.site.senders if before else None, changed)
    site = Site(intent, node, foreign, underlays, _link_names(intent, underlays, foreign), others)
    devices = tuple(_devices(site))
    of_members = entries(
        EntriesInput(intent, node, foreign, tuple(underlays.values()), devices),
        before.entries if before else None,
        changed,
    )
    wanted = chain(
        _local(intent, node, own),
        _heeding_routers(underlays, foreign),
        nat.masquerade(intent, underlays),
        workloads.workload_filter(intent, foreign),
        service_addresses.instances(intent, node, foreign),
        _tunnels(site, of_members, devices),
    )
    found = gather(wanted, (), ())
    unknown = tuple(str(address.address) for address in own if address.address.version not in underlays)
    dataplane, reasons, versions = found.dataplane.plus_all(of_members.dataplane), found.reasons, tuple(underlays)
    if before:
        dataplane = dataplane.sharing(before.dataplane)
        reasons = before.reasons if reasons == before.reasons else reasons
    return Base(read, site, of_members, versions, dataplane, reasons, unknown, tuple(strict_links(site)))


def _link_names(intent: Intent, underlays: Iterable[int], observed: Dataplane) -> Mapping[tuple[str, int], str]:
    return {
        (name, version): item.link_name(intent, version, observed)
        for name, item in BEHAVIOURS.items()
        for version in underlays
        if item.link_names(version)
    }


def _versions(intent: Intent, node: Node) -> list[int]:
    """The IP versions that the cluster routes, and the one that others know the node by."""
    return sorted({node.address.address.version, *(pool.cidr.version for pool in intent.pools)})


def _local(intent: Intent, node: Node, own: Iterable[InterfaceAddress]) -> Iterator[Reasoned]:
    for address in own:
        yield Sysctl(_FORWARDING[address.address.version], "1"), _FORWARDED
    for block in intent.blocks_of(node):
        # Unassigned addresses of an own block must not follow the default route. A host prefix is the workload itself.
        if block.size > 1:
            yield Route(block, RouteType.BLACKHOLE), Reason(ReasonCode.OWN_BLOCK, source=node.name)


def _heeding_routers(underlays: Mapping[int, Underlay], observed: Dataplane) -> Iterator[Reasoned]:
    """
    A host that begins to forward IPv6 drops the default route that a router advertised, and heeds advertisements no
    more, unless accept_ra is 2. Where it is 0 the operator does without.
    """
    if 6 in underlays:
        name = f"net/ipv6/conf/{underlays[6].link}/accept_ra"
        if not observed.sysctls.isdisjoint({Sysctl(name, "1"), Sysctl(name, "2")}):
            yield Sysctl(name, "2"), _FORWARDED


def _devices(site: Site) -> Iterator[tuple[str, int, str]]:
    """Where a pool uses an encapsulation, every node receives it."""
    used = {(pool.encapsulation.name, pool.cidr.version) for pool in site.intent.pools}
    for version in site.underlays:
        for name in BEHAVIOURS:
            if (name, version) in used:
                yield name, version, site.links.get((name, version), "")


def _tunnels(site: Site, of_members: Entries, devices: Devices) -> Iterator[Reasoned]:
    for name, version, _ in devices:
        underlay = site.underlays[version]
        mtu_bytes = smallest_mtu_bytes(site.observed, underlay, of_members.outer_links(version))
        yield from BEHAVIOURS[name].objects(site, replace(underlay, mtu_bytes=mtu_bytes))


# Next-hop sets -------------------------------------------------------------------------------------------------


def _learned(read: LearnedInput, before: Learned | None) -> Learned:
    pools = LongestMatch((pool.cidr, pool) for pool in read.pools)

    shared: dict[NextHopSet, NextHopSet] = {}

    def hop_set(prefix: Prefix, choice: Choice) -> NextHopSet | None:
        # A filter may let in what is in no pool.
        pool = pools.covering(prefix) or next_hops.outside(prefix.version)
        found = _hop_set(read, choice, pool.cidr) if pool.by_bgp and prefix.version in read.versions else None
        return shared.setdefault(found, found) if found else None

    is_known = before and is_same(before.made_from, read, but="best")
    taken_over = Mapped(before.made_from.best, before.hop_sets) if before and is_known else None
    return Learned(read, read.best.mapped(hop_set, taken_over))


def _hop_set(read: LearnedInput, choice: Choice, pool: Prefix) -> NextHopSet | None:
    remote, peer = choice.best.path.next_hop, choice.best.peer
    if not remote:
        return None
    others = {also.path.next_hop for also in choice.also} - {None, remote} if choice.also else ()
    also = tuple(sorted(other for other in others if other and other.version == remote.version))
    return NextHopSet(pool, remote, read.names.get(peer, str(peer)), also)


def _by_members(read: MembersInput, before: ByMembers | None, changed: frozenset[str] | None) -> ByMembers:
    if before and is_same(before.made_from, read):
        return before
    known = before if before and before.is_distinct and is_same(before.made_from, read, but="intent") else None
    edited = _edited_members(read, known, changed) if known and changed is not None else None
    return edited or _all_members(read)


def _all_members(read: MembersInput) -> ByMembers:
    found = members.remote_prefixes(read.intent, read.node, read.versions, read.intent.nodes)
    hop_sets = Table.of(_hop_sets(found))
    count = sum(1 for _ in _hop_sets(found))
    return ByMembers(read, found, hop_sets, members.unmet(found, read.versions), count == len(hop_sets))


def _edited_members(read: MembersInput, before: ByMembers, changed: Iterable[str]) -> ByMembers | None:
    """None if two members have the same prefix."""
    nodes = [node for name in changed if (node := read.intent.node(name))]
    old = {name: before.found[name] for name in changed if name in before.found}
    new = members.remote_prefixes(read.intent, read.node, read.versions, nodes)
    gone, come = dict(_hop_sets(old)), dict(_hop_sets(new))
    same = {prefix: gone[prefix] for prefix, hop_set in come.items() if gone.get(prefix) == hop_set}
    hop_sets = before.hop_sets.changed({**come, **same}, gone.keys() - come.keys())
    if len(hop_sets) != len(before.hop_sets) - len(gone) + sum(1 for _ in _hop_sets(new)):
        return None
    found = {**before.found, **new}
    for name in old.keys() - new.keys():
        del found[name]
    has_unmet = before.unmet or len(come) < sum(map(len, new.values()))
    return ByMembers(read, found, hop_sets, members.unmet(found, read.versions) if has_unmet else (), is_distinct=True)


def _hop_sets(found: Mapping[str, Iterable[members.Found]]) -> Iterator[tuple[Prefix, NextHopSet]]:
    return (
        (prefix, hop_set)
        for of_member in found.values()
        for prefix, hop_set in of_member
        if isinstance(hop_set, NextHopSet)
    )


def _in_use(tables: HopSets, before: NextHopSetsInUse | None) -> NextHopSetsInUse:
    if before is None:
        counts = Counter(chain.from_iterable(table.values() for table in tables))
        return NextHopSetsInUse(tables, counts, frozenset(counts))
    changes = Counter[NextHopSet]()
    for old, new in zip(before.made_from, tables, strict=True):
        for _, was, now in new.differences(old):
            if now:
                changes[now] += 1
            if was:
                changes[was] -= 1
    updated = {**before.counts}
    appeared, vanished = set[NextHopSet](), set[NextHopSet]()
    for hop_set, change in changes.items():
        count = before.counts.get(hop_set, 0) + change
        if count:
            updated[hop_set] = count
            appeared |= set() if hop_set in before.counts else {hop_set}
        else:
            updated.pop(hop_set, None)
            vanished |= {hop_set} if hop_set in before.counts else set()
    hop_sets = (before.hop_sets - vanished) | appeared if appeared or vanished else before.hop_sets
    return NextHopSetsInUse(tables, updated, hop_sets)


# Routes --------------------------------------------------------------------------------------------------------


def _routes(
    own: RouteSet,
    tables: HopSets,
    resolution: Resolution,
    limits: Mapping[NextHopSet, int],
    before: Routes | None,
) -> Routes:
    if before is None or limits != before.limits or _leads_elsewhere(before.resolution, resolution):
        return Routes(own, tables, resolution, limits, RouteSet.of((*own, *_all_routes(tables, resolution, limits))))
    new, gone = [*(own - before.own)], [*(before.own - own)]
    for old, now in zip(before.hop_sets, tables, strict=True):
        differences = list(now.differences(old))
        put = ((prefix, hop_set) for prefix, _, hop_set in differences if hop_set)
        left = ((prefix, hop_set) for prefix, hop_set, _ in differences if hop_set)
        new += _routes_to(put, resolution, limits)
        gone += _routes_to(left, before.resolution, limits)
    return Routes(own, tables, resolution, limits, before.routes.changed(new, gone))


def _leads_elsewhere(before: Resolution, now: Resolution) -> bool:
    """True if a next-hop set that was in use before has another id now, or has one for the first time, or none."""
    if before.outs is now.outs:
        return False
    if now.moved is not None:
        return now.moved
    numbers = {hop_set: out.next_hop for hop_set, out in now.outs.items()}
    known = {hop_set: out.next_hop for hop_set, out in before.outs.items()}
    return any(
        numbers.get(hop_set) != known.get(hop_set) for hop_set in before.made_from.hop_sets & now.made_from.hop_sets
    )


def _all_routes(
    tables: Iterable[Table[NextHopSet]], resolution: Resolution, limits: Mapping[NextHopSet, int]
) -> Iterator[Route]:
    return chain.from_iterable(_routes_to(table.items(), resolution, limits) for table in tables)


def _routes_to(
    hop_sets: Iterable[tuple[Prefix, NextHopSet]], resolution: Resolution, limits: Mapping[NextHopSet, int]
) -> Iterator[Route]:
    outs = resolution.outs
    for prefix, hop_set in hop_sets:
        out = outs.get(hop_set)
        if out:
            yield Route(prefix, next_hop=out.next_hop, mtu_bytes=limits.get(hop_set, 0) if limits else 0)


# The result ----------------------------------------------------------------------------------------------------


def _desired(question: Question, base: Base, by_members: ByMembers, routes: Routes) -> Desired:
    """All together, which compares and copies nothing."""
    resolution = routes.resolution
    dataplane = replace(
        base.dataplane,
        next_hops=_all_hops(base.dataplane, resolution.dataplane),
        groups=resolution.dataplane.groups,
        routes=routes.routes,
    )
    holds = (PruneHold(PruneHoldCode.FACTS_UNKNOWN, subject) for subject in base.unknown)
    strict = (Unmet(UnmetCode.STRICT_REVERSE_PATH, link) for link in base.strict)
    missing = (Unmet(UnmetCode.UNDERLAY_UNKNOWN, subject) for subject in base.unknown)
    return Desired(
        dataplane,
        Reasons((base.reasons, base.entries.reasons, resolution.reasons), _reason_of_route(routes), routes.routes),
        (*by_members.unmet, *resolution.unmet, *missing, *strict),
        (*question.prune_holds, *holds),
        question.withdrawn,
        None if base.unknown else question.sources,
    )


def _all_hops(own: Dataplane, remote: Dataplane) -> AbstractSet[NextHop]:
    """Next hops to workloads too, of which there are few, if any."""
    return own.next_hops | remote.next_hops if own.next_hops else remote.next_hops


def _reason_of_route(routes: Routes) -> Callable[[Prefix], Reason | None]:
    outs = routes.resolution.outs
    tables = [table for table in routes.hop_sets if table]

    def reason(prefix: Prefix) -> Reason | None:
        for table in tables:
            hop_set = table.get(prefix)
            if hop_set is not None and (out := outs.get(hop_set)):
                return out.why
        return None

    return reason
