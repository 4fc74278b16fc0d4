"""
Loc-RIB (RFC 4271, section 3.2): the import policy's verdict on each path, then the best path for each prefix.

Both are derived from whole tables and depend on nothing else. `select` remembers what it was given and what followed,
a `Decision`, and takes over what has not changed since: a verdict if the path is the same object, and the policy is, or
is an edited one and the edit does not concern the prefix; a choice if no peer's verdict on that prefix and no distance
is another one.

Refuses to know: when this is done, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import is_
from typing import NamedTuple, TypeAlias

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.decision import Candidate, Choice, choose
from bgpctl.core.bgp.import_policy import Judge, Policy
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.peer_table import PeerTable
from bgpctl.core.bgp.received import Received
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.sessions import router_id
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.cluster.reasons import RejectedPath, Rejection
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.table import Mapped, Table, in_shards, is_same


@dataclass(frozen=True, slots=True)
class LocRib:
    """
    The outcome for the received paths.

    Attributes:
        best: what is used for each prefix that anything acceptable was received for.
        rejections: paths that the import policy rejects, of each prefix sorted by peer.
    """

    best: Table[Choice] = field(default_factory=Table)
    rejections: Table[tuple[RejectedPath, ...]] = field(default_factory=Table)

    @property
    def rejected(self) -> tuple[RejectedPath, ...]:
        """Paths that the import policy rejects, sorted by peer, then by prefix."""
        paths = (path for same in self.rejections.values() for path in same)
        return tuple(sorted(paths, key=lambda path: (path.peer, path.prefix)))


class OtherOutcome(NamedTuple):
    """The same of another path of the peer to the prefix."""

    received: Received
    verdict: Path | Rejection


class Outcome(NamedTuple):
    """A received path, as the policy lets it in or the rule that rejects it; `others` as in Received."""

    received: Received
    verdict: Path | Rejection
    others: tuple[OtherOutcome, ...] = ()


Outcomes: TypeAlias = Table[Outcome]


class VerdictInput(NamedTuple):
    """All that the verdicts on one peer's paths depend on."""

    ownership: BlockOwnership
    session_policy: SessionPolicy
    paths: Table[Received]


class PeerOutcomes(NamedTuple):
    """The verdicts on one peer's paths."""

    made_from: VerdictInput
    outcomes: Outcomes


class ChoiceInput(NamedTuple):
    """
    All that a peer adds to the choices: its BGP identifier, and the verdicts on its paths. With another session policy
    all of these are others.
    """

    router_id: Address | None
    outcomes: Outcomes


class DecisionInput(NamedTuple):
    """All that Loc-RIB depends on."""

    policy: Policy
    adj_rib_in: AdjRibIn
    costs: NextHopCosts


class Decision(NamedTuple):
    """Loc-RIB, and what it follows from."""

    made_from: DecisionInput
    verdicts: Mapping[Address, PeerOutcomes]
    peers: Mapping[Address, ChoiceInput]
    loc_rib: LocRib


def select(policy: Policy, adj_rib_in: AdjRibIn, costs: NextHopCosts, before: Decision | None = None) -> Decision:
    """The choice among the paths of all sessions; what the decision `before` has of it is taken over."""
    read = DecisionInput(policy, adj_rib_in, costs)
    if before and all(map(is_, before.made_from, read)):
        return before
    verdicts = {
        peer: _outcomes(policy, session_policy, adj_rib_in[peer], before)
        for peer, session_policy in policy.session_policies.items()
        if peer in adj_rib_in
    }
    peers = {peer: ChoiceInput(_identifier(item, adj_rib_in[peer]), item.outcomes) for peer, item in verdicts.items()}
    if before is None or not costs.are_those_of(before.made_from.costs):
        return Decision(read, verdicts, peers, _chosen(LocRib(), policy, peers, None, costs))
    prefixes = set[Prefix]().union(*_changed(before.peers, peers))
    return Decision(read, verdicts, peers, _chosen(before.loc_rib, policy, peers, prefixes, costs))


# Verdicts ------------------------------------------------------------------------------------------------------


def _outcomes(policy: Policy, session_policy: SessionPolicy, table: PeerTable, before: Decision | None) -> PeerOutcomes:
    read = VerdictInput(policy.ownership, session_policy, table.usable)
    known = before.verdicts.get(session_policy.peer) if before else None
    if known and all(map(is_, known.made_from, read)):
        return known
    is_same_policy = known is not None and is_same(known.made_from, read, but="paths")
    changed = _to_judge(known.made_from, read) if known and not is_same_policy else None
    is_known = is_same_policy or changed is not None
    taken_over = Mapped(known.made_from.paths, known.outcomes) if known and is_known else None
    judge = Judge(read.ownership, session_policy)

    def outcome(_: Prefix, received: Received) -> Outcome:
        if not received.others:
            return Outcome(received, judge(received.path))
        first, *others = (OtherOutcome(item, judge(item.path)) for item in received.each)
        return Outcome(first.received, first.verdict, tuple(others))

    return PeerOutcomes(read, read.paths.mapped(outcome, taken_over, changed))


