"""
Make before break: sessions that are owed no more and stay until what they told is known from others.

When a mesh gives way to reflectors every node drops most of its sessions; when a node gets another address, everyone
drops the one to the former. Dropped at once, routes would be missing until others have told them again; so they stay
until that has happened, and a little longer, because the other end may not be there yet. Only sessions between members
of the cluster are kept: nobody else can tell the same.

Refuses to know: who decided what is owed, how sessions are opened and closed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from bgpctl.core.bgp import Session, SpeakerConfig
from bgpctl.core.cluster import Intent
from bgpctl.core.model import Address
from bgpctl.core.rib import Rib

SETTLE_S: Final = 10.0
"""How long everything must be known from others before the sessions go."""
PATIENCE_S: Final = 300.0
"""After this long the sessions go all the same: what is owed was decided by the operator."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """
    Sessions on their way out.

    Attributes:
        sessions: sorted by peer.
        until_s: when they go in any case.
        covered_since_s: since when others tell everything that they tell; None while they do not.
    """

    sessions: tuple[Session, ...] = ()
    until_s: float = 0.0
    covered_since_s: float | None = None

    @property
    def due_s(self) -> float | None:
        """When they go, as far as can be said; None if there are none."""
        if not self.sessions:
            return None
        covered_s = self.until_s if self.covered_since_s is None else self.covered_since_s + SETTLE_S
        return min(self.until_s, covered_s)


def without(config: SpeakerConfig | None, shut: Collection[Address]) -> SpeakerConfig | None:
    """The configuration without the peers in `shut`."""
    if config is None or not shut:
        return config
    return replace(config, sessions=tuple(session for session in config.sessions if session.peer not in shut))


def begun(
    before: SpeakerConfig | None, owed: SpeakerConfig | None, leaving: Leaving, intent: Intent, at_s: float
) -> Leaving:
    """What of `before` stays a while although it is not in `owed`; `leaving` is what stayed already."""
    members = {own.address for node in intent.nodes for own in map(node.underlay, (4, 6)) if own}
    if before is None or owed is None or replace(before, sessions=()) != replace(owed, sessions=()):
        return Leaving()
    peers = {session.peer for session in owed.sessions}
    if members.isdisjoint(peers):
        return Leaving()
    # Of a member that has another address now only the name is left; a Peer may have the same one.
    names = {node.name for node in intent.nodes}
    sessions = tuple(
        session
        for session in before.sessions
        if session.peer not in peers
        and (session.peer in members or (session.name in names and session.by != session.name))
    )
    return Leaving(sessions, leaving.until_s if leaving.sessions else at_s + PATIENCE_S)


def together(owed: SpeakerConfig | None, leaving: Leaving) -> SpeakerConfig | None:
    """The configuration with those that are leaving."""
    if owed is None or not leaving.sessions:
        return owed
    sessions = {session.peer: session for session in (*owed.sessions, *leaving.sessions)}
    return replace(owed, sessions=tuple(sessions[peer] for peer in sorted(sessions)))


def watched(leaving: Leaving, rib: Rib, at_s: float) -> Leaving:
    """With what the tables show now of who tells what."""
    if not leaving.sessions:
        return leaving
    gone = {session.peer for session in leaving.sessions}
    told = {prefix for peer in gone & rib.keys() for prefix in rib[peer].paths}
    staying = [table for peer, table in rib.items() if peer not in gone and table.established]
    if not staying or not told.issubset(prefix for table in staying for prefix in table.usable):
        return replace(leaving, covered_since_s=None)
    return leaving if leaving.covered_since_s is not None else replace(leaving, covered_since_s=at_s)


def over(leaving: Leaving, at_s: float) -> bool:
    """Whether it is time to let them go."""
    return leaving.due_s is not None and leaving.due_s <= at_s
