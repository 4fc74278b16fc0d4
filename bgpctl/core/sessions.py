"""
Which BGP sessions a node owes: the mesh and the configured peers.

Refuses to know: how a speaker is configured with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgpctl.core.bgp import Session, SpeakerConfig
from bgpctl.core.cluster import Backend, Intent, Node, Peer
from bgpctl.core.model import Address

HOLD_TIME_S: Final = 30
RESTART_TIME_S: Final = 120


def speaker_config(intent: Intent, name: str) -> SpeakerConfig | None:
    """What the speaker of node `name` is configured with; None where there is no BGP at all."""
    node = intent.node(name)
    if node is None or intent.backend is not Backend.BIRD:
        return None
    mesh = [_mesh_session(intent, node, other) for other in intent.nodes if other != node] if intent.mesh else []
    given = [session for peer in intent.peers if name in peer.nodes for session in _peer_sessions(intent, node, peer)]
    # A configured peer replaces the mesh session with the same address.
    sessions = {session.peer: session for session in [*mesh, *given]}
    local = node.address.address
    return SpeakerConfig(local, local, intent.listen_port, tuple(sessions[peer] for peer in sorted(sessions)))


def _mesh_session(intent: Intent, node: Node, other: Node) -> Session:
    local, peer = node.address.address, other.address.address
    return Session(
        peer=peer,
        name=other.name,
        local=local,
        local_asn=intent.asn_of(node),
        peer_asn=intent.asn_of(other),
        passive=waits_for(local, peer),
        port=intent.listen_port,
        hold_time_s=HOLD_TIME_S,
        restart_time_s=RESTART_TIME_S,
    )


def _peer_sessions(intent: Intent, node: Node, peer: Peer) -> Iterator[Session]:
    if peer.address is not None and peer.asn is not None:
        yield Session(
            peer=peer.address,
            name=peer.name,
            local=node.address.address,
            local_asn=intent.asn_of(node),
            peer_asn=peer.asn,
            passive=False,
            port=peer.port,
            hold_time_s=HOLD_TIME_S,
            restart_time_s=RESTART_TIME_S,
            password_file=peer.password_file,
        )


def waits_for(local: Address, peer: Address) -> bool:
    """
    Whether `local` is the passive side: when the peer's address is the greater one *as a string*, Calico's rule,
    so that a mesh mixed with Calico nodes agrees. Two active sides collide and can abort a graceful restart.
    """
    return str(peer) > str(local)
