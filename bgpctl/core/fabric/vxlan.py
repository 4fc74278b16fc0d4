"""
VXLAN (RFC 7348) with learning off: neighbour and forwarding entries are derived from the list of members.

IPv4 and IPv6 pools have a device each, over the underlay of their own IP version, with the same VNI and port.

Refuses to know: where the members came from, how a device is made.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.encapsulation import VXLAN
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.fabric.host import Answer, Check, Facts, Needs, Verdict, good
from bgpctl.core.fabric.inside import inner_filter
from bgpctl.core.fabric.protocol import ProbeFrame, Site, members_at
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Vni, link_local
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Decap, FdbEntry, Link, LinkAddress, LinkKind, Neighbour, NextHop, Sysctl

LINKS: Final = {
    4: ("vxlan.bgpctl", "vxlan2.bgpctl", "vxlan3.bgpctl"),
    6: ("vxlan-v6.bgpctl", "vxlan2-6.bgpctl", "vxlan3-6.bgpctl"),
}
"""By IP version: the usual name, and those of a device that stands beside it while VNI or port change."""
OVERHEAD_BYTES: Final = {4: 50, 6: 70}
"""IPv4 20 or IPv6 40, UDP 8, VXLAN 8, inner Ethernet 14."""

_WHY: Final = Reason(ReasonCode.TUNNEL, encapsulation=VXLAN)


@dataclass(frozen=True, slots=True, order=True)
class Vxlan(LinkKind):
    """
    A point-to-multipoint VXLAN device, learning off, over the IP version of `local`.

    VNI, port and underlay cannot change in place; `local` can, within its IP version, and `df` can.

    Attributes:
        df: the outer DF bit, as IFLA_VXLAN_DF has it: 0 unset, 1 set, 2 the inner packet's. Ours is unset: where the
            path has a smaller MTU, packets are cut. The kernel does not use the path MTU for packets that it forwards
            (ip_forward_use_pmtu): with DF, workloads would hear nothing and lose all.
    """

    vni: Vni
    port: int
    local: Address
    underlay: str
    df: int = 0

    def stands_on(self) -> str | None:
        """It goes with its underlay (vxlan_handle_lowerdev_unregister)."""
        return self.underlay

    def excludes(self) -> Hashable | None:
        """Two devices cannot receive the same VNI on one port (vxlan_vni_in_use), by IP version of the underlay."""
        return "vxlan", self.vni, self.port, self.local.version

    def entries_version(self) -> int | None:
        return self.local.version

    def refusal(self, present: Link) -> int:
        return 0 if self.comes_from(present.kind) else errno.EOPNOTSUPP

    def comes_from(self, present: LinkKind) -> bool:
        """
        True if a device can be made into this one in place: VNI, port and underlay are fixed at its creation
        (EOPNOTSUPP from vxlan_changelink), the local address and DF are not, but its IP version is.
        """
        if not isinstance(present, Vxlan) or present.local.version != self.local.version:
            return False
        return replace(present, local=self.local, df=self.df) == self

    def wire(self) -> Mapping[str, int]:
        return {"vni": self.vni, "port": self.port}

    def sends_from(self) -> Address:
        return self.local

    def sending_from(self, local: Address) -> Vxlan:
        return replace(self, local=local)


@dataclass(frozen=True, slots=True)
class VxlanFrame(ProbeFrame):
    """The fields of a packet beside its addresses."""

    vni: Vni
    port: int
    source: Mac
    destination: Mac


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The abilities of a host for it: `devices` of this kind can be made."""

    devices: bool = True


