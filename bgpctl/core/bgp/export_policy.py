"""
Routes for each peer, as a value: the Adj-RIB-Out that should be.

The order is Calico's: what BGP itself forbids, the export filters, then whatever lies in a pool that is exported, and
the addresses of services.

Refuses to know: the routes announced already (adj_rib_out.py), how a command is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from bgpctl.core.bgp import encap_community, filters, roles
from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.filters import NORMAL_LOCAL_PREF, Subject
from bgpctl.core.bgp.import_policy import GRACEFUL_SHUTDOWN, Policy
from bgpctl.core.bgp.path import Attributes
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.sessions import router_id
from bgpctl.core.bgp.wire.encode import Room, fits
from bgpctl.core.cluster.configuration import Community, NextHopMode, Service
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.table import Mapped, Table, is_same

# RFC 1997.
_NO_EXPORT: Final = (65535, 65281)
_NO_ADVERTISE: Final = (65535, 65282)
_NO_EXPORT_SUBCONFED: Final = (65535, 65283)


_ROOM: Final = Room()


class Announceable(NamedTuple):
    """The best paths that are announced, and of them those from external peers, of these choices."""

    choices: Table[Choice]
    best: Table[Candidate]
    external: Table[Candidate]


def announceable(choices: Table[Choice], before: Announceable | None = None) -> Announceable:
    """RFC 4271, section 9.1.2: a path whose next hop does not resolve is not a route, so it is not announced."""
    if before and choices is before.choices:
        return before
    best = choices.mapped(_resolved, Mapped(before.choices, before.best) if before else None)
    return Announceable(choices, best, best.mapped(_external, Mapped(before.best, before.external) if before else None))


def _resolved(_: Prefix, choice: Choice) -> Candidate | None:
    return None if choice.best.cost is None else choice.best


def _external(_: Prefix, candidate: Candidate) -> Candidate | None:
    return None if candidate.internal else candidate


class ExportInput:
    """
    The input of the export policy.

    Args:
        paths: the best path of each learned prefix.
        link_of: the link that a learned prefix leaves by, for filters that match it. The same object as before only if
            it gives the same answers.
        draining: this node is in graceful shutdown (RFC 8326).
        accepts: the tunnels that this node accepts packets from now, by IP version.
        services: those of which this node's instance is well.
    """

    def __init__(
        self,
        policy: Policy,
        paths: Announceable,
        link_of: Callable[[Prefix], str | None],
        *,
        draining: bool,
        accepts: Mapping[int, Iterable[Encapsulation]],
        services: tuple[Service, ...] = (),
    ) -> None:
        self.policy = policy
        self.paths = paths
        self.link_of = link_of
        self.draining = draining
        self.services = services
        self.accepts = {version: encap_community.communities(tunnels) for version, tunnels in accepts.items()}
        self._changed: dict[tuple[int, int], Collection[Prefix]] = {}
        self._alike: dict[object, AlikeExports] = {}
        self._from: dict[int, Mapping[Address, list[Prefix]]] = {}

    def alike(self, read: PeerExportInput, session_policy: SessionPolicy) -> AlikeExports:
        """The routes for all peers that are like this one; found once, as a reflector has a hundred of them."""
        key = _likeness(read, session_policy)
        if key not in self._alike:
            self._alike[key] = AlikeExports(read, session_policy)
        return self._alike[key]

    def from_peer(self, paths: Table[Candidate], session_policy: SessionPolicy) -> list[Prefix]:
        """The prefixes that the peer has announced itself, here or to another reflector."""
        if id(paths) not in self._from:
            found: dict[Address, list[Prefix]] = {}
            for prefix, candidate in paths.items():
                for address in {candidate.peer, _originator(candidate)}:
                    found.setdefault(address, []).append(prefix)
            self._from[id(paths)] = found
        addresses = {session_policy.peer, _router_id(session_policy)}
        maybe = {prefix for address in addresses if address for prefix in self._from[id(paths)].get(address, ())}
        return [prefix for prefix in maybe if _is_from(paths[prefix], session_policy)]

    def changed(self, paths: Table[Candidate], before: Table[Candidate]) -> Collection[Prefix]:
        """Prefixes with another path than before; found once, as most peers had the same paths before."""
        pair = id(paths), id(before)
        if pair not in self._changed:
            self._changed[pair] = paths.changed_since(before)
        return self._changed[pair]


class PeerExportInput(NamedTuple):
    """All that one peer's routes depend on; no link where no filter of its asks for one."""

    policy: Policy
    link_of: Callable[[Prefix], str | None] | None
    draining: bool
    extended: tuple[int, ...]
    paths: Table[Candidate]
    room: Room
    services: tuple[Service, ...] = ()


