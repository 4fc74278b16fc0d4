"""
The view for a map of the cluster: one node's part of it in one answer, so that a member is asked once for all of it.

Refuses to know: the other nodes' parts, and how a map is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import Final

from bgpctl.agent import bgp_views, event_words, filter_views, operator_commands, proof_views
from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.agent.events import Observed, Probed, Woken
from bgpctl.core.fabric.encapsulations import behind
from bgpctl.core.net.objects import key_of
from bgpctl.core.proof.verdict import Verdict

_EVENTS: Final = 20
_MOST_SESSIONS: Final = 5_000
_BY_THEMSELVES: Final = (Woken, Observed, Probed)
"""Events that say nothing but that time passes."""
_OF_SUMMARY: Final = (
    *("node", "backend", "state", "state_age_s", "converged", "configuration"),
    *("peers", "routes", "paths", "mtu_bytes", "problems", "waiting"),
)


def part(snapshot: Snapshot, summary: Json) -> Json:
    """The summary's facts; sessions; which member packets are sent to by which tunnel; workloads; the last events."""
    sent = _sent(snapshot)
    return {
        **{key: summary[key] for key in _OF_SUMMARY},
        "sessions": list(_sessions(snapshot)),
        "tunnels": list(_tunnels(snapshot, sent)),
        "direct": sorted(sent.get(None, ())),
        "unproven": _unproven(snapshot),
        "workloads": [
            {"device": row["device"], "up": row["up"], "addresses": row["addresses"]}
            for row in filter_views.workloads(snapshot)["workloads"]
        ],
        "events": list(_events(snapshot)),
    }


def _sent(snapshot: Snapshot) -> Mapping[str | None, set[str]]:
    """The members that routes lead to through each tunnel's device; None: without any tunnel."""
    desired, intent = snapshot.state.kernel.desired, snapshot.state.intent.in_force
    if desired is None or intent is None:
        return {}
    names = {address: node.name for node in intent.nodes for address in node.addresses}
    ours = {link.name for link in snapshot.observed.links if link.owned}
    found: dict[str | None, set[str]] = {}
    for hop in snapshot.observed.next_hops:
        reason = desired.reasons.get(key_of(hop))
        if reason and reason.remote:
            far = names.get(reason.remote, str(reason.remote))
            found.setdefault(hop.link if hop.link in ours else None, set()).add(far)
    return found


def _sessions(snapshot: Snapshot) -> Iterator[Json]:
    rows = {row["address"]: row for row in bgp_views.peers(snapshot)["peers"]}
    for session in islice(snapshot.sessions, _MOST_SESSIONS):
        row = rows.get(str(session.peer))
        if row:
            kept = {key: row[key] for key in ("address", "established", "error", "next")}
            yield {"with": snapshot.member_at(session.peer) or row["name"], **kept}


def _tunnels(snapshot: Snapshot, sent: Mapping[str | None, set[str]]) -> Iterator[Json]:
    counted = snapshot.traffic()
    for link in sorted((link for link in snapshot.observed.links if link.owned), key=attrgetter("name")):
        tunnel = behind(link.kind)
        if tunnel:
            yield {
                "device": link.name,
                "encapsulation": tunnel.encapsulation.name,
                "up": link.up,
                "mtu_bytes": link.mtu_bytes,
                "to": sorted(sent.get(link.name, ())),
                "traffic": filter_views.counters(counted.get(link.name)),
            }


def _unproven(snapshot: Snapshot) -> Json:
    """The members that packets are not known to reach, each with the verdict in words."""
    names = sorted({item.path.member for item in snapshot.state.proofs.known.values() if item.used})
    found = {name: proof_views.to_member(snapshot, name) for name in names}
    return {name: words for name, words in found.items() if words != Verdict.PROVEN.value}


def _events(snapshot: Snapshot) -> Iterator[Json]:
    """The last ones, oldest first."""
    names = operator_commands.names(snapshot.state)
    newest = (item for item in reversed(snapshot.happened()) if not isinstance(item.event, _BY_THEMSELVES))
    for entry in reversed(list(islice(newest, _EVENTS))):
        yield {"age_s": snapshot.age_s(entry.at_s), "event": event_words.event(entry.event, names)}
