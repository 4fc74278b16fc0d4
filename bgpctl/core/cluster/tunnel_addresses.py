"""
The address and the MAC of a node's end of each tunnel where none was given: taken from a pool, derived from the name.

Every node derives them for every other, so nothing but the configuration and the allocations may decide.

Refuses to know: devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Configuration, Node, Pool, Use
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels
from bgpctl.core.cluster.selector import parse
from bgpctl.core.net.addresses import Address, Mac, Prefix, vtep_mac

HOSTNAME: Final = "kubernetes.io/hostname"


def every_tunnel() -> Iterator[tuple[Encapsulation, int]]:
    """Every tunnel that a node may have an end of: each encapsulation with each IP version that it carries."""
    return ((item, version) for item in tunnels().values() for version in item.versions)


def labels_of(node: Node) -> Mapping[str, str]:
    """Its labels. Every node of a Kubernetes cluster has the one with its name, so that a selector can name it."""
    return {HOSTNAME: node.name, **dict(node.labels)}


def selects(pool: Pool, node: Node) -> bool:
    """True if the pool's nodeSelector chooses the node."""
    return pool.node_selector == "all()" or parse(pool.node_selector)(labels_of(node))


def is_eligible(pool: Pool, node: Node, encapsulation: Encapsulation, version: int) -> bool:
    """
    True if the node's tunnel address may come from the pool.

    A disabled pool stays eligible: it gives no new addresses, and this one was derived from it all along.
    """
    fits = pool.encapsulation == encapsulation and pool.cidr.version == version
    return fits and Use.TUNNEL in pool.allowed_uses and selects(pool, node)


def taken(
    configuration: Configuration, node: Node, blocks: Iterable[Prefix], encapsulation: Encapsulation, version: int
) -> Address | None:
    """The first address of the node's first block in an eligible pool: the same on every node that derives it."""
    pools = [pool for pool in configuration.pools if is_eligible(pool, node, encapsulation, version)]
    return next((block.first for block in blocks if any(pool.cidr.covers(block) for pool in pools)), None)


def derived_mac(node: Node, version: int) -> Mac:
    """The VTEP's MAC as Calico derives it from the name; for IPv6 from the name with -v6."""
    return vtep_mac(node.name if version == 4 else f"{node.name}-v6")


def outside_blocks(configuration: Configuration, given: NodeAllocations) -> Iterator[Prefix]:
    """The given tunnel addresses that are in a pool, but in no block of the node itself."""
    for _, address in given.tunnel_addresses:
        host = address.host_prefix
        if configuration.pool_of(host) and not any(block.covers(host) for block in given.blocks):
            yield host
