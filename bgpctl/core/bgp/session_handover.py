"""
Make before break: sessions that are owed no more and stay until what they told is known from others.

When a mesh gives way to reflectors every node drops most of its sessions; when a node gets another address, everyone
drops the one to the former. Dropped at once, routes would be missing until others have told them again; so they stay
until that has happened, and a little longer, because the other end may not be there yet. Only sessions between members
of the cluster are kept: nobody else can tell the same.

When reflectors give way to a mesh, the sessions of the mesh are new, and who is no reflector any more cannot see
whether its clients have theirs. So it reflects on for as long as sessions would stay at most; who is told twice takes
the shorter way.

Refuses to know: who decided what is owed, how sessions are opened and closed.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import Intent, Node
from bgpctl.core.net.addresses import Address

SETTLE_S: Final = 10.0
"""How long everything must be known from others before the sessions go."""
HANDOVER_MAX_S: Final = 300.0
"""After this long the sessions go all the same: what is owed was decided by the operator."""


class FormerReflector(NamedTuple):
    """A route reflector's, which the node does not have any more, and until when it plays it."""

    cluster_id: Address
    until_s: float


@dataclass(frozen=True, slots=True)
class Handover:
    """
    Sessions on their way out, and a role.

    Attributes:
        sessions: sorted by peer.
        until_s: when they go in any case.
        covered_since_s: since when others tell everything that they tell; None while they do not.
    """

    sessions: tuple[Session, ...] = ()
    until_s: float = 0.0
    covered_since_s: float | None = None
    role: FormerReflector | None = None

    @property
    def sessions_due_s(self) -> float:
        """When the sessions go, as far as can be said."""
        if not self.sessions:
            return math.inf
        covered_s = self.until_s if self.covered_since_s is None else self.covered_since_s + SETTLE_S
        return min(self.until_s, covered_s)

    @property
    def due_s(self) -> float:
        """When the first of it goes, as far as can be said."""
        return min(self.sessions_due_s, self.role.until_s if self.role else math.inf)


def without_peers(config: SpeakerConfig | None, shut: Collection[Address]) -> SpeakerConfig | None:
    """The configuration without the peers in `shut`."""
    if config is None or not shut:
        return config
    return replace(config, sessions=tuple(session for session in config.sessions if session.peer not in shut))


def begin(
    before: SpeakerConfig | None, owed: SpeakerConfig | None, leaving: Handover, intent: Intent, at_s: float
) -> Handover:
    """What of `before` stays a while although it is not in `owed`; `leaving` is what stayed already."""
    members = {own.address for node in intent.nodes for own in map(node.underlay, (4, 6)) if own}
    if before is None or owed is None or replace(before, sessions=()) != replace(owed, sessions=()):
        return Handover()
    peers = {session.peer for session in owed.sessions}
    if members.isdisjoint(peers):
        return Handover()
    # Of a member that has another address now only the name is left; a Peer may have the same one.
    names = {node.name for node in intent.nodes}
    sessions = tuple(
        session
        for session in before.sessions
        if session.peer not in peers
        and (session.peer in members or (session.name in names and session.by != session.name))
    )
    return Handover(sessions, leaving.until_s if leaving.sessions else at_s + HANDOVER_MAX_S)


def former_reflector(
    leaving: Handover, former: Address | None, node: Node | None, at_s: float
) -> FormerReflector | None:
    """The role that the node plays on: it had the cluster id `former` until now."""
    if former is None or node is None or node.cluster_id is not None:
        return None
    role = leaving.role or FormerReflector(former, at_s + HANDOVER_MAX_S)
    return role if at_s < role.until_s else None


def merged(owed: SpeakerConfig | None, leaving: Handover) -> SpeakerConfig | None:
    """The configuration with the sessions that are leaving; of one who reflects on, every internal peer is a client."""
    if owed is None:
        return None
    sessions = {session.peer: session for session in (*owed.sessions, *leaving.sessions)}
    if leaving.role:
        sessions = {peer: replace(session, client=session.internal) for peer, session in sessions.items()}
    return replace(owed, sessions=tuple(sessions[peer] for peer in sorted(sessions)))


def with_coverage(leaving: Handover, rib: AdjRibIn, at_s: float) -> Handover:
    """With what the tables show now of who tells what."""
    if not leaving.sessions:
        return leaving
    gone = {session.peer for session in leaving.sessions}
    told = {prefix for peer in gone & rib.keys() for prefix in rib[peer].paths}
    staying = [table for peer, table in rib.items() if peer not in gone and table.established]
    if not staying or not told.issubset(prefix for table in staying for prefix in table.usable):
        return replace(leaving, covered_since_s=None)
    return leaving if leaving.covered_since_s is not None else replace(leaving, covered_since_s=at_s)
