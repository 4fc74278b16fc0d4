"""
Answers to a node that has no tunnel address: they come without a tunnel, where its route back is by one.

Such a node, which has no block to take an address from, sends to workloads by the tunnel with the address of its
underlay. A workload answers that address as it does any other outside the pools. Where the underlay's link filters
strictly (RFC 3704), it drops the answer, because the route to the workload is by another link. A switch of the
operator's is not changed for that; it is reported.

Refuses to know: how a sysctl is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.fabric.protocol import Site
from bgpctl.core.net.dataplane import Dataplane

_STRICT: Final = 1
_OF_ALL: Final = "all"


def strict_links(site: Site) -> Iterator[str]:
    """The underlay's link, if it drops such answers."""
    underlay = site.underlays.get(4)  # IPv6 has no such filter
    if underlay and _reverse_path_filter(site.observed, underlay.link) == _STRICT and _misses_an_address(site):
        yield underlay.link


def _misses_an_address(site: Site) -> bool:
    return next(without_address(site.intent, site.node), None) is not None


def without_address(intent: Intent, node: Node) -> Iterator[Encapsulation]:
    """The IPv4 tunnels on which the node has no address, by which it sends to blocks of other nodes."""
    for name, item in BEHAVIOURS.items():
        pools = [pool.cidr for pool in intent.pools if pool.encapsulation.name == name and pool.cidr.version == 4]
        if not pools or not item.link_names(4) or intent.tunnel_address(node, item.encapsulation, 4):
            continue
        others = (block for other in intent.nodes if other != node for block in intent.blocks_of(other))
        if any(pool.covers(block) for block in others for pool in pools):
            yield item.encapsulation


def _reverse_path_filter(observed: Dataplane, link: str) -> int:
    """The larger one of the link's value and that for all; 0 where none was read."""
    names = {f"net/ipv4/conf/{name}/rp_filter" for name in (_OF_ALL, link)}
    values = (item.value for item in observed.sysctls if item.name in names)
    return max((int(value) for value in values if value.isdigit()), default=0)
