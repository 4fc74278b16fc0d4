"""
From everything received to what is used: policy's verdict on each path, then the choice for each prefix.

Refuses to know: when this is done, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """

    chosen: Mapping[Prefix, Choice] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()


def select(policy: Policy, rib: Rib, distances: Distances) -> Selection:
    """The choice among the paths of all sessions."""
    candidates: dict[Prefix, list[Candidate]] = {}
    rejected: list[Rejected] = []
    for terms in policy.terms.values():
        table = rib.get(terms.peer)
        if table is None:
            continue
        identifier = table.router_id or (router_id(terms.member) if terms.member else None)
        for prefix, received in table.usable.items():
            path = verdict(policy.registry, terms, received.path)
            if isinstance(path, Refusal):
                rejected.append(Rejected(prefix, terms.peer, path))
            else:
                candidate = _candidate(terms, received, path, identifier, distances)
                candidates.setdefault(prefix, []).append(candidate)
    return Selection({prefix: choose(paths) for prefix, paths in candidates.items()}, tuple(rejected))


def _candidate(
    terms: Terms, received: Received, path: Path, router_id: Address | None, distances: Distances
) -> Candidate:
    as_used = received if path is received.path else Received(path, received.at_s)
    cost = distances.cost(path.next_hop) if path.next_hop else None
    return Candidate(terms.peer, terms.session.peer_asn, terms.internal, as_used, router_id, cost)
