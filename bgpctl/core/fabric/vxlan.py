"""
VXLAN (RFC 7348) with learning off: neighbour and forwarding entries are derived from the list of members.

Refuses to know: where the members came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgpctl.core import tunnels
from bgpctl.core.cluster import Encapsulation, Intent, Node
from bgpctl.core.fabric.desired import Reach, Reasoned
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.model import (
    VXLAN_LINK,
    Address,
    FdbEntry,
    InterfaceAddress,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    Sysctl,
    Vxlan,
    vtep_mac,
)
from bgpctl.core.why import Because, Lack, Missing, Why

OVERHEAD_BYTES: Final = 50
"""IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14."""

_WHY: Final = Why(Because.TUNNEL, encapsulation=Encapsulation.VXLAN)


def wanted(intent: Intent) -> bool:
    """Whether any pool uses VXLAN; then every node receives it."""
    return any(pool.encapsulation is Encapsulation.VXLAN for pool in intent.pools)


def hop(number: int, member: Node, intent: Intent) -> NextHop | None:
    """The next hop through the tunnel to `member`; None if it has no tunnel address."""
    address = tunnel_address(intent, member)
    return NextHop(number, VXLAN_LINK, address, onlink=True) if address else None


def tunnel_address(intent: Intent, node: Node) -> Address | None:
    """The VTEP's inner address: the given one, or one taken from a VXLAN pool."""
    return tunnels.vxlan_address(intent, node, 4)


def devices(intent: Intent, node: Node, underlay: Underlay) -> Iterator[Reasoned]:
    """The VTEP of this node and its entries for every other member."""
    kind = Vxlan(intent.vxlan_vni, intent.vxlan_port, node.address.address, underlay.link)
    mac = node.vxlan_mac or vtep_mac(node.name)
    mtu_bytes = intent.vxlan_mtu or intent.workload_mtu or underlay.mtu_bytes - OVERHEAD_BYTES
    yield Link(VXLAN_LINK, kind, mtu_bytes, mac), _WHY
    yield Sysctl(f"net/ipv4/conf/{VXLAN_LINK}/forwarding", "1"), _WHY
    # The way back may differ while encapsulations change; loose mode (2) beats a strict `all` since the larger wins.
    yield Sysctl(f"net/ipv4/conf/{VXLAN_LINK}/rp_filter", "2"), _WHY
    address = tunnel_address(intent, node)
    if address:
        yield LinkAddress(VXLAN_LINK, InterfaceAddress(address, 32)), _WHY
    for other in intent.nodes:
        if other != node:
            yield from _member_entries(intent, other)


def _member_entries(intent: Intent, member: Node) -> Iterator[Reasoned]:
    address = tunnel_address(intent, member)
    if address is None:
        return
    mac = member.vxlan_mac or vtep_mac(member.name)
    why = Why(Because.MEMBER, source=member.name, remote=member.address.address, encapsulation=Encapsulation.VXLAN)
    yield FdbEntry(VXLAN_LINK, mac, member.address.address), why
    yield Neighbour(VXLAN_LINK, address, mac), why


def reaches(intent: Intent, node: Node) -> Iterator[Reach | Missing]:
    """Every block of another member in a VXLAN pool, and every address that it has in others' blocks."""
    for member in intent.nodes:
        for prefix in (*member.blocks, *tunnels.borrowed(intent, member)) if member != node else ():
            pool = intent.pool_of(prefix)
            if pool is None or pool.encapsulation is not Encapsulation.VXLAN:
                continue
            if tunnel_address(intent, member) is None:
                yield Missing(Lack.NO_TUNNEL_ADDRESS, str(prefix), member.name)
            else:
                yield Reach(prefix, pool, member.address.address, member.name)
