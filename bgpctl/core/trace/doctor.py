"""
Obstacles to a node: checks over facts about its kernel and host, each with what to do next.

Refuses to know: how facts are found out.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.cluster.configuration import Backend, Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import ipip, vxlan
from bgpctl.core.fabric.facts import outer_mtu_bytes, underlay_of
from bgpctl.core.net.addresses import Address, InterfaceAddress, Vni
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import IPIP_LINK, VXLAN_LINKS, Ipip, Vxlan


class Verdict(enum.Enum):
    """WARN: it works, but not always or not well. FAIL: it does not work."""

    PASS = "PASS"  # noqa: S105 (no password)
    WARN = "WARN"
    FAIL = "FAIL"


class Finding(NamedTuple):
    """One answer. `next` is the command to run, empty where nothing has to be done."""

    check: str
    verdict: Verdict
    message: str
    next: str = ""


class Chain(NamedTuple):
    """A base chain of somebody's firewall that drops what no rule accepts."""

    family: str
    table: str
    name: str
    hook: str


@dataclass(frozen=True, slots=True)
class Facts:
    """
    The facts about a host.

    Attributes:
        release: the kernel's, as uname(1) tells.
        privileged: CAP_NET_ADMIN is held.
        ipip_module: loaded, or there to be loaded.
        bpf_lacks, nftables_lacks: what keeps us from using them; None if nothing does.
        tcx: a link can be given its first BPF program without stopping.
        sysctls: values by name, with slashes.
        listening: TCP ports on which somebody listens; `bound` the UDP ports that a program has.
        agent: an agent of ours answers, so that what it uses is in use by us.
    """

    release: str
    privileged: bool = True
    next_hop_objects: bool = True
    vxlan: bool = True
    ipip_module: bool = True
    bpf_lacks: str | None = None
    tcx: bool = True
    nftables_lacks: str | None = None
    namespaces: bool = True
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dataplane: Dataplane = field(default_factory=Dataplane)
    listening: frozenset[int] = frozenset()
    bound: frozenset[int] = frozenset()
    firewall: tuple[Chain, ...] = ()
    agent: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """The abilities that a node needs. Without a cluster file: everything, for a node whose address is unknown."""

    ipip: bool = True
    vxlan: bool = True
    bgp: bool = True
    masquerade: bool = True
    node: Node | None = None
    remotes: tuple[Address, ...] = ()
    listen_port: int = 179
    vxlan_vni: Vni = Vni(4096)
    vxlan_port: int = 4789


def needs_of(intent: Intent, node: Node) -> Needs:
    """The needs of `node` according to the operator's files."""
    kinds = {pool.encapsulation for pool in intent.pools}
    return Needs(
        ipip=Encapsulation.IPIP in kinds,
        vxlan=Encapsulation.VXLAN in kinds,
        bgp=intent.backend is Backend.BIRD,
        masquerade=any(pool.nat_outgoing for pool in intent.pools),
        node=node,
        remotes=tuple(
            own.address for other in intent.nodes if other != node for own in (other.address, other.address6) if own
        ),
        listen_port=intent.listen_port,
        vxlan_vni=intent.vxlan_vni,
        vxlan_port=intent.vxlan_port,
    )


def examine(facts: Facts, needs: Needs) -> tuple[Finding, ...]:
    """Every check that matters here."""
    return tuple(Finding(check, *answer) for check, answers in CHECKS.items() for answer in answers(facts, needs))


_Answer: TypeAlias = tuple[Verdict, str, str]
_Check: TypeAlias = Callable[[Facts, Needs], Iterator[_Answer]]


def _good(message: str) -> _Answer:
    return Verdict.PASS, message, ""


def _privilege(facts: Facts, _: Needs) -> Iterator[_Answer]:
    if facts.privileged:
        yield _good("CAP_NET_ADMIN is held")
    else:
        yield Verdict.FAIL, "the agent changes links and routes, which takes CAP_NET_ADMIN", "sudo bgpctl doctor"