class VxlanBehaviour:
    """Every member has forwarding entries for every other, and lets in the packets of every other."""

    encapsulation: Final = VXLAN

    def overhead_bytes(self, version: int) -> int:
        return OVERHEAD_BYTES[version]

    def mtu_bytes(self, configuration: Configuration, version: int, carrier_bytes: int) -> int:
        given = configuration.vxlan_mtu if version == 4 else configuration.vxlan_mtu6
        return given or configuration.workload_mtu or carrier_bytes - OVERHEAD_BYTES[version]

    def udp_port(self, configuration: Configuration) -> int | None:
        return configuration.vxlan_port

    def incoming(self, configuration: Configuration) -> str:
        return f"UDP port {configuration.vxlan_port}"

    def link_names(self, version: int) -> tuple[str, ...]:
        return LINKS[version]

    def link_name(self, configuration: Configuration, version: int, observed: Dataplane) -> str:
        """
        Of the device that has the VNI and the port already, or a name that none of ours has. They cannot be changed,
        so that a change takes a second device, which stands beside the first until no member sends to that.
        """
        ours = {link.name: link.kind for link in observed.links if link.owned and isinstance(link.kind, Vxlan)}
        names = LINKS[version]
        fitting = (name for name in names if name in ours and _fits(ours[name], configuration))
        free = (name for name in names if name not in ours)
        return next(fitting, next(free, names[0]))

    def recognises(self, kind: LinkKind) -> bool:
        return isinstance(kind, Vxlan)

    def objects(self, site: Site, underlay: Underlay) -> Iterator[Reasoned]:
        """The VTEP of this node over an underlay."""
        intent, node, version = site.intent, site.node, underlay.version
        name = site.link(VXLAN, version)
        kind = Vxlan(intent.vxlan_vni, intent.vxlan_port, underlay.address.address, underlay.link)
        mtu_bytes = self.mtu_bytes(intent, version, underlay.mtu_bytes)
        yield Link(name, kind, mtu_bytes, intent.vtep_mac(node, version)), _WHY
        if version == 4:
            yield Sysctl(f"net/ipv4/conf/{name}/forwarding", "1"), _WHY
            # The return path may differ during a migration; loose mode (2) beats a strict `all`: the larger wins.
            yield Sysctl(f"net/ipv4/conf/{name}/rp_filter", "2"), _WHY
        address = intent.tunnel_address(node, VXLAN, version)
        if address:
            yield LinkAddress(name, InterfaceAddress(address, address.host_prefix.length)), _WHY
        yield inner_filter(site, name, underlay), _WHY
        yield Decap(name, underlay.link, kind.local, members_at(site, version), underlay.also), _WHY

    def member_objects(self, intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
        """Its entries for another member."""
        return _member_entries(intent, member, link, version)

    def accepts(self, observed: Dataplane) -> frozenset[int]:
        kinds = (link.kind for link in observed.links if link.owned)
        return frozenset(kind.local.version for kind in kinds if isinstance(kind, Vxlan))

    def is_reachable(self, intent: Intent, member: Node, version: int) -> bool:
        return _gateway(intent, member, version) is not None

    def next_hop(self, site: Site, number: int, remote: Address, member: Node | None) -> NextHop | None:
        """Through the tunnel device; none to a node that is no member, or has no tunnel address."""
        gateway = _gateway(site.intent, member, remote.version) if member else None
        return NextHop(number, site.link(VXLAN, remote.version), gateway, onlink=True) if gateway else None

    def frame(self, link: Link | None, destination: Mac | None) -> ProbeFrame | None:
        if link is None or link.mac is None or destination is None or not isinstance(link.kind, Vxlan):
            return None
        return VxlanFrame(link.kind.vni, link.kind.port, link.mac, destination)

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"vxlan": _devices, "vxlan port": _port}


def _fits(kind: Vxlan, configuration: Configuration) -> bool:
    return (kind.vni, kind.port) == (configuration.vxlan_vni, configuration.vxlan_port)


def _gateway(intent: Intent, member: Node, version: int) -> Address | None:
    """
    The member's tunnel address, or for IPv6 its link-local one; None if it has no tunnel address.

    The kernel resolves an IPv6 gateway, on-link or not, and refuses one that a route other than the default leads to
    by another link (ip6_route_check_nh_onlink): as any aggregate does, and the member's own block while it is reached
    directly. Link-local gateways are not resolved.
    """
    address = intent.tunnel_address(member, VXLAN, version)
    return link_local(intent.vtep_mac(member, version)) if address and version == 6 else address


def _member_entries(intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
    gateway, remote = _gateway(intent, member, version), member.underlay(version)
    if gateway is None or remote is None:
        return
    mac = intent.vtep_mac(member, version)
    why = Reason(ReasonCode.MEMBER, source=member.name, remote=remote.address, encapsulation=VXLAN)
    yield FdbEntry(link, mac, remote.address), why
    yield Neighbour(link, gateway, mac), why


# The doctor's checks -------------------------------------------------------------------------------------------


def _devices(facts: Facts, _: Needs) -> Iterator[Answer]:
    if facts.of(VXLAN, HostFacts()).devices:
        yield good("the kernel makes VXLAN devices")
    else:
        yield Verdict.FAIL, "the kernel makes no VXLAN devices", "modprobe vxlan"


def _port(facts: Facts, needs: Needs) -> Iterator[Answer]:
    port, vni = needs.intent.vxlan_port, needs.intent.vxlan_vni
    foreign = (link for link in facts.dataplane.links if not link.owned)
    others = [(link.name, link.kind) for link in foreign if isinstance(link.kind, Vxlan)]
    same = sorted(name for name, kind in others if (kind.port, kind.vni) == (port, vni))
    if same:
        yield Verdict.FAIL, f"{same[0]} has VNI {vni} on port {port} already", f"ip -details link show {same[0]}"
    elif port in facts.bound and not facts.agent and not any(kind.port == port for _, kind in others):
        yield Verdict.FAIL, f"another program has UDP port {port}", f"ss -lunp sport = :{port}"
    else:
        yield good(f"VNI {vni} on UDP port {port} is free")
