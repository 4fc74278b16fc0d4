"""
Views of BGP: its sessions, the received paths and their fate. Pure functions to JSON.

Refuses to know: sockets, tables, colours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from bgpctl.agent import bgp_words, proof_views
from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.bgp import liveness, roles
from bgpctl.core.bgp.decision import Candidate
from bgpctl.core.bgp.loc_rib import LocRib
from bgpctl.core.bgp.path import AsPath, AsSet, Attributes, Path
from bgpctl.core.bgp.peer_table import PeerTable, TableState
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.cluster.count import count
from bgpctl.core.net.addresses import Address, Prefix

Fate: TypeAlias = tuple[str, str, str]
"""The outcome for a path: best, equal, lost or rejected; the rule's slug; the rule in words."""


def peers(snapshot: Snapshot) -> Json:
    """The BGP sessions of this node."""
    bgp = snapshot.state.bgp
    rejected = Counter(item.peer for item in bgp.loc_rib.rejected)
    tables = bgp.adj_rib_in
    return {
        "peers": [
            _peer(snapshot, session, tables[session.peer], rejected[session.peer])
            for session in snapshot.sessions
            if session.peer in tables
        ]
    }


def _peer(snapshot: Snapshot, session: Session, table: PeerTable, rejected: int) -> Json:
    error = bgp_words.session_error(session, table)
    return {
        "name": session.name,
        "address": str(session.peer),
        "asn": session.peer_asn,
        "type": "internal" if session.internal else "external",
        "passive": session.passive,
        "established": table.established,
        "uptime_s": None if table.up_since_s is None else snapshot.age_s(table.up_since_s),
        "table": table.state.value,
        "age_s": snapshot.age_s(table.since_s),
        "received": len(table.paths),
        "rejected": rejected,
        "advertised": len(snapshot.state.bgp.adj_rib_out.sent.get(session.peer, ())),
        "stale": len(table.stale),
        "prefix_limit_exceeded": table.over_limit_since_s is not None,
        "malformed": table.malformed,
        "last_malformed": table.last_malformed,
        "last_error": table.last_error,
        "down": table.down.value if table.down else None,
        "error": error.text if error else None,
        "error_age_s": snapshot.age_s(table.down_at_s) if error and table.down else None,
        "next": error.command if error else None,
        "bfd": _bfd(snapshot, session) if session.bfd else None,
        "path": proof_views.to_member(snapshot, snapshot.member_at(session.peer)),
    }


def _bfd(snapshot: Snapshot, session: Session) -> Json:
    report = snapshot.state.bgp.liveness.get(session.peer)
    multihop = session.bfd is not None and session.bfd.multihop
    if report is None:
        return {"state": "unknown", "multihop": multihop}
    return {
        "state": bgp_words.bfd_state(report.state),
        "age_s": snapshot.age_s(report.since_s),
        "diagnostic": liveness.words(report.diagnostic),
        "peer_state": bgp_words.bfd_state(report.remote_state),
        "peer_diagnostic": liveness.words(report.remote_diagnostic),
        "peer_independent": report.independent,
        "failed": report.failed_at_s is not None,
        "interval_ms": report.interval_us / 1000,
        "detection_ms": report.detection_us / 1000,
        "multihop": multihop,
    }


def neighbor(snapshot: Snapshot) -> Json:
    """Sessions with everything agreed and exchanged: those with the peer's name or address, all without `peer`."""
    wanted = snapshot.query.get("peer", "")
    rows = {row["address"]: row for row in peers(snapshot)["peers"]}
    found = [session for session in snapshot.sessions if wanted in {"", session.name, str(session.peer)}]
    shown = [session for session in found if str(session.peer) in rows]
    return {"neighbors": [{**rows[str(session.peer)], **_details(snapshot, session)} for session in shown]}


def _details(snapshot: Snapshot, session: Session) -> Json:
    bgp = snapshot.state.bgp
    table = bgp.adj_rib_in[session.peer]
    reasons = [item.rejection.reason.value for item in bgp.loc_rib.rejected if item.peer == session.peer]
    policy = snapshot.state.intent.policy
    session_policy = policy.session_policies.get(session.peer) if policy else None
    advertised: Mapping[Prefix, Attributes] = bgp.adj_rib_out.sent.get(session.peer, {})
    return {
        "local_address": str(session.local),
        "local_asn": session.local_asn,
        "configured_by": session.by,
        "port": session.port,
        "password": session.password_file is not None,
        "ttl_security": session.ttl_security,
        "hold_time_s": session.hold_time_s,
        "local_role": session.role.value if session.role else None,
        "strict_role": session.strict_role,
        "role_in_open": bgp_words.role_words(table.roles),
        "reflector_client": session.client,
        "filters": [item.name for item in session_policy.filters] if session_policy else [],
        "prefix_limit": policy.limit if policy else None,
        "peer_asn_in_open": table.asn,
        "peer_router_id": str(table.router_id) if table.router_id else None,
        "peer_restart_time_s": table.restart_time_s,
        "rejected_by_rule": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "too_large": [str(prefix) for prefix in sorted(bgp.adj_rib_out.too_large.get(session.peer, ()))],
        "kept_in_by_role": list(map(str, _kept_in_by_role(snapshot, session))),
        "advertised_routes": [_advertised(prefix, advertised[prefix]) for prefix in sorted(advertised)],
    }