class PeerExports(NamedTuple):
    """One peer's routes, all that they follow from, and prefixes whose attributes its messages have no room for."""

    made_from: PeerExportInput
    own: Mapping[Prefix, Attributes]
    routes: Table[Attributes]
    too_large: frozenset[Prefix] = frozenset()


class AlikeExports:
    """
    The routes for all peers that are alike (`_likeness`), but for those that came from the peer itself. They are shared
    by the peers' tables.

    Args:
        read: of one of the peers.
        session_policy: of the same one.

    Attributes:
        too_large: of the prefixes that were asked for, those whose attributes have no room in a message.
    """

    def __init__(self, read: PeerExportInput, session_policy: SessionPolicy) -> None:
        self._read, self._session_policy = read, session_policy
        self._known: dict[Prefix, Attributes | None] = {}
        self._everything: Table[Attributes] | None = None
        self.too_large: set[Prefix] = set()

    def everything(self, paths: Table[Candidate]) -> Table[Attributes]:
        """Of all paths that the peers read."""
        if self._everything is None:
            self._everything = paths.mapped(self.attributes)
        return self._everything

    def attributes(self, prefix: Prefix, candidate: Candidate) -> Attributes | None:
        """A learned prefix's attributes; None where it is not announced."""
        if prefix not in self._known:
            found = _learned(self._read, self._session_policy, candidate)
            if found and not fits(found, prefix.version, self._read.room):
                self.too_large.add(prefix)
                found = None
            self._known[prefix] = found
        return self._known[prefix]


def _likeness(read: PeerExportInput, session_policy: SessionPolicy) -> object:
    """
    All that the attributes of a learned route depend on, beside the route, and whether it came from the peer. All of
    `read` but the communities of own routes; policies share their filters.
    """
    session = session_policy.session
    return (
        *(id(read.policy), id(read.link_of), read.draining, id(read.paths), read.room),
        *(session.version, session.client, session.local_asn, session_policy.internal, session_policy.next_hop_mode),
        session.role,
        *map(id, session_policy.filters),
    )


def routes_for(
    export_input: ExportInput, session_policy: SessionPolicy, before: PeerExports | None = None, room: Room = _ROOM
) -> PeerExports:
    """
    The peer's routes: each prefix of its IP version with its attributes; `before`'s as far as nothing changed. A route
    that does not fit in one message is kept in, as by a policy (RFC 8654, section 4).
    """
    internal = session_policy.internal
    room = Room(room.message_bytes, room.four_octet, internal)
    passes_on = not internal or export_input.policy.cluster_id is not None
    read = PeerExportInput(
        export_input.policy,
        export_input.link_of if _minds_links(session_policy) else None,
        export_input.draining,
        export_input.accepts.get(session_policy.session.version, ()) if session_policy.member else (),
        export_input.paths.best if passes_on else export_input.paths.external,
        room,
        export_input.services,
    )
    known = before if before and is_same(before.made_from, read, but="paths") else None
    if known and known.made_from.paths is read.paths:
        return known
    every_own = known.own if known else dict(_own(read, session_policy))
    own = {prefix: attributes for prefix, attributes in every_own.items() if fits(attributes, prefix.version, room)}
    too_large = set(every_own.keys() - own.keys())
    alike = export_input.alike(read, session_policy)

    def route(prefix: Prefix, candidate: Candidate) -> Attributes | None:
        if prefix in own:
            return own[prefix]
        if _is_from(candidate, session_policy):
            return None
        found = alike.attributes(prefix, candidate)
        if prefix in alike.too_large:
            too_large.add(prefix)
        return found

    if known is None:
        everything = alike.everything(read.paths)
        gone = [prefix for prefix in export_input.from_peer(read.paths, session_policy) if prefix not in own]
        too_large.update(alike.too_large.difference(own, gone))
        return PeerExports(read, own, everything.changed(own, gone), frozenset(too_large))
    changed = export_input.changed(read.paths, known.made_from.paths)
    routes = read.paths.mapped(route, Mapped(known.made_from.paths, known.routes), changed)
    kept_in = known.too_large.difference(changed) | too_large if known.too_large or too_large else known.too_large
    return PeerExports(read, own, routes.changed(own), kept_in)


