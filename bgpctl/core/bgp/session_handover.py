"""
Make before break for BGP sessions: a session that is not configured any more stays until others announce its
prefixes.

When a full mesh gives way to route reflectors (RFC 4456), every node drops most of its sessions; when a node gets
another address, every node drops the session with the former one. Dropped at once, each session would take its
routes along, and they would be missing until the reflectors, or the node at its new address, have announced them
again. Graceful restart does not help, as the peer does not come back.

So the former sessions stay beside the new ones. They are covered once every prefix in their tables is in the table
of an established session that stays; they go SETTLE_S after that, because the peer at the other end makes the same
change at its own pace and may need them still. HANDOVER_MAX_S bounds the wait: the operator's configuration is the
rule, the handover the exception. Only sessions with members of the cluster are handed over, as no other peer
announces the prefixes of a router outside; and none where the speaker itself changes (another router id, listening
address or port). A session that the operator shuts down is not handed over either.

The reverse needs a role instead of sessions. When reflectors give way to a mesh, the sessions of the mesh are new,
and a former reflector cannot see whether its clients have theirs. It goes on reflecting for HANDOVER_MAX_S; a
client that receives a path twice prefers the one that was not reflected (shorter cluster list, RFC 4456, section
9).

Refuses to know: which sessions are configured, and why; how they are opened and closed.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.net.addresses import Address, Prefix

SETTLE_S: Final = 10.0
"""How long all prefixes must be announced by others before the former sessions go."""
HANDOVER_MAX_S: Final = 300.0
"""After this long the former sessions go all the same."""


class FormerReflector(NamedTuple):
    """The cluster id by which a node goes on reflecting, although it is no route reflector any more, and until when."""

    cluster_id: Address
    until_s: float


@dataclass(frozen=True, slots=True)
class Handover:
    """
    Former sessions that stay for a while, and the role of a former reflector.

    Attributes:
        sessions: sorted by peer.
        until_s: when they go in any case.
        covered_since_s: when others began to announce all their prefixes; None while they do not.
    """

    sessions: tuple[Session, ...] = ()
    until_s: float = 0.0
    covered_since_s: float | None = None
    role: FormerReflector | None = None

    @property
    def sessions_due_s(self) -> float:
        """When the sessions go, as far as it is known now."""
        if not self.sessions:
            return math.inf
        covered_s = self.until_s if self.covered_since_s is None else self.covered_since_s + SETTLE_S
        return min(self.until_s, covered_s)

    @property
    def due_s(self) -> float:
        """When the sessions or the role go, whichever is first, as far as it is known now."""
        return min(self.sessions_due_s, self.role.until_s if self.role else math.inf)


def without_peers(config: SpeakerConfig | None, shut: Collection[Address]) -> SpeakerConfig | None:
    """The configuration without the peers in `shut`."""
    if config is None or not shut:
        return config
    return replace(config, sessions=tuple(session for session in config.sessions if session.peer not in shut))


def begin(
    before: SpeakerConfig | None,
    wanted: SpeakerConfig | None,
    handover: Handover,
    configuration: Configuration,
    at_s: float,
) -> Handover:
    """The handover from `before` to `wanted`; `handover` is the one in progress, whose time goes on."""
    if before is None or wanted is None or not _is_same_speaker(before, wanted):
        return Handover()
    members = {own.address for node in configuration.nodes for own in map(node.underlay, (4, 6)) if own}
    peers = {session.peer for session in wanted.sessions}
    if members.isdisjoint(peers):
        # No member is left to announce what the others did.
        return Handover()
    names = {node.name for node in configuration.nodes}
    former = (session for session in before.sessions if session.peer not in peers)
    sessions = tuple(session for session in former if _is_with_member(session, members, names))
    return Handover(sessions, handover.until_s if handover.sessions else at_s + HANDOVER_MAX_S)


def _is_same_speaker(before: SpeakerConfig, wanted: SpeakerConfig) -> bool:
    return replace(before, sessions=()) == replace(wanted, sessions=())


def _is_with_member(session: Session, members: Collection[Address], names: Collection[str]) -> bool:
    """
    True if the peer is a member of the cluster, by its address, or by its name if it has another address now. A Peer of
    the configuration may have the same name as a node; then the session's name is the Peer's.
    """
    return session.peer in members or (session.name in names and session.by != session.name)


def former_reflector(
    handover: Handover, cluster_id: Address | None, node: Node | None, at_s: float
) -> FormerReflector | None:
    """The role that the node keeps: it reflected by `cluster_id` until now."""
    if cluster_id is None or node is None or node.cluster_id is not None:
        return None
    role = handover.role or FormerReflector(cluster_id, at_s + HANDOVER_MAX_S)
    return role if at_s < role.until_s else None


def merged(wanted: SpeakerConfig | None, handover: Handover) -> SpeakerConfig | None:
    """The configuration with the former sessions; all internal peers of a former reflector are its clients."""
    if wanted is None:
        return None
    sessions = {session.peer: session for session in (*wanted.sessions, *handover.sessions)}
    if handover.role:
        sessions = {peer: replace(session, client=session.internal) for peer, session in sessions.items()}
    return replace(wanted, sessions=tuple(sessions[peer] for peer in sorted(sessions)))


def with_coverage(handover: Handover, adj_rib_in: AdjRibIn, at_s: float) -> Handover:
    """The handover with the time since which others announce every prefix of the former sessions."""
    if not handover.sessions:
        return handover
    former = {session.peer for session in handover.sessions}
    if not _is_covered(adj_rib_in, former):
        return replace(handover, covered_since_s=None)
    return handover if handover.covered_since_s is not None else replace(handover, covered_since_s=at_s)


def _is_covered(adj_rib_in: AdjRibIn, former: Collection[Address]) -> bool:
    """True if established sessions that stay have a path to every prefix of the former ones; with none they do not."""
    staying = [table for peer, table in adj_rib_in.items() if peer not in former and table.established]
    return bool(staying) and _prefixes(adj_rib_in, former).issubset(
        prefix for table in staying for prefix in table.usable
    )


def _prefixes(adj_rib_in: AdjRibIn, peers: Collection[Address]) -> set[Prefix]:
    return {prefix for peer in peers if peer in adj_rib_in for prefix in adj_rib_in[peer].paths}
