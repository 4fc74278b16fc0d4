"""
VXLAN (RFC 7348) with learning off: neighbour and forwarding entries are derived from the list of members.

IPv4 and IPv6 pools have a device each, over the underlay of their own IP version, with the same VNI and port.

Refuses to know: where the members came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric.desired import Reasoned, RemotePrefix
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Prefix,
    link_local,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    VXLAN_LINKS,
    FdbEntry,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    Sysctl,
    Vxlan,
)

OVERHEAD_BYTES: Final = {4: 50, 6: 70}
"""IPv4 20 or IPv6 40, UDP 8, VXLAN 8, inner Ethernet 14."""

_WHY: Final = Reason(ReasonCode.TUNNEL, encapsulation=Encapsulation.VXLAN)


def wanted(intent: Intent, version: int) -> bool:
    """True if any pool of the IP version uses VXLAN; then every node receives it."""
    return any(pool.encapsulation is Encapsulation.VXLAN and pool.cidr.version == version for pool in intent.pools)


def link_name(intent: Intent, version: int, observed: Dataplane) -> str:
    """
    The name of our device: of the one that has the VNI and the port already, or one that none of ours has. They
    cannot be changed, so that a change takes a second device, which stands beside the first until nobody sends to that.
    """
    ours = {link.name: link.kind for link in observed.links if link.owned and isinstance(link.kind, Vxlan)}
    names = VXLAN_LINKS[version]
    fitting = (name for name in names if name in ours and _fits(ours[name], intent))
    free = (name for name in names if name not in ours)
    return next(fitting, next(free, names[0]))


def _fits(kind: Vxlan, intent: Intent) -> bool:
    return (kind.vni, kind.port) == (intent.vxlan_vni, intent.vxlan_port)


def mtu_bytes(intent: Intent, version: int, carrier_bytes: int) -> int:
    """The MTU that fits into packets that leave by a link with this MTU, unless the operator says otherwise."""
    given = intent.vxlan_mtu if version == 4 else intent.vxlan_mtu6
    return given or intent.workload_mtu or carrier_bytes - OVERHEAD_BYTES[version]


def hop(number: int, link: str, member: Node, intent: Intent, version: int) -> NextHop | None:
    """The next hop through the tunnel device to `member`; None if it has no tunnel address."""
    gateway = _gateway(intent, member, version)
    return NextHop(number, link, gateway, onlink=True) if gateway else None


def _gateway(intent: Intent, member: Node, version: int) -> Address | None:
    """
    The member's tunnel address, or for IPv6 its link-local one; None if it has no tunnel address.

    The kernel looks an IPv6 gateway up, on-link or not, and refuses one that a route other than the default leads to
    by another link (ip6_route_check_nh_onlink): as any aggregate does, and the member's own block while it is reached
    directly. Link-local gateways are not looked up.
    """
    address = intent.tunnel_address(member, Encapsulation.VXLAN, version)
    return link_local(intent.vtep_mac(member, version)) if address and version == 6 else address


def devices(intent: Intent, node: Node, name: str, underlay: Underlay) -> Iterator[Reasoned]:
    """The VTEP of this node over an underlay and its entries for every other member there."""
    local = underlay.address.address
    version = local.version
    kind = Vxlan(intent.vxlan_vni, intent.vxlan_port, local, underlay.link)
    yield (
        Link(name, kind, mtu_bytes(intent, version, underlay.mtu_bytes), intent.vtep_mac(node, version)),
        _WHY,
    )
    if version == 4:
        yield Sysctl(f"net/ipv4/conf/{name}/forwarding", "1"), _WHY
        # The way back may differ while encapsulations change; loose mode (2) beats a strict `all`: the larger wins.
        yield Sysctl(f"net/ipv4/conf/{name}/rp_filter", "2"), _WHY
    address = intent.tunnel_address(node, Encapsulation.VXLAN, version)
    if address:
        yield LinkAddress(name, InterfaceAddress(address, address.host_prefix.length)), _WHY
    for other in intent.nodes:
        if other != node:
            yield from _member_entries(intent, other, name, version)


def _member_entries(intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
    gateway, remote = _gateway(intent, member, version), member.underlay(version)
    if gateway is None or remote is None:
        return
    mac = intent.vtep_mac(member, version)
    why = Reason(ReasonCode.MEMBER, source=member.name, remote=remote.address, encapsulation=Encapsulation.VXLAN)
    yield FdbEntry(link, mac, remote.address), why
    yield Neighbour(link, gateway, mac), why


def reaches(intent: Intent, node: Node, version: int) -> Iterator[RemotePrefix | Unmet]:
    """Every block of another member in a VXLAN pool, and every address that it has in others' blocks."""
    for member in intent.nodes:
        for prefix in intent.prefixes_of(member) if member != node else ():
            if prefix.version == version:
                yield from _reach(intent, member, prefix)


def _reach(intent: Intent, member: Node, prefix: Prefix) -> Iterator[RemotePrefix | Unmet]:
    pool = intent.pool_of(prefix)
    if pool is None or pool.encapsulation is not Encapsulation.VXLAN:
        return
    remote = member.underlay(prefix.version)
    if remote is None:
        yield Unmet(UnmetCode.NO_ADDRESS, str(prefix), member.name)
    elif intent.tunnel_address(member, Encapsulation.VXLAN, prefix.version) is None:
        yield Unmet(UnmetCode.NO_TUNNEL_ADDRESS, str(prefix), member.name)
    else:
        yield RemotePrefix(prefix, pool, remote.address, member.name)