def _minds_links(session_policy: SessionPolicy) -> bool:
    rules = (rule for item in session_policy.filters for rule in (*item.export4, *item.export6))
    return any(rule.interface is not None for rule in rules)


def sources(policy: Policy, session_policy: SessionPolicy) -> Iterator[Address]:
    """
    Peers whose routes this one may know through us alone: their routes come before our End-of-RIB. Other nodes of
    the cluster have sessions of their own; nodes that wait for each other in a circle would wait in vain. What a former
    reflector still passes on is announced by others after a while.
    """
    for source in policy.session_policies.values():
        passed_on = _reflects(policy.ownership.node.cluster_id, source, session_policy)
        if source.peer != session_policy.peer and (source.member is None or passed_on):
            yield source.peer


def _own(read: PeerExportInput, session_policy: SessionPolicy) -> Iterator[tuple[Prefix, Attributes]]:
    # Calico's scale: a filter's priority would mean nothing beside BGP's default of 100.
    attributes = Attributes(local_pref=NORMAL_LOCAL_PREF if session_policy.internal else None, extended=read.extended)
    for prefix in read.policy.ownership.own:
        if prefix.version == session_policy.session.version:
            subject = Subject(prefix, attributes, learned=False, external=not session_policy.internal)
            found = _announced(read, session_policy, subject)
            if found is not None:
                yield prefix, found
    for service in read.services:
        if service.prefix.version == session_policy.session.version:
            marked = _with_communities(Attributes(local_pref=attributes.local_pref), service.communities)
            subject = Subject(service.prefix, marked, learned=False, external=not session_policy.internal)
            found = _announced(read, session_policy, subject)
            if found is not None:
                yield service.prefix, found


def _learned(read: PeerExportInput, session_policy: SessionPolicy, candidate: Candidate) -> Attributes | None:
    """A learned prefix's attributes for peers that it did not come from; None where it is not announced."""
    prefix = candidate.path.prefix
    source = read.policy.session_policies.get(candidate.peer)
    if source is None or prefix.version != session_policy.session.version:
        return None
    attributes = _passed_on(read.policy, source, session_policy, candidate)
    if attributes is None:
        return None
    link = read.link_of(prefix) if read.link_of else None
    subject = Subject(prefix, attributes, learned=True, external=not session_policy.internal, link=link)
    return _announced(read, session_policy, subject)


def _announced(read: PeerExportInput, session_policy: SessionPolicy, subject: Subject) -> Attributes | None:
    attributes = _filtered(read.policy.ownership, session_policy, subject)
    return None if attributes is None else _for_peer(read, session_policy, attributes, learned=subject.learned)


