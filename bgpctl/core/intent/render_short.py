"""
Intent → the short form: one document.

Refuses to know: YAML, and Calico's resources.
"""

from __future__ import annotations

from bgpctl.core.cluster.configuration import Peer
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.filters import FILTER
from bgpctl.core.intent.nodes import written_short_node
from bgpctl.core.intent.pools import written_short_pool
from bgpctl.core.intent.render_shared import port_of, who_peers
from bgpctl.core.intent.services import written_services
from bgpctl.core.intent.short import SETTINGS, SHORT_PEER
from bgpctl.core.intent.tables import Written


def short(intent: Intent) -> Written:
    """The document that reads as `intent`. Defaults are left out, but for keys that every cluster should have."""
    named: Written = {
        "pools": {pool.name: written_short_pool(pool) for pool in intent.pools},
        "nodes": {node.name: written_short_node(node, intent.allocations.of(node.name)) for node in intent.nodes},
        "peers": {peer.name: _peer(intent, peer) for peer in intent.peers},
        "filters": {item.name: FILTER.write(item) for item in intent.filters},
        "announce": written_services(intent),
    }
    return {**SETTINGS.write(intent), **{key: items for key, items in named.items() if items}}


def _peer(intent: Intent, peer: Peer) -> Written:
    return SHORT_PEER.write(peer, port=port_of(intent, peer), **who_peers(intent, peer))
