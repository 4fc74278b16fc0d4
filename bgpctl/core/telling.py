"""
What each peer has been told, as a value, and the commands that lead from there to what it should be told.

Refuses to know: why a route is told (core/exports.py), how a command is worded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, TypeAlias

from bgpctl.core.bgp import Announce, Attributes, SendEndOfRib, SpeakerCommand, Withdraw
from bgpctl.core.exports import Offer, exports, sources
from bgpctl.core.fabric import Desired
from bgpctl.core.model import Address, Prefix
from bgpctl.core.rib import Rib
from bgpctl.core.terms import Terms

Commands: TypeAlias = tuple[SpeakerCommand, ...]

PATIENCE_S: Final = 20.0
"""How long an End-of-RIB waits for those whose routes we pass on (RFC 4724, section 4.1: Selection_Deferral_Timer).
Less than rib.SYNC_S, after which a peer that waits for it stops waiting."""


@dataclass(frozen=True, slots=True)
class Told:
    """
    The speaker's Adj-RIB-Out.

    Attributes:
        sent: per peer what the speaker announces to it, or will when the session is up again.
        owed: peers that were told everything anew, and until when their End-of-RIB may wait for others.
    """

    sent: Mapping[Address, Mapping[Prefix, Attributes]] = field(default_factory=dict)
    owed: Mapping[Address, float] = field(default_factory=dict)


def difference(told: Told, offer: Offer, rib: Rib, at_s: float) -> tuple[Told, Commands]:
    """What is new for each peer, and the End-of-RIBs that are due."""
    sent: dict[Address, Mapping[Prefix, Attributes]] = {}
    commands: list[SpeakerCommand] = []
    for terms in offer.policy.terms.values():
        wanted, before = exports(offer, terms), told.sent.get(terms.peer, {})
        if not _established(rib, terms.peer):
            # Nothing new is queued for a peer that is away: ExaBGP drops a reload while it has something unsent.
            wanted = {prefix: attributes for prefix, attributes in before.items() if prefix in wanted}
        if wanted != before:
            commands += _changes(terms.peer, before, wanted)
        sent[terms.peer] = wanted
    return _with_ends(Told(sent, told.owed), commands, offer, rib, at_s)


def everything(told: Told, offer: Offer, rib: Rib, anew: Iterable[Address], at_s: float) -> tuple[Told, Commands]:
    """The whole table for the peers in `anew`, each with its End-of-RIB: at once if all that it may hold is known."""
    sent, owed = dict(told.sent), dict(told.owed)
    commands: list[SpeakerCommand] = []
    for peer in anew:
        wanted = exports(offer, offer.policy.terms[peer])
        commands += (Withdraw(prefix, peer) for prefix in sorted(sent.get(peer, {}).keys() - wanted.keys()))
        commands += (Announce(prefix, peer, wanted[prefix]) for prefix in sorted(wanted))
        sent[peer] = wanted
        owed[peer] = at_s + PATIENCE_S
    return _with_ends(Told(sent, owed), commands, offer, rib, at_s)


def next_due_s(told: Told) -> float | None:
    """When an End-of-RIB stops waiting."""
    return min(told.owed.values(), default=None)


def link_of(desired: Desired | None) -> Callable[[Prefix], str | None]:
    """The link that a wanted route leaves by; looked up only if anybody asks."""

    @cache
    def links() -> Mapping[Prefix, str]:
        plane = desired.dataplane if desired else None
        hops = {hop.id: hop.link for hop in plane.next_hops} if plane else {}
        return {route.prefix: hops[route.next_hop] for route in plane.routes if route.next_hop in hops} if plane else {}

    return lambda prefix: links().get(prefix)


def _changes(
    peer: Address, before: Mapping[Prefix, Attributes], wanted: Mapping[Prefix, Attributes]
) -> Iterator[SpeakerCommand]:
    yield from (Withdraw(prefix, peer) for prefix in sorted(before.keys() - wanted.keys()))
    changed = sorted(prefix for prefix, attributes in wanted.items() if before.get(prefix) != attributes)
    yield from (Announce(prefix, peer, wanted[prefix]) for prefix in changed)


def _with_ends(
    told: Told, commands: list[SpeakerCommand], offer: Offer, rib: Rib, at_s: float
) -> tuple[Told, Commands]:
    """A peer that kept our routes drops at End-of-RIB what we have not repeated: it comes when all is repeated."""
    terms = offer.policy.terms
    waiting = {peer: until_s for peer, until_s in told.owed.items() if peer in terms and _established(rib, peer)}
    due = [peer for peer, until_s in waiting.items() if at_s >= until_s or _heard(offer, terms[peer], rib)]
    ends = (SendEndOfRib(peer, peer.version) for peer in sorted(due))
    owed = {peer: until_s for peer, until_s in waiting.items() if peer not in due}
    return Told(told.sent, owed), (*commands, *ends)


def _heard(offer: Offer, terms: Terms, rib: Rib) -> bool:
    return all(rib[peer].certain for peer in sources(offer.policy, terms) if peer in rib)


def _established(rib: Rib, peer: Address) -> bool:
    return peer in rib and rib[peer].established
