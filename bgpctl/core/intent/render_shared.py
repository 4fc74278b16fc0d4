"""
Peers in both forms: the keys that follow from the rest of the cluster, and are left out.

Refuses to know: YAML, and which form it becomes part of.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.cluster.configuration import Node, Peer
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.tunnel_addresses import HOSTNAME, labels_of
from bgpctl.core.intent.tables import Values

PORT: Final = 179


def who_peers(intent: Intent, peer: Peer) -> Values:
    """The node or else the selector of the nodes that peer."""
    node = only_node(intent, peer)
    return {"node": node, "node_selector": None if node else peer.node_selector}


def port_of(intent: Intent, peer: Peer) -> int | None:
    """The port if it has to be given: another node listens where all nodes do, any other speaker at 179."""
    addresses = {own.address for node in intent.nodes for own in (node.address, node.address6) if own}
    implied = intent.listen_port if peer.remotes or peer.address in addresses else PORT
    return None if peer.port == implied else peer.port


def only_node(intent: Intent, peer: Peer) -> str | None:
    """The node that a peer is of by name. Its selector may choose others too, that have the same host name label."""
    named = [node for node in intent.nodes if peer.node_selector == f"{HOSTNAME} == '{labels_of(node)[HOSTNAME]}'"]
    if peer.nodes:
        return next((node.name for node in named if (node.name,) == peer.nodes), None)
    return next((node.name for node in named if not _can_peer(node, peer)), None)


def _can_peer(node: Node, peer: Peer) -> bool:
    """True if the node has an address of the peer's IP version, and is not the peer itself."""
    own = node.underlay(peer.address.version) if peer.address else node.address
    return own is not None and own.address != peer.address
