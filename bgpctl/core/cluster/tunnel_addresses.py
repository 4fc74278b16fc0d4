"""
Which address a node has on each tunnel, and which it has in others' blocks: given, or taken from a pool.

Refuses to know: devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bgpctl.core.cluster.configuration import Intent, Node, Pool, Use
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.selector import parse
from bgpctl.core.net.addresses import Address, Mac, Prefix, vtep_mac

HOSTNAME: Final = "kubernetes.io/hostname"


def labels_of(node: Node) -> Mapping[str, str]:
    """Its labels. Every node of a Kubernetes cluster has the one with its name, so that a selector can name it."""
    return {HOSTNAME: node.name, **dict(node.labels)}


def selects(pool: Pool, node: Node) -> bool:
    """Whether the pool's nodeSelector chooses the node."""
    return pool.node_selector == "all()" or parse(pool.node_selector)(labels_of(node))


def is_eligible(pool: Pool, node: Node, encapsulation: Encapsulation, version: int) -> bool:
    """
    Whether the node's tunnel address may come from the pool.

    A disabled pool stays eligible: it gives no new addresses, and this one was derived from it all along.
    """
    fits = pool.encapsulation is encapsulation and pool.cidr.version == version
    return fits and Use.TUNNEL in pool.allowed_uses and selects(pool, node)


def taken(intent: Intent, node: Node, encapsulation: Encapsulation, version: int) -> Address | None:
    """The first address of the node's first block in an eligible pool: the same on every node that derives it."""
    pools = [pool for pool in intent.pools if is_eligible(pool, node, encapsulation, version)]
    return next((block.first for block in node.blocks if any(pool.cidr.covers(block) for pool in pools)), None)


def ipip_address(intent: Intent, node: Node) -> Address | None:
    """On the IPIP tunnel: the given one, or one taken from a pool."""
    return node.ipip_address or taken(intent, node, Encapsulation.IPIP, 4)


def vxlan_address(intent: Intent, node: Node, version: int) -> Address | None:
    """On the VXLAN of one IP version: the given one, or one taken from a pool."""
    given = node.vxlan_address if version == 4 else node.vxlan_address6
    return given or taken(intent, node, Encapsulation.VXLAN, version)


def addresses(intent: Intent, node: Node) -> tuple[Address, ...]:
    """Those that it has, on all tunnels."""
    found = (ipip_address(intent, node), vxlan_address(intent, node, 4), vxlan_address(intent, node, 6))
    return tuple(address for address in found if address)


def vxlan_mac(node: Node, version: int) -> Mac:
    """The VTEP's MAC: the given one, or as Calico derives it, that of IPv6 from the name with -v6."""
    if version == 4:
        return node.vxlan_mac or vtep_mac(node.name)
    return node.vxlan_mac6 or vtep_mac(f"{node.name}-v6")


def borrowed(intent: Intent, node: Node) -> tuple[Prefix, ...]:
    """
    Host prefixes that are the node's although their block, if there is one, is not: sorted.

    A tunnel address that was given from elsewhere is one of them: answers to it must find the node.
    """
    return tuple(sorted({*node.borrowed, *_tunnel_prefixes(intent, node)}))


def _tunnel_prefixes(intent: Intent, node: Node) -> Iterator[Prefix]:
    for address in (node.ipip_address, node.vxlan_address, node.vxlan_address6):
        host = address.host_prefix if address else None
        if host and intent.pool_of(host) and not any(block.covers(host) for block in node.blocks):
            yield host