def _next_hops(facts: Facts, _: Needs) -> Iterator[_Answer]:
    if facts.next_hop_objects:
        yield _good(f"Linux {facts.release} has them")
    else:
        text = f"Linux {facts.release} has none: routes carry their gateways, and change one by one"
        yield Verdict.WARN, text, "upgrade to Linux 5.3 or later"


def _vxlan(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    if needs.vxlan and facts.vxlan:
        yield _good("the kernel makes VXLAN devices")
    elif needs.vxlan:
        yield Verdict.FAIL, "the kernel makes no VXLAN devices", "modprobe vxlan"


def _ipip(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    if not needs.ipip:
        return
    tunnel = facts.dataplane.link(IPIP_LINK)
    by_bpf = tunnel is not None and tunnel.kind == Ipip("bpf")
    if facts.ipip_module and by_bpf:
        yield _good("by BPF; another driver, which would be a gap: bgpctl agent run --ipip-driver kernel")
    elif facts.ipip_module and not facts.nftables_lacks:
        yield _good("by the ipip module")
    elif facts.bpf_lacks is None and not facts.ipip_module and (facts.tcx or by_bpf):
        yield _good("by BPF, since there is no ipip module")
    elif facts.bpf_lacks is None and not facts.ipip_module:
        text = "by BPF; before Linux 6.6, a node's first IPIP device stops its underlay link for some milliseconds"
        yield Verdict.WARN, text, "modprobe ipip, or have an IPIP pool before there is traffic"
    elif facts.ipip_module:
        text = "the ipip module decapsulates for anyone unless nftables guards it"
        yield Verdict.FAIL, text, "apt-get install nftables"
    else:
        yield Verdict.FAIL, f"there is no ipip module, and no BPF: {facts.bpf_lacks}", "modprobe ipip"


def _nftables(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    if not needs.masquerade:
        return
    if facts.nftables_lacks is None:
        yield _good("nft works: natOutgoing can have its table")
    else:
        yield Verdict.FAIL, f"natOutgoing needs it: {facts.nftables_lacks}", "apt-get install nftables"


def _namespaces(facts: Facts, _: Needs) -> Iterator[_Answer]:
    if facts.namespaces:
        yield _good("network namespaces can be made")
    else:
        yield Verdict.WARN, "network namespaces cannot be made: `bgpctl lab` will not work", "unshare --net true"


def _forwarding(facts: Facts, _: Needs) -> Iterator[_Answer]:
    if facts.sysctls.get("net/ipv4/ip_forward") == "1":
        yield _good("on")
    elif facts.agent:
        yield Verdict.FAIL, "off, although an agent runs: somebody switches it off", "sysctl net.ipv4.ip_forward=1"
    else:
        yield Verdict.WARN, "off: the agent switches it on, and cleanup off again", "sysctl net.ipv4.ip_forward=1"


def _reverse_path(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    """The kernel takes the larger of the value for all links and the link's own; 1 is strict (RFC 3704)."""
    own = needs.node.underlay(4) if needs.node else None  # IPv6 has no such filter
    underlay = underlay_of(facts.dataplane, own) if own else None
    names = [underlay.link] if underlay else []
    names += [link.name for link in facts.dataplane.links if link.name in (IPIP_LINK, *VXLAN_LINKS[4]) and link.owned]
    strict = [name for name in sorted(names) if _rp_filter(facts.sysctls, name) == 1]
    for name in strict:
        text = f"strict on {name}: packets whose way back is another are dropped, as while an encapsulation changes"
        verdict = Verdict.WARN if underlay and name == underlay.link else Verdict.FAIL
        yield verdict, text, f"sysctl net.ipv4.conf.{name.replace('.', '/')}.rp_filter=2"
    if names and not strict:
        yield _good(f"not strict on {', '.join(sorted(names))}")


def _rp_filter(sysctls: Mapping[str, str], link: str) -> int:
    return max(int(sysctls.get(f"net/ipv4/conf/{name}/rp_filter", "0")) for name in ("all", link))


def _underlay(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    for address in _addresses(needs):
        found = underlay_of(facts.dataplane, address)
        if found:
            yield _good(f"{address.address} is on {found.link}")
        else:
            yield Verdict.FAIL, f"no link that is up has the node's address {address}", "ip -brief address"


def _addresses(needs: Needs) -> Iterator[InterfaceAddress]:
    """The node's on the underlay."""
    for own in (needs.node.address, needs.node.address6) if needs.node else ():
        if own:
            yield own


def _mtu(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    for own in _addresses(needs):
        underlay = underlay_of(facts.dataplane, own)
        if underlay:
            remotes = [remote for remote in needs.remotes if remote.version == underlay.version]
            yield from _fitting(facts, underlay.version, outer_mtu_bytes(facts.dataplane, underlay, remotes))


def _fitting(facts: Facts, version: int, outer: int) -> Iterator[_Answer]:
    """True if what tunnels over one IP version make fits links with an MTU of `outer` bytes."""
    tunnels = dict.fromkeys(VXLAN_LINKS[version], vxlan.OVERHEAD_BYTES[version])
    tunnels |= {IPIP_LINK: ipip.OVERHEAD_BYTES} if version == 4 else {}
    for name, overhead in sorted(tunnels.items()):
        link = facts.dataplane.link(name)
        if link and link.owned and link.mtu_bytes + overhead > outer:
            text = f"{name} has {link.mtu_bytes}; with {overhead} more, packets do not fit a link with {outer}"
            yield Verdict.FAIL, text, f"ip link set {name} mtu {outer - overhead}"
            return
    yield _good(f"outer packets may have {outer} bytes")


def _bgp_port(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    if not needs.bgp:
        return
    port = needs.listen_port
    if port not in facts.listening:
        yield _good(f"TCP port {port} is free")
    elif facts.agent:
        yield _good(f"TCP port {port} is in use, and an agent runs")
    else:
        yield Verdict.FAIL, f"somebody listens at TCP port {port}: another BGP daemon?", f"ss -ltnp sport = :{port}"


def _vxlan_port(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    if not needs.vxlan:
        return
    port, vni = needs.vxlan_port, needs.vxlan_vni
    strangers = (link for link in facts.dataplane.links if not link.owned)
    others = [(link.name, link.kind) for link in strangers if isinstance(link.kind, Vxlan)]
    same = sorted(name for name, kind in others if (kind.port, kind.vni) == (port, vni))
    if same:
        yield Verdict.FAIL, f"{same[0]} has VNI {vni} on port {port} already", f"ip -details link show {same[0]}"
    elif port in facts.bound and not facts.agent and not any(kind.port == port for _, kind in others):
        yield Verdict.FAIL, f"somebody has UDP port {port}", f"ss -lunp sport = :{port}"
    else:
        yield _good(f"VNI {vni} on UDP port {port} is free")


def _firewall(facts: Facts, needs: Needs) -> Iterator[_Answer]:
    """The rules of a chain are not read: they may well do."""
    wanted = {"input": _incoming(needs), "forward": ["workload packets"]}
    for chain in facts.firewall:
        if wanted.get(chain.hook):
            text = f"chain {chain.table} {chain.name} drops what it does not accept: {', '.join(wanted[chain.hook])}?"
            yield Verdict.WARN, text, f"nft list chain {chain.family} {chain.table} {chain.name}"
    if not facts.firewall:
        yield _good("no chain drops by default")


def _incoming(needs: Needs) -> list[str]:
    protocols = {
        "IP protocol 4": needs.ipip,
        f"UDP port {needs.vxlan_port}": needs.vxlan,
        f"TCP port {needs.listen_port}": needs.bgp,
    }
    return [name for name, needed in protocols.items() if needed]


CHECKS: Final[Mapping[str, _Check]] = {
    "privilege": _privilege,
    "next-hop objects": _next_hops,
    "vxlan": _vxlan,
    "ipip": _ipip,
    "nftables": _nftables,
    "namespaces": _namespaces,
    "ip_forward": _forwarding,
    "rp_filter": _reverse_path,
    "underlay": _underlay,
    "mtu": _mtu,
    "bgp port": _bgp_port,
    "vxlan port": _vxlan_port,
    "firewall": _firewall,
}