def _kept_in_by_role(snapshot: Snapshot, session: Session) -> Iterator[Prefix]:
    """The routes of others that OTC keeps from the peer (RFC 9234, section 5)."""
    if session.role is None:
        return
    for prefix, choice in sorted(snapshot.state.bgp.loc_rib.best.items()):
        is_for_it = prefix.version == session.version and choice.best.peer != session.peer
        if is_for_it and roles.is_kept_in(session.role, choice.best.path.passed_on):
            yield prefix


def _advertised(prefix: Prefix, attributes: Attributes) -> Json:
    return {
        "prefix": str(prefix),
        "next_hop": str(attributes.next_hop) if attributes.next_hop else "self",
        "as_path": _as_path(attributes.as_path),
        "only_to_customer": roles.only_to_customer(attributes.passed_on),
        "local_pref": attributes.local_pref,
        "communities": _communities(attributes.communities),
        "extended_communities": _extended(attributes.extended),
    }


def rib(snapshot: Snapshot) -> Json:
    """
    Every received path with its fate. `which` narrows to best or rejected, `prefix` to the paths that overlap it.

    Raises:
        BadRequest: `prefix` is none.
    """
    only = snapshot.prefix
    which = snapshot.query.get("which", "in")
    fates = _fates(snapshot.state.bgp.loc_rib, only)
    rows: list[Json] = []
    for peer, table in sorted(snapshot.state.bgp.adj_rib_in.items()):
        name = snapshot.name_of(peer)
        paths = (
            (prefix, item) for prefix in sorted(_overlapping(only, table.paths)) for item in table.paths[prefix].each
        )
        for prefix, received in paths:
            fate = _fate(table, fates.get((peer, prefix, received.path.path_id)))
            if _wanted(which, fate):
                rows.append(
                    {
                        **_path(received.path),
                        "peer": name,
                        "status": fate[0],
                        "rule": fate[1],
                        "reason": fate[2],
                        "stale": prefix in table.stale,
                        "age_s": snapshot.age_s(received.at_s),
                    }
                )
    return {"paths": rows}


def _overlapping(only: Prefix | None, prefixes: Iterable[Prefix]) -> Iterable[Prefix]:
    return prefixes if only is None else filter(only.overlaps, prefixes)


def _wanted(which: str, fate: Fate) -> bool:
    return which == "in" or which == fate[0] or (which == "best" and fate[0] == "equal")


def _path(path: Path) -> Json:
    return {
        "prefix": str(path.prefix),
        "path_id": path.path_id,
        "next_hop": str(path.next_hop) if path.next_hop else None,
        "as_path": _as_path(path.as_path),
        "origin": path.origin,
        "local_pref": path.local_pref,
        "med": path.med,
        "communities": _communities(path.communities),
        "extended_communities": _extended(path.extended),
        "originator": str(path.originator) if path.originator else None,
        "cluster_list": list(map(str, path.cluster_list)),
        "only_to_customer": roles.only_to_customer(path.passed_on),
    }


def _as_path(path: AsPath) -> list[int | str]:
    return [str(item) if isinstance(item, AsSet) else item for item in path]


def _communities(communities: tuple[tuple[int, ...], ...]) -> list[str]:
    return [":".join(map(str, community)) for community in communities]


def _extended(communities: tuple[int, ...]) -> list[str]:
    """The eight octets of each; RFC 9012's, which name the encapsulations that a member accepts, begin with 0x030c."""
    return [f"{community:#018x}" for community in communities]


_Source: TypeAlias = tuple[Address, Prefix, int | None]
"""Peer, prefix and path identifier."""


def _fates(loc_rib: LocRib, only: Prefix | None) -> Mapping[_Source, Fate]:
    """The outcome for each path, as far as the prefix overlaps `only`."""
    return dict(_each_fate(loc_rib, only))


def _source(candidate: Candidate, prefix: Prefix) -> _Source:
    return candidate.peer, prefix, candidate.path.path_id


def _each_fate(loc_rib: LocRib, only: Prefix | None) -> Iterator[tuple[_Source, Fate]]:
    for prefix in _overlapping(only, loc_rib.best):
        choice = loc_rib.best[prefix]
        yield _source(choice.best, prefix), ("best", "", "")
        for other in choice.also:
            yield _source(other, prefix), ("equal", "", "")
        for loser, step in choice.lost:
            yield _source(loser, prefix), ("not used", step.value, bgp_words.lost(step))
    for item in loc_rib.rejected:
        if only is None or only.overlaps(item.prefix):
            reason = item.rejection.reason.value
            yield (item.peer, item.prefix, item.path_id), ("rejected", reason, bgp_words.rejection(item.rejection))


def _fate(table: PeerTable, fate: Fate | None) -> Fate:
    if table.over_limit_since_s is not None:
        return "not used", "prefix-limit", bgp_words.PREFIX_LIMIT_EXCEEDED
    return fate or ("pending", "", "received since the last run of the decision process")


def problems(snapshot: Snapshot) -> Iterator[str]:
    """Every session with an error, and the next command."""
    bgp = snapshot.state.bgp
    down = bgp.peers_down
    for session in snapshot.sessions:
        table = bgp.adj_rib_in.get(session.peer)
        error = bgp_words.session_error(session, table) if table else None
        if too_large := bgp.adj_rib_out.too_large.get(session.peer):
            yield bgp_words.too_large(session, len(too_large))
        if table is None or error is None:
            continue
        kept = (
            f", {count(len(table.paths), 'stale route')} kept"
            if table.state is TableState.STALE and table.paths
            else ""
        )
        proven = ", control lost, path proven" if snapshot.state.proofs.is_proven(session.peer) else ""
        state = f"is not established{proven}{kept}: " if session.peer in down else ""
        yield f"peer {session.name} {state}{error.text}; see: {error.command}"
