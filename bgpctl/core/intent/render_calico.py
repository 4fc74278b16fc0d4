"""
Intent → Calico's resources: one document each.

Refuses to know: YAML, and the short form.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Node, Peer, Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.fields import is_name
from bgpctl.core.intent.nodes import ACCEPTS, written_ends
from bgpctl.core.intent.pools import DEFAULT_USES
from bgpctl.core.intent.render_shared import (
    Written,
    given,
    only_node,
    peer_options,
    port_of,
    text,
    unless,
    written_filter,
    written_speaking,
    written_tunnels,
)
from bgpctl.core.intent.tunnel_keys import BGP_END_KEYS, SPEC_END_KEYS, mode_keys
from bgpctl.core.net.addresses import Address, Prefix

_API: Final = "projectcalico.org/v3"


def calico(intent: Intent) -> Iterator[Written]:
    """The resources that read as `intent`, by kind and name."""
    yield _config_map(intent)
    yield _resource("BGPConfiguration", "default", _bgp_configuration(intent))
    felix = written_tunnels(intent)
    if felix:
        yield _resource("FelixConfiguration", "default", felix)
    for pool in intent.pools:
        yield _resource("IPPool", pool.name, _pool(pool))
    for node in intent.nodes:
        yield _node(node, intent.allocations.of(node.name))
    for node in intent.nodes:
        yield from (_affinity(node, block) for block in intent.blocks_of(node))
    yield from _borrowed(intent)
    for item in intent.filters:
        yield _resource("BGPFilter", item.name, written_filter(item))
    for peer in intent.peers:
        yield _resource("BGPPeer", peer.name, _peer(intent, peer))


def _resource(kind: str, name: str, spec: Written) -> Written:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _config_map(intent: Intent) -> Written:
    mtu = str(intent.workload_mtu) if intent.workload_mtu else None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "calico-config", "namespace": "kube-system"},
        "data": given({"calico_backend": intent.backend.value, "veth_mtu": mtu}),
    }


def _bgp_configuration(intent: Intent) -> Written:
    return {"asNumber": intent.asn, "nodeToNodeMeshEnabled": intent.mesh, **written_speaking(intent)}


def _pool(pool: Pool) -> Written:
    return given(
        {
            "cidr": str(pool.cidr),
            **{key: mode.value for key, mode in mode_keys(pool.encapsulation, pool.mode).items()},
            "natOutgoing": pool.nat_outgoing,
            "blockSize": pool.block_size,
            "disabled": pool.disabled or None,
            "disableBGPExport": pool.disable_bgp_export or None,
            "nodeSelector": unless(pool.node_selector, "all()"),
            "allowedUses": None if pool.allowed_uses == DEFAULT_USES else [use.value for use in pool.allowed_uses],
        }
    )


def _node(node: Node, allocated: NodeAllocations) -> Written:
    bgp = given(
        {
            "ipv4Address": text(node.underlay(4)),
            "ipv6Address": text(node.underlay(6)),
            "asNumber": node.asn,
            "routeReflectorClusterID": text(node.cluster_id),
            **written_ends(allocated, BGP_END_KEYS),
        }
    )
    tunnels = given(written_ends(allocated, SPEC_END_KEYS))
    labels = {"labels": dict(node.labels)} if node.labels else {}
    accepts = None if node.accepts is None else ", ".join(sorted(item.name for item in node.accepts))
    notes = {} if accepts is None else {"annotations": {ACCEPTS: accepts}}
    metadata: Written = {"name": node.name, **labels, **notes}
    return {"apiVersion": _API, "kind": "Node", "metadata": metadata, "spec": {"bgp": bgp, **tunnels}}


def _peer(intent: Intent, peer: Peer) -> Written:
    node, port = only_node(intent, peer), port_of(intent, peer)
    return given(
        {
            "node": node,
            "nodeSelector": None if node else unless(peer.node_selector, "all()"),
            "peerIP": _endpoint(peer.address, port) if peer.address else None,
            "peerSelector": peer.peer_selector,
            **peer_options(peer),
        }
    )


def _endpoint(address: Address, port: int | None) -> str:
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


# Address management --------------------------------------------------------------------------------------------


def _dashed(prefix: Prefix) -> str:
    """As Calico names a block; `::/122` is `0::/122`, because a name starts with a letter or a digit."""
    return re.sub("[.:/]", "-", f"0{prefix}" if str(prefix).startswith(":") else str(prefix))


def _affinity(node: Node, block: Prefix) -> Written:
    named = f"{node.name}-{_dashed(block)}"
    spec: Written = {"cidr": str(block), "node": node.name, "state": "confirmed", "deleted": "false"}
    return _resource("BlockAffinity", named if is_name(named) else _dashed(block), spec)


def _borrowed(intent: Intent) -> Iterator[Written]:
    """The blocks, whosever they are, in which some node has an address without having the block."""
    holders: dict[Prefix, dict[int, str]] = defaultdict(dict)
    for node in intent.nodes:
        for host in intent.allocations.of(node.name).borrowed:
            block = _block_of(intent, host)
            holders[block][host.network - block.network] = node.name
    owners = {block: node.name for node in intent.nodes for block in intent.blocks_of(node)}
    for block in sorted(holders):
        yield _resource("IPAMBlock", _dashed(block), _allocations(block, owners.get(block), holders[block]))


def _block_of(intent: Intent, host: Prefix) -> Prefix:
    pool = intent.pool_of(host)
    size = pool.block_size if pool else host.length
    shift = host.length - size
    return Prefix(host.version, host.network >> shift << shift, size)


def _allocations(block: Prefix, owner: str | None, holders: dict[int, str]) -> Written:
    """The addresses of the owner's own workloads are not known here, and left free."""
    nodes = sorted(set(holders.values()))
    numbers = [nodes.index(holders[index]) if index in holders else None for index in range(block.size)]
    return given(
        {
            "cidr": str(block),
            "affinity": f"host:{owner}" if owner else None,
            "allocations": numbers,
            "attributes": [{"secondary": {"node": name}} for name in nodes],
            "strictAffinity": False,
            "unallocated": [index for index, number in enumerate(numbers) if number is None],
        }
    )
