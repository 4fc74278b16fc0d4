"""
Intent → the short form: one document.

Refuses to know: YAML, and Calico's resources.
"""

from __future__ import annotations

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Node, Peer, Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.nodes import written_ends
from bgpctl.core.intent.pools import DEFAULT_BLOCK_SIZE, DEFAULT_USES
from bgpctl.core.intent.render_shared import (
    Written,
    given,
    only_node,
    peer_options,
    port_of,
    text,
    texts,
    unless,
    written_filter,
    written_speaking,
    written_tunnels,
)
from bgpctl.core.intent.tunnel_keys import short_end_keys


def short(intent: Intent) -> Written:
    """The document that reads as `intent`. What has its default is left out, but for what every cluster should say."""
    return given(
        {
            "calico_backend": intent.backend.value,
            "asNumber": intent.asn,
            "mesh": intent.mesh,
            **written_speaking(intent),
            **written_tunnels(intent),
            "mtu": intent.workload_mtu or None,
            "pools": {pool.name: _pool(pool) for pool in intent.pools} or None,
            "nodes": {node.name: _node(node, intent.allocations.of(node.name)) for node in intent.nodes} or None,
            "peers": {peer.name: _peer(intent, peer) for peer in intent.peers} or None,
            "filters": {item.name: written_filter(item) for item in intent.filters} or None,
        }
    )


def _pool(pool: Pool) -> Written:
    return given(
        {
            "cidr": str(pool.cidr),
            "encapsulation": pool.encapsulation.word(pool.mode),
            "natOutgoing": pool.nat_outgoing or None,
            "blockSize": unless(pool.block_size, DEFAULT_BLOCK_SIZE[pool.cidr.version]),
            "disabled": pool.disabled or None,
            "disableBGPExport": pool.disable_bgp_export or None,
            "nodeSelector": unless(pool.node_selector, "all()"),
            "allowedUses": None if pool.allowed_uses == DEFAULT_USES else [use.value for use in pool.allowed_uses],
        }
    )


def _node(node: Node, allocated: NodeAllocations) -> Written:
    return given(
        {
            "address": str(node.address),
            "address6": text(node.address6),
            "asNumber": node.asn,
            "clusterID": text(node.cluster_id),
            "accepts": None if node.accepts is None else sorted(item.name for item in node.accepts),
            "labels": dict(node.labels) or None,
            "blocks": texts(allocated.blocks),
            "borrowed": texts(allocated.borrowed),
            **written_ends(allocated, short_end_keys()),
        }
    )


def _peer(intent: Intent, peer: Peer) -> Written:
    node = only_node(intent, peer)
    return given(
        {
            "ip": text(peer.address),
            "port": port_of(intent, peer),
            "peerSelector": peer.peer_selector,
            "node": node,
            "nodes": None if node else unless(peer.node_selector, "all()"),
            **peer_options(peer),
        }
    )
