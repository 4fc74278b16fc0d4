"""
The operator's agreement with the other end of one BGP session, beyond its transport.

Refuses to know: what is advertised or received there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import Configuration, Filter, NextHopMode, Node, Peer
from bgpctl.core.net.addresses import Address


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """
    The policy of one session.

    Attributes:
        member: the node at the other end; None for a router outside the cluster.
        filters: tried in this order.
        allowed_own_as: how often our own AS may stand in a received AS path.
        route_server: a received AS path need not begin with the peer's AS (RFC 7947, section 2.2.2.1).
    """

    session: Session
    member: Node | None = None
    filters: tuple[Filter, ...] = ()
    next_hop_mode: NextHopMode = NextHopMode.AUTO
    allowed_own_as: int = 0
    route_server: bool = False

    @property
    def peer(self) -> Address:
        return self.session.peer

    @property
    def may_reflect(self) -> bool:
        """True for an internal peer that may send paths of others (RFC 4456): of members, route reflectors alone."""
        return self.internal and (self.member is None or self.member.cluster_id is not None)

    @property
    def internal(self) -> bool:
        return self.session.internal


def session_policies(configuration: Configuration, config: SpeakerConfig) -> tuple[SessionPolicy, ...]:
    """The policies of all sessions of a node, in the order of the sessions."""
    members = {address: node for node in configuration.nodes for address in node.addresses}
    peers = {peer.name: peer for peer in configuration.peers}
    filters = {item.name: item for item in configuration.filters}
    return tuple(
        _session_policy(session, members.get(session.peer), peers.get(session.by or ""), filters)
        for session in config.sessions
    )


def _session_policy(
    session: Session, member: Node | None, peer: Peer | None, filters: Mapping[str, Filter]
) -> SessionPolicy:
    if peer is None:
        return SessionPolicy(session, member)
    tried = tuple(filters[name] for name in peer.filters if name in filters)
    return SessionPolicy(session, member, tried, peer.next_hop_mode, peer.allowed_own_as, peer.route_server)
