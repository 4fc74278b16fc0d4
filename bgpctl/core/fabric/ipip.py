"""
IP in IP (RFC 2003): one device for all remotes; each route's gateway is the remote tunnel end. IPv4 only.

Refuses to know: how the device is made (the kernel's ipip module or a BPF program), where blocks were learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.encapsulation import IPIP
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.fabric.host import Answer, Check, Facts, Needs, Verdict, good
from bgpctl.core.fabric.inside import inner_filter
from bgpctl.core.fabric.protocol import ProbeFrame, Site, members_at
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Decap, Link, LinkAddress, LinkKind, NextHop, Plain, Sysctl

LINK: Final = "tunl0"
"""The name of the device that the ipip module brings into every network namespace."""
OVERHEAD_BYTES: Final = 20
"""An IPv4 header without options."""

_WHY: Final = Reason(ReasonCode.TUNNEL, encapsulation=IPIP)


@dataclass(frozen=True, slots=True, order=True)
class Ipip(LinkKind):
    """
    The any-remote IPIP device: each route's gateway is the remote tunnel end.

    `by` is the driver that does it, `kernel` or `bpf`, where that was observed; it makes no difference to anything
    else.
    """

    by: str = field(default="", compare=False)

    def is_made_in_place_of(self, present: LinkKind) -> bool:
        """Of another driver's device, or of this one's in disrepair, which keeps more than is described here."""
        return isinstance(present, Plain)

    def driver(self) -> str:
        return self.by

    def with_driver(self, driver: str) -> LinkKind:
        """Each driver has to make anew what another has made."""
        return self if driver == self.by else Plain("")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """
    The abilities of a host for it.

    Attributes:
        module: the ipip module is loaded, or there to be loaded.
        bpf_missing: the reason against using BPF; None if there is none.
        tcx: a link can be given its first BPF program without stopping.
    """

    module: bool = True
    bpf_missing: str | None = None
    tcx: bool = True


class IpipBehaviour:
    """Packets come out of `tunl0` only if members sent them."""

    encapsulation: Final = IPIP

    def overhead_bytes(self, version: int) -> int:
        del version
        return OVERHEAD_BYTES

    def mtu_bytes(self, configuration: Configuration, version: int, carrier_bytes: int) -> int:
        del version
        return configuration.ipip_mtu or configuration.workload_mtu or carrier_bytes - OVERHEAD_BYTES

    def udp_port(self, configuration: Configuration) -> None:
        del configuration

    def incoming(self, configuration: Configuration) -> str:
        del configuration
        return "IP protocol 4"

    def link_names(self, version: int) -> tuple[str, ...]:
        return (LINK,) if version in IPIP.versions else ()

    def link_name(self, configuration: Configuration, version: int, observed: Dataplane) -> str:
        del configuration, version, observed
        return LINK

    def recognises(self, kind: LinkKind) -> bool:
        return isinstance(kind, Ipip)

    def objects(self, site: Site, underlay: Underlay) -> Iterator[Reasoned]:
        intent, node = site.intent, site.node
        yield Link(LINK, Ipip(), self.mtu_bytes(intent, underlay.version, underlay.mtu_bytes)), _WHY
        yield Sysctl(f"net/ipv4/conf/{LINK}/forwarding", "1"), _WHY
        # The return path may differ during a migration; loose mode (2) beats a strict `all`: the larger wins.
        yield Sysctl(f"net/ipv4/conf/{LINK}/rp_filter", "2"), _WHY
        address = intent.tunnel_address(node, IPIP, 4)
        if address:
            yield LinkAddress(LINK, InterfaceAddress(address, 32)), _WHY
        yield inner_filter(site, LINK, underlay), _WHY
        # At every address of the link: others may know us by a former one still, or by a coming one already.
        yield Decap(LINK, underlay.link, underlay.address.address, members_at(site, 4), underlay.also), _WHY

    def member_objects(self, intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
        del intent, member, link, version
        yield from ()

    def accepts(self, observed: Dataplane) -> frozenset[int]:
        return frozenset({4}) if any(decap.link == LINK for decap in observed.decaps) else frozenset()

    def is_reachable(self, intent: Intent, member: Node, version: int) -> bool:
        del intent
        return version in IPIP.versions and member.underlay(version) is not None

    def next_hop(self, site: Site, number: int, remote: Address, member: Node | None) -> NextHop | None:
        """The remote is the gateway; none if it is no IPv4 address."""
        del site, member
        return NextHop(number, LINK, remote, onlink=True) if remote.version in IPIP.versions else None

    def frame(self, link: Link | None, destination: Mac | None) -> ProbeFrame | None:
        del link, destination
        return ProbeFrame()

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"ipip": _driver}


def _driver(facts: Facts, _: Needs) -> Iterator[Answer]:
    host = facts.of(IPIP, HostFacts())
    tunnel = facts.dataplane.link(LINK)
    by_bpf = tunnel is not None and isinstance(tunnel.kind, Ipip) and tunnel.kind.by == "bpf"
    if host.module and by_bpf:
        yield good("by BPF; another driver, which would be a gap: bgpctl agent run --ipip-driver kernel")
    elif host.module:
        yield good("by the ipip module")
    elif host.bpf_missing is None and (host.tcx or by_bpf):
        yield good("by BPF, since there is no ipip module")
    elif host.bpf_missing is None:
        text = "by BPF; before Linux 6.6, a node's first IPIP device stops its underlay link for some milliseconds"
        yield Verdict.WARN, text, "modprobe ipip, or have an IPIP pool before there is traffic"
    else:
        yield Verdict.FAIL, f"there is no ipip module, and no BPF: {host.bpf_missing}", "modprobe ipip"
