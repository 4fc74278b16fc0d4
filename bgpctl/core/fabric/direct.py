"""
No encapsulation: the underlay itself carries workload addresses.

Refuses to know: tunnels.
"""

from __future__ import annotations

from bgpctl.core.fabric.facts import Underlay, resolve
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import NextHop


def same_subnet_hop(number: int, remote: Address, underlay: Underlay) -> NextHop:
    """The remote node is a neighbour on the underlay."""
    return NextHop(number, underlay.link, remote, onlink=True)


def routed_hop(number: int, remote: Address, dataplane: Dataplane) -> NextHop | None:
    """The remote is resolved through the node's own routes, as BGP resolves a next hop; None if none leads there."""
    way = resolve(dataplane, remote)
    return NextHop(number, way.link, way.gateway, onlink=True) if way else None
