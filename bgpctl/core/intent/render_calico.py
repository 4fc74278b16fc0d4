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
from bgpctl.core.cluster.configuration import Node, Peer
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.bgp import BGP_CONFIGURATION, BGP_PEER, written_node
from bgpctl.core.intent.felix import FELIX
from bgpctl.core.intent.fields import is_name
from bgpctl.core.intent.filters import FILTER
from bgpctl.core.intent.kubernetes import CONFIG_DATA
from bgpctl.core.intent.pools import written_pool
from bgpctl.core.intent.render_shared import port_of, who_peers
from bgpctl.core.intent.services import written_services
from bgpctl.core.intent.tables import Written
from bgpctl.core.net.addresses import Prefix

_API: Final = "projectcalico.org/v3"


def calico(intent: Intent) -> Iterator[Written]:
    """The resources that read as `intent`, by kind and name."""
    yield _config_map(intent)
    yield _resource("BGPConfiguration", "default", BGP_CONFIGURATION.write(intent))
    felix = FELIX.write(intent)
    if felix:
        yield _resource("FelixConfiguration", "default", felix)
    for pool in intent.pools:
        yield _resource("IPPool", pool.name, written_pool(pool))
    for node in intent.nodes:
        yield _node(node, intent.allocations.of(node.name))
    for node in intent.nodes:
        yield from (_affinity(node, block) for block in intent.blocks_of(node))
    yield from _borrowed(intent)
    for item in intent.filters:
        yield _resource("BGPFilter", item.name, FILTER.write(item))
    for peer in intent.peers:
        yield _resource("BGPPeer", peer.name, _peer(intent, peer))
    if intent.services:  # Calico has none; a document of the short form stands beside its resources
        yield {"announce": written_services(intent)}


def _resource(kind: str, name: str, spec: Written) -> Written:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _config_map(intent: Intent) -> Written:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "calico-config", "namespace": "kube-system"},
        "data": CONFIG_DATA.write(intent),
    }


def _node(node: Node, allocated: NodeAllocations) -> Written:
    metadata, spec = written_node(node, allocated)
    return {"apiVersion": _API, "kind": "Node", "metadata": metadata, "spec": spec}


def _peer(intent: Intent, peer: Peer) -> Written:
    endpoint = (peer.address, port_of(intent, peer)) if peer.address else None
    return BGP_PEER.write(peer, endpoint=endpoint, **who_peers(intent, peer))


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
    affinity = {"affinity": f"host:{owner}"} if owner else {}
    return {
        "cidr": str(block),
        **affinity,
        "allocations": numbers,
        "attributes": [{"secondary": {"node": name}} for name in nodes],
        "strictAffinity": False,
        "unallocated": [index for index, number in enumerate(numbers) if number is None],
    }
