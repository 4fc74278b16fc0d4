"""
Loc-RIB (RFC 4271, section 3.2): the import policy's verdict on each path, then the best path for each prefix.

Refuses to know: when this is done, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.decision import Candidate, Choice, choose
from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.peer_table import Received
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.sessions import router_id
from bgpctl.core.cluster.reasons import RejectedPath, Rejection
from bgpctl.core.net.addresses import Address, Prefix


@dataclass(frozen=True, slots=True)
class LocRib:
    """
    The outcome for the received paths.

    Attributes:
        best: the path in use for each prefix with an acceptable path.
        rejected: paths that the import policy rejects, sorted by peer.
        policy_cache: the verdicts behind it, and the policy that gave them; only to be spared the same work next time.
    """

    best: Mapping[Prefix, Choice] = field(default_factory=dict)
    rejected: tuple[RejectedPath, ...] = ()
    policy_cache: PolicyCache = field(default_factory=lambda: PolicyCache(None, {}), compare=False, repr=False)


class PolicyCache(NamedTuple):
    """The verdicts of `policy` on each path, by peer and prefix."""

    policy: Policy | None
    verdicts: Mapping[Address, Verdicts]


Verdicts: TypeAlias = Mapping[Prefix, tuple[Received, Path | Rejection]]


def select(policy: Policy, adj_rib_in: AdjRibIn, distances: NextHopCosts, before: LocRib | None = None) -> LocRib:
    """
    The choice among the paths of all sessions.

    A verdict needs nothing but policy and path, so those `before` had are taken over: of 50,000 paths few are new.
    """
    known = before.policy_cache.verdicts if before and before.policy_cache.policy is policy else {}
    verdicts = {
        peer: _verdicts(policy, session_policy, adj_rib_in[peer].usable, known.get(peer, {}))
        for peer, session_policy in policy.session_policies.items()
        if peer in adj_rib_in
    }
    candidates: dict[Prefix, list[Candidate]] = {}
    rejected: list[RejectedPath] = []
    for peer, outcomes in verdicts.items():
        session_policy = policy.session_policies[peer]
        identifier = adj_rib_in[peer].router_id or (router_id(session_policy.member) if session_policy.member else None)
        for prefix, (received, outcome) in outcomes.items():
            if isinstance(outcome, Rejection):
                rejected.append(RejectedPath(prefix, peer, outcome))
            else:
                candidate = _candidate(session_policy, received, outcome, identifier, distances)
                candidates.setdefault(prefix, []).append(candidate)
    best = {prefix: choose(paths) for prefix, paths in candidates.items()}
    return LocRib(best, tuple(rejected), PolicyCache(policy, verdicts))


def _verdicts(
    policy: Policy, session_policy: SessionPolicy, paths: Mapping[Prefix, Received], known: Verdicts
) -> Verdicts:
    found: dict[Prefix, tuple[Received, Path | Rejection]] = {}
    for prefix, received in paths.items():
        old = known.get(prefix)
        if old is None or old[0] is not received:
            old = received, verdict(policy.ownership, session_policy, received.path)
        found[prefix] = old
    return found


def _candidate(
    session_policy: SessionPolicy, received: Received, path: Path, router_id: Address | None, distances: NextHopCosts
) -> Candidate:
    as_used = received if path is received.path else Received(path, received.at_s)
    cost = distances.cost(path.next_hop) if path.next_hop else None
    return Candidate(
        session_policy.peer, session_policy.session.peer_asn, session_policy.internal, as_used, router_id, cost
    )
