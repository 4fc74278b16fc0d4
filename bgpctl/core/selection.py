"""
From everything received to what is used: policy's verdict on each path, then the choice for each prefix.

Refuses to know: when this is done, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bgpctl.core.bgp import Path
from bgpctl.core.decision import Candidate, Choice, choose
from bgpctl.core.model import Address, Prefix
from bgpctl.core.nexthops import Distances
from bgpctl.core.policy import Policy, verdict
from bgpctl.core.rib import Received, Rib
from bgpctl.core.sessions import router_id
from bgpctl.core.terms import Terms
from bgpctl.core.why import Refusal, Rejected


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What was made of the received paths.

    Attributes:
        chosen: what is used for each prefix that anything acceptable was received for.
        rejected: what policy forbids, sorted by peer.
        judged: the verdicts behind it, and the policy that gave them; only to be spared the same work next time.
    """

    chosen: Mapping[Prefix, Choice] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    judged: Judged = field(default_factory=lambda: Judged(None, {}), compare=False, repr=False)


class Judged(NamedTuple):
    """What `policy` said about each path, by peer and prefix."""

    policy: Policy | None
    verdicts: Mapping[Address, Verdicts]


Verdicts: TypeAlias = Mapping[Prefix, tuple[Received, Path | Refusal]]


def select(policy: Policy, rib: Rib, distances: Distances, before: Selection | None = None) -> Selection:
    """
    The choice among the paths of all sessions.

    A verdict needs nothing but policy and path, so those `before` had are taken over: of 50,000 paths few are new.
    """
    known = before.judged.verdicts if before and before.judged.policy is policy else {}
    verdicts = {
        peer: _verdicts(policy, terms, rib[peer].usable, known.get(peer, {}))
        for peer, terms in policy.terms.items()
        if peer in rib
    }
    candidates: dict[Prefix, list[Candidate]] = {}
    rejected: list[Rejected] = []
    for peer, judged in verdicts.items():
        terms = policy.terms[peer]
        identifier = rib[peer].router_id or (router_id(terms.member) if terms.member else None)
        for prefix, (received, outcome) in judged.items():
            if isinstance(outcome, Refusal):
                rejected.append(Rejected(prefix, peer, outcome))
            else:
                candidate = _candidate(terms, received, outcome, identifier, distances)
                candidates.setdefault(prefix, []).append(candidate)
    chosen = {prefix: choose(paths) for prefix, paths in candidates.items()}
    return Selection(chosen, tuple(rejected), Judged(policy, verdicts))


def _verdicts(policy: Policy, terms: Terms, paths: Mapping[Prefix, Received], known: Verdicts) -> Verdicts:
    found: dict[Prefix, tuple[Received, Path | Refusal]] = {}
    for prefix, received in paths.items():
        old = known.get(prefix)
        if old is None or old[0] is not received:
            old = received, verdict(policy.registry, terms, received.path)
        found[prefix] = old
    return found


def _candidate(
    terms: Terms, received: Received, path: Path, router_id: Address | None, distances: Distances
) -> Candidate:
    as_used = received if path is received.path else Received(path, received.at_s)
    cost = distances.cost(path.next_hop) if path.next_hop else None
    return Candidate(terms.peer, terms.session.peer_asn, terms.internal, as_used, router_id, cost)
