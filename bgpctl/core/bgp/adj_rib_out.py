"""
Adj-RIB-Out per peer, as a value, and the commands that lead from there to the one that should be.

Refuses to know: why a route is announced (core/bgp/export_policy.py), how a command is encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.export_policy import ExportInput, PeerExports, routes_for, sources
from bgpctl.core.bgp.path import Attributes
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.speaker import Announce, SendEndOfRib, SpeakerCommand, Withdraw
from bgpctl.core.bgp.wire.encode import Room
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.table import Table

SpeakerCommands: TypeAlias = tuple[SpeakerCommand, ...]

EOR_DEFERRAL_S: Final = 20.0
"""How long an End-of-RIB waits for the peers whose routes we pass on (RFC 4724, section 4.1: Selection_Deferral_Timer).
Less than adj_rib_in.SYNC_S, after which a peer that waits for it stops waiting."""


_USUAL_ROOM: Final = Room()
_NO_ROUTES: Final = Table[Attributes]()
_NOTHING_DERIVED: Final[Mapping[Address, SentTo]] = {}


@dataclass(frozen=True, slots=True)
class AdjRibOut:
    """
    The speaker's Adj-RIB-Out.

    Attributes:
        sent: per peer what the speaker announces to it, or will when the session is up again.
        end_of_rib_due: peers that got the whole table again, and until when their End-of-RIB may wait for others.
        too_large: per peer the prefixes that are not announced because its messages have no room for their attributes.
    """

    sent: Mapping[Address, Table[Attributes]] = field(default_factory=dict)
    end_of_rib_due: Mapping[Address, float] = field(default_factory=dict)
    too_large: Mapping[Address, frozenset[Prefix]] = field(default_factory=dict)


class SentTo(NamedTuple):
    """The routes that one peer may have, and those of them that were sent."""

    wanted: PeerExports
    sent: Table[Attributes]


Exports: TypeAlias = Mapping[Address, SentTo]
"""Per peer what the last update derived: it spares the next one what has not changed."""


def update(
    adj_rib_out: AdjRibOut,
    export_input: ExportInput,
    adj_rib_in: AdjRibIn,
    at_s: float,
    before: Exports = _NOTHING_DERIVED,
) -> tuple[AdjRibOut, SpeakerCommands, Exports]:
    """The changes for each peer, and the End-of-RIBs that are due."""
    advertised: dict[Address, SentTo] = {}
    commands: list[SpeakerCommand] = []
    for session_policy in export_input.policy.session_policies.values():
        peer = session_policy.peer
        known, sent = before.get(peer), adj_rib_out.sent.get(peer, _NO_ROUTES)
        wanted = routes_for(export_input, session_policy, known.wanted if known else None, _room(adj_rib_in, peer))
        # Nothing new is queued for a peer that is away: ExaBGP drops a reload while it has something unsent.
        now = wanted.routes if _established(adj_rib_in, peer) else _still_wanted(sent, wanted.routes, known)
        if now is not sent:
            commands += _changes(peer, sent, now)
        advertised[peer] = SentTo(wanted, now)
    sent_now = {peer: item.sent for peer, item in advertised.items()}
    too_large = {peer: item.wanted.too_large for peer, item in advertised.items() if item.wanted.too_large}
    out, all_commands = _with_end_of_ribs(
        AdjRibOut(sent_now, adj_rib_out.end_of_rib_due, too_large), commands, export_input, adj_rib_in, at_s
    )
    return out, all_commands, advertised


def _still_wanted(sent: Table[Attributes], wanted: Table[Attributes], known: SentTo | None) -> Table[Attributes]:
    """The routes that were sent, without those that are not wanted any more."""
    maybe: Iterable[Prefix] = sent
    if known and sent is known.sent:
        # All of it was wanted then, so only what differs since can be unwanted.
        maybe = wanted.changed_since(known.wanted.routes)
    return sent.changed({}, gone=[prefix for prefix in maybe if prefix not in wanted])


def full_table(
    adj_rib_out: AdjRibOut,
    export_input: ExportInput,
    adj_rib_in: AdjRibIn,
    anew: Iterable[Address],
    at_s: float,
    before: Exports = _NOTHING_DERIVED,
) -> tuple[AdjRibOut, SpeakerCommands]:
    """The whole table for the peers in `anew`, each with its End-of-RIB: at once if all that it contains is known."""
    sent, end_of_rib_due = dict(adj_rib_out.sent), dict(adj_rib_out.end_of_rib_due)
    too_large = dict(adj_rib_out.too_large)
    commands: list[SpeakerCommand] = []
    for peer in anew:
        known = before[peer].wanted if peer in before else None
        found = routes_for(export_input, export_input.policy.session_policies[peer], known, _room(adj_rib_in, peer))
        wanted, too_large[peer] = found.routes, found.too_large
        commands += (Withdraw(prefix, peer) for prefix in sorted(sent.get(peer, {}).keys() - wanted.keys()))
        commands += (Announce(prefix, peer, wanted[prefix]) for prefix in sorted(wanted))
        sent[peer] = wanted
        end_of_rib_due[peer] = at_s + EOR_DEFERRAL_S
    too_large = {peer: prefixes for peer, prefixes in too_large.items() if prefixes}
    return _with_end_of_ribs(AdjRibOut(sent, end_of_rib_due, too_large), commands, export_input, adj_rib_in, at_s)


def next_due_s(adj_rib_out: AdjRibOut) -> float | None:
    """When an End-of-RIB stops waiting."""
    return min(adj_rib_out.end_of_rib_due.values(), default=None)


def _changes(peer: Address, before: Table[Attributes], wanted: Table[Attributes]) -> Iterator[SpeakerCommand]:
    changed = sorted(wanted.changed_since(before))
    yield from (Withdraw(prefix, peer) for prefix in changed if prefix not in wanted)
    for prefix in changed:
        attributes = wanted.get(prefix)
        if attributes is not None and before.get(prefix) != attributes:
            yield Announce(prefix, peer, attributes)


def _with_end_of_ribs(
    adj_rib_out: AdjRibOut, commands: list[SpeakerCommand], export_input: ExportInput, adj_rib_in: AdjRibIn, at_s: float
) -> tuple[AdjRibOut, SpeakerCommands]:
    """A peer that kept our routes drops at End-of-RIB what we have not repeated: it comes when all is repeated."""
    policies = export_input.policy.session_policies
    waiting = {
        peer: until_s
        for peer, until_s in adj_rib_out.end_of_rib_due.items()
        if peer in policies and _established(adj_rib_in, peer)
    }
    due = [
        peer
        for peer, until_s in waiting.items()
        if at_s >= until_s or _sources_complete(export_input, policies[peer], adj_rib_in)
    ]
    ends = (SendEndOfRib(peer, peer.version) for peer in sorted(due))
    end_of_rib_due = {peer: until_s for peer, until_s in waiting.items() if peer not in due}
    return replace(adj_rib_out, end_of_rib_due=end_of_rib_due), (*commands, *ends)


def _sources_complete(export_input: ExportInput, session_policy: SessionPolicy, adj_rib_in: AdjRibIn) -> bool:
    return all(adj_rib_in[peer].certain for peer in sources(export_input.policy, session_policy) if peer in adj_rib_in)


def _room(adj_rib_in: AdjRibIn, peer: Address) -> Room:
    return adj_rib_in[peer].room if peer in adj_rib_in else _USUAL_ROOM


def _established(adj_rib_in: AdjRibIn, peer: Address) -> bool:
    return peer in adj_rib_in and adj_rib_in[peer].established
