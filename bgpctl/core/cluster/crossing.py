"""
How packets of a pool cross the underlay to a node: encapsulated, or not.

Refuses to know: how an encapsulation does it.
"""

from __future__ import annotations

from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, Encapsulation, Mode
from bgpctl.core.net.addresses import Address


def encapsulation_to(pool: Pool, node: Node, remote: Address) -> Encapsulation:
    """How `node` sends to the node at `remote`."""
    if pool.mode is Mode.CROSS_SUBNET and same_subnet(node, remote):
        return DIRECT
    return pool.encapsulation


def same_subnet(node: Node, remote: Address) -> bool:
    """True if `remote` lies inside the *local* node's own network."""
    own = node.underlay(remote.version)
    return own is not None and own.network.holds(remote)
