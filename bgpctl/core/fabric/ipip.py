"""
IP in IP (RFC 2003): one device for all remotes; each route's gateway is the remote tunnel end. IPv4 only.

Refuses to know: how the device is made (the kernel's ipip module or a BPF program), where blocks were learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.objects import IPIP_LINK, Decap, Ipip, Link, LinkAddress, NextHop, Sysctl

OVERHEAD_BYTES: Final = 20

_WHY: Final = Reason(ReasonCode.TUNNEL, encapsulation=Encapsulation.IPIP)


def wanted(intent: Intent) -> bool:
    """True if any pool uses IPIP; then every node receives it."""
    return any(pool.encapsulation is Encapsulation.IPIP for pool in intent.pools)


def mtu_bytes(intent: Intent, carrier_bytes: int) -> int:
    """The MTU that fits into packets that leave by a link with this MTU, unless the operator says otherwise."""
    return intent.ipip_mtu or intent.workload_mtu or carrier_bytes - OVERHEAD_BYTES


def hop(number: int, remote: Address) -> NextHop | None:
    """The next hop through the tunnel to the node at `remote`; None if that is no IPv4 address."""
    return NextHop(number, IPIP_LINK, remote, onlink=True) if remote.version == 4 else None


def devices(intent: Intent, node: Node, underlay: Underlay) -> Iterator[Reasoned]:
    """The tunnel device and all it needs to receive from every other node."""
    yield Link(IPIP_LINK, Ipip(), mtu_bytes(intent, underlay.mtu_bytes)), _WHY
    yield Sysctl(f"net/ipv4/conf/{IPIP_LINK}/forwarding", "1"), _WHY
    # The way back may differ while encapsulations change; loose mode (2) beats a strict `all` since the larger wins.
    yield Sysctl(f"net/ipv4/conf/{IPIP_LINK}/rp_filter", "2"), _WHY
    address = intent.tunnel_address(node, Encapsulation.IPIP, 4)
    if address:
        yield LinkAddress(IPIP_LINK, InterfaceAddress(address, 32)), _WHY
    others = (other.underlay(4) for other in intent.nodes if other != node)
    sources = tuple(sorted(other.address for other in others if other))
    # At every address of the link: others may know us by a former one still, or by a coming one already.
    yield Decap(IPIP_LINK, underlay.link, underlay.address.address, sources, underlay.also), _WHY