def _to_judge(before: VerdictInput, now: VerdictInput) -> set[Prefix] | None:
    """After another policy, prefixes on whose path the verdict may be another one than before; None if on any."""
    if not is_same(before._replace(ownership=now.ownership), now, but="paths"):
        return None
    edited = now.ownership.changed_since(before.ownership)
    if edited is None:
        return None
    members = now.ownership.members_since(before.ownership)
    led_to = set[Prefix]()
    if members:
        led_to = {prefix for prefix, got in now.paths.items() for item in got.each if item.path.next_hop in members}
    return now.paths.changed_since(before.paths) | now.paths.overlapping(edited) | led_to


# Choices -------------------------------------------------------------------------------------------------------


def _identifier(item: PeerOutcomes, table: PeerTable) -> Address | None:
    member = item.made_from.session_policy.member
    return table.router_id or (router_id(member) if member else None)


def _changed(before: Mapping[Address, ChoiceInput], now: Mapping[Address, ChoiceInput]) -> Iterator[Iterable[Prefix]]:
    """Prefixes with another verdict of any peer; all of a peer that is another one, or came or went."""
    for peer in before.keys() | now.keys():
        old, new = before.get(peer), now.get(peer)
        if old and new and is_same(old, new, but="outcomes"):
            if old.outcomes is not new.outcomes:
                yield new.outcomes.changed_since(old.outcomes)
        else:
            yield from (item.outcomes for item in (old, new) if item)


def _chosen(
    loc_rib: LocRib,
    policy: Policy,
    peers: Mapping[Address, ChoiceInput],
    prefixes: set[Prefix] | None,
    costs: NextHopCosts,
) -> LocRib:
    """Loc-RIB with the choices for these prefixes made anew, for all if None."""
    best: dict[Prefix, Choice] = {}
    several: dict[Prefix, list[Candidate]] = {}
    rejected: dict[Prefix, list[RejectedPath]] = {}
    among = None if prefixes is None else in_shards(prefixes)
    for peer, item in peers.items():
        candidate = _candidates(policy.session_policies[peer], item, costs)
        for prefix, outcome in item.outcomes.items() if among is None else item.outcomes.among(among):
            same_prefix: tuple[Outcome | OtherOutcome, ...] = (outcome, *outcome.others)
            for item_outcome in same_prefix:
                if isinstance(item_outcome.verdict, Rejection):
                    path_id = item_outcome.received.path.path_id
                    rejected.setdefault(prefix, []).append(RejectedPath(prefix, peer, item_outcome.verdict, path_id))
                elif prefix in best:
                    several.setdefault(prefix, [best[prefix].best]).append(
                        candidate(item_outcome.received, item_outcome.verdict)
                    )
                else:
                    best[prefix] = Choice(candidate(item_outcome.received, item_outcome.verdict))
    best.update((prefix, choose(paths)) for prefix, paths in several.items())
    rejections = {prefix: tuple(sorted(paths, key=_peer)) for prefix, paths in rejected.items()}
    return LocRib(
        loc_rib.best.changed(best, gone=prefixes - best.keys() if prefixes else ()),
        loc_rib.rejections.changed(rejections, gone=prefixes - rejections.keys() if prefixes else ()),
    )


def _peer(path: RejectedPath) -> tuple[Address, int]:
    return path.peer, path.path_id or 0


def _candidates(
    session_policy: SessionPolicy, item: ChoiceInput, costs: NextHopCosts
) -> Callable[[Received, Path], Candidate]:
    """The candidate of each path of a peer, as policy lets it in; many have the same next hop."""
    peer, asn, internal = session_policy.peer, session_policy.session.peer_asn, session_policy.internal
    router_id_ = item.router_id
    known: dict[Address | None, tuple[int | None, bool]] = {}

    def candidate(received: Received, path: Path) -> Candidate:
        as_used = received if path is received.path else Received(path, received.at_s)
        hop = path.next_hop
        if hop not in known:
            known[hop] = (costs.cost(hop) if hop else None, costs.is_answering(hop))
        cost, answers = known[hop]
        return Candidate(peer, asn, internal, as_used, router_id_, cost, answers)

    return candidate