def _passed_on(
    policy: Policy, source: SessionPolicy, session_policy: SessionPolicy, candidate: Candidate
) -> Attributes | None:
    """The attributes towards the peer before policy, None where BGP itself forbids to advertise it."""
    path = candidate.path
    communities = set(path.communities)
    if _NO_ADVERTISE in communities:
        return None
    if not session_policy.internal:
        if {_NO_EXPORT, _NO_EXPORT_SUBCONFED} & communities:
            return None
        if roles.is_kept_in(session_policy.session.role, path.passed_on):
            return None
        hop = path.next_hop if session_policy.next_hop_mode is NextHopMode.KEEP else None
        extended = encap_community.transitive(path.extended)
        return Attributes(
            hop,
            path.as_path,
            communities=path.communities,
            origin=path.origin,
            extended=extended,
            passed_on=path.passed_on,
            partial=path.partial,
        )
    hop = None if session_policy.next_hop_mode is NextHopMode.SELF else path.next_hop
    attributes = Attributes(
        hop,
        path.as_path,
        path.local_pref,
        path.med,
        path.communities,
        origin=path.origin,
        extended=path.extended,
        passed_on=path.passed_on,
        partial=path.partial,
    )
    return _reflected(policy, source, session_policy, candidate, attributes) if source.internal else attributes


def _reflected(
    policy: Policy, source: SessionPolicy, session_policy: SessionPolicy, candidate: Candidate, attributes: Attributes
) -> Attributes | None:
    cluster_id = policy.cluster_id
    if cluster_id is None or not _reflects(cluster_id, source, session_policy):
        return None
    cluster_list = (cluster_id, *candidate.path.cluster_list)
    return replace(attributes, originator=_originator(candidate), cluster_list=cluster_list)


def _is_from(candidate: Candidate, session_policy: SessionPolicy) -> bool:
    """True if the peer announced it to us, or, inside the AS, to another reflector."""
    if candidate.peer == session_policy.peer:
        return True
    is_internal = candidate.internal and session_policy.internal
    return is_internal and _originator(candidate) == _router_id(session_policy)


def _originator(candidate: Candidate) -> Address:
    return candidate.path.originator or candidate.router_id or candidate.peer


def _router_id(session_policy: SessionPolicy) -> Address | None:
    return router_id(session_policy.member) if session_policy.member else None


def _reflects(cluster_id: Address | None, source: SessionPolicy, session_policy: SessionPolicy) -> bool:
    """RFC 4456, section 6: from a client to everyone, from anyone else to clients."""
    clients = source.session.client or session_policy.session.client
    return cluster_id is not None and source.internal and session_policy.internal and clients


def _filtered(ownership: BlockOwnership, session_policy: SessionPolicy, subject: Subject) -> Attributes | None:
    """The attributes after policy, None where it keeps the route in."""
    match = filters.on_export(session_policy.filters, subject)
    if match:
        return filters.operated(match.rule, subject.attributes) if match.rule.accept else None
    pool = ownership.pool(subject.prefix)
    is_kept_in = pool is None or pool.disable_bgp_export
    if is_kept_in and not ownership.service(subject.prefix):
        return None
    covering = (item for item in ownership.intent.advertisements if item.cidr.covers(subject.prefix))
    return _with_communities(subject.attributes, (community for item in covering for community in item.communities))


def _for_peer(
    read: PeerExportInput, session_policy: SessionPolicy, attributes: Attributes, *, learned: bool
) -> Attributes:
    """As the peer reads it: our own AS in front for an external one, OTC by our role, and GSHUT while draining."""
    if not session_policy.internal:
        session = session_policy.session
        as_path = (session.local_asn, *attributes.as_path)
        marked = roles.sent(session.role, session.local_asn, attributes.passed_on, learned=learned)
        attributes = replace(attributes, as_path=as_path, local_pref=None, passed_on=marked)
    if not read.draining:
        return attributes
    graceful_shutdown = _with_communities(attributes, [GRACEFUL_SHUTDOWN])
    return replace(graceful_shutdown, local_pref=0) if session_policy.internal else graceful_shutdown


def _with_communities(attributes: Attributes, communities: Iterable[Community]) -> Attributes:
    added = tuple(dict.fromkeys(c for c in communities if c not in attributes.communities))
    return replace(attributes, communities=(*attributes.communities, *added)) if added else attributes
