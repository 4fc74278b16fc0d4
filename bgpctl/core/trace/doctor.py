"""
Obstacles to a node: checks over facts about its kernel and host, each with the next command.

Refuses to know: how facts are collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Backend, Node
from bgpctl.core.cluster.encapsulation import ENCAPSULATIONS
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.encapsulations import BEHAVIOURS, behaviour_of
from bgpctl.core.fabric.facts import outer_mtu_bytes, underlay_of
from bgpctl.core.fabric.host import Answer, Check, Facts, Needs, Verdict, good
from bgpctl.core.fabric.protocol import Behaviour
from bgpctl.core.fabric.return_path import without_address
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.dataplane import surroundings
from bgpctl.core.trace.firewall import kinds, stops
from bgpctl.core.trace.netfilter import Verdict as Fatal
from bgpctl.core.trace.remedies import listing
from bgpctl.core.trace.selectors import LOOPBACK
from bgpctl.core.trace.shadows import shadows, suspects

RENEW_DAYS: Final = 30
"""A certificate that ends sooner is to be renewed."""


class Finding(NamedTuple):
    """One answer. `next` is the command to run, empty where nothing has to be done."""

    check: str
    verdict: Verdict
    message: str
    next: str = ""


def needs_of(intent: Intent, node: Node) -> Needs:
    """The needs of `node` by the operator's files."""
    return Needs(
        tunnels=frozenset(pool.encapsulation for pool in intent.pools),
        bgp=intent.backend is Backend.BIRD,
        masquerade=any(pool.nat_outgoing for pool in intent.pools),
        node=node,
        remotes=tuple(
            own.address for other in intent.nodes if other != node for own in (other.address, other.address6) if own
        ),
        intent=intent,
    )


def examine(facts: Facts, needs: Needs) -> tuple[Finding, ...]:
    """Every check that matters here."""
    return tuple(
        Finding(check, *answer) for check, answers in checks(needs).items() for answer in answers(facts, needs)
    )


def of_store(name: str, *, heard: bool, held_off: bool) -> Finding:
    """The store of the cluster, if the running agent has one that can be away."""
    if not heard:
        message = f"{name} does not answer: the node goes by what it knew, and forwarding goes on"
        return Finding("store", Verdict.WARN, message, "bgpctl cluster status")
    if held_off:
        message = f"{name} answers, and its content is not put in force, or not all of it"
        return Finding("store", Verdict.WARN, message, "bgpctl show summary")
    return Finding("store", *good(f"{name} answers, and is followed"))


def checks(needs: Needs) -> Mapping[str, Check]:
    """All there are, those of the encapsulations that are needed among them."""
    tunnels = {name: check for item in _used(needs) for name, check in item.checks.items()}
    return {**_KERNEL_CHECKS, **tunnels, **_HOST_CHECKS}


def _used(needs: Needs) -> list[Behaviour]:
    return [item for item in BEHAVIOURS.values() if item.encapsulation in needs.tunnels]


def _privilege(facts: Facts, _: Needs) -> Iterator[Answer]:
    if facts.privileged:
        yield good("CAP_NET_ADMIN is held")
    else:
        yield Verdict.FAIL, "the agent changes links and routes, which takes CAP_NET_ADMIN", "sudo bgpctl doctor"


def _next_hops(facts: Facts, _: Needs) -> Iterator[Answer]:
    if facts.next_hop_objects:
        yield good(f"Linux {facts.release} has next-hop objects")
    else:
        text = f"Linux {facts.release} has no next-hop objects: routes carry their gateways, and change one by one"
        yield Verdict.WARN, text, "upgrade to Linux 5.3 or later"


def _nftables(facts: Facts, needs: Needs) -> Iterator[Answer]:
    """
    Every tunnel has a filter of what comes out of it, and those of the kernel one of senders too. Each node with a pool
    has one of what comes from workloads, and to its BGP port.
    """
    tunnels = [item for item in _used(needs) if item.link_names(4) or item.link_names(6)]
    users = [item.encapsulation.title for item in tunnels] + (["natOutgoing"] if needs.masquerade else [])
    if not users and not needs.intent.pools:
        return
    users = users or ["workloads"]
    if facts.nftables_missing is None:
        yield good(f"nft works, for {', '.join(users)}")
    else:
        yield Verdict.FAIL, f"needed for {', '.join(users)}: {facts.nftables_missing}", "apt-get install nftables"


def _namespaces(facts: Facts, _: Needs) -> Iterator[Answer]:
    if facts.namespaces:
        yield good("network namespaces can be made")
    else:
        yield Verdict.WARN, "network namespaces cannot be made: `bgpctl lab` will not work", "unshare --net true"


def _forwarding(facts: Facts, _: Needs) -> Iterator[Answer]:
    if facts.sysctls.get("net/ipv4/ip_forward") == "1":
        yield good("on")
    elif facts.agent:
        yield Verdict.FAIL, "off, although an agent runs: another program cleared it", "sysctl net.ipv4.ip_forward=1"
    else:
        yield Verdict.WARN, "off: the agent switches it on, and cleanup off again", "sysctl net.ipv4.ip_forward=1"


def _reverse_path(facts: Facts, needs: Needs) -> Iterator[Answer]:
    """The kernel takes the larger of the value for all links and the link's own; 1 is strict (RFC 3704)."""
    own = needs.node.underlay(4) if needs.node else None  # IPv6 has no such filter
    underlay = underlay_of(facts.dataplane, own) if own else None
    names = [underlay.link] if underlay else []
    tunnels = {name for item in BEHAVIOURS.values() for name in item.link_names(4)}
    names += [link.name for link in facts.dataplane.links if link.name in tunnels and link.owned]
    strict = [name for name in sorted(names) if _rp_filter(facts.sysctls, name) == 1]
    for name in strict:
        is_underlay = bool(underlay and name == underlay.link)
        lost = _lost_answers(needs, name) if is_underlay else ""
        text = f"strict on {name}: packets are dropped while an encapsulation changes, when replies take another path"
        verdict = Verdict.WARN if is_underlay and not lost else Verdict.FAIL
        yield verdict, lost or text, f"sysctl net.ipv4.conf.{name.replace('.', '/')}.rp_filter=2"
    if names and not strict:
        yield good(f"not strict on {', '.join(sorted(names))}")


def _lost_answers(needs: Needs, link: str) -> str:
    """
    A node without a tunnel address sends to workloads by the tunnel with its own address, and their answers come
    without a tunnel: by another link than that of the route back.
    """
    node = needs.node
    tunnel = next(without_address(needs.intent, node), None) if node else None
    if node is None or tunnel is None:
        return ""
    return f"strict on {link}, and {node.name} has no {tunnel.title} address: answers of workloads to it are dropped"


def _rp_filter(sysctls: Mapping[str, str], link: str) -> int:
    return max(int(sysctls.get(f"net/ipv4/conf/{name}/rp_filter", "0")) for name in ("all", link))


def _underlay(facts: Facts, needs: Needs) -> Iterator[Answer]:
    for own in _addresses(needs):
        found = underlay_of(facts.dataplane, own)
        if found is None:
            yield Verdict.FAIL, f"no link that is up has the node's address {own}", "ip -brief address"
            continue
        wrong = (*_other_mask(facts, needs, own), *_silent_members(facts, needs, own))
        yield from wrong or (good(f"{own.address} is on {found.link}"),)


def _other_mask(facts: Facts, needs: Needs, own: InterfaceAddress) -> Iterator[Answer]:
    """The file's mask says which members are neighbours. An address on the loopback device has none of a network."""
    for item in facts.dataplane.addresses:
        if item.address.address != own.address or item.address == own or item.link == LOOPBACK:
            continue
        apart = [to for to in needs.remotes if own.network.holds(to) and not item.address.network.holds(to)]
        text = f"{item.link} has {item.address}, and the cluster file says {own}"
        if apart:
            text += f": {apart[0]} is taken for a neighbour, and is none"
        verdict = Verdict.FAIL if apart else Verdict.WARN
        yield verdict, text, f"write {item.address} in the cluster file, or: ip address show dev {item.link}"


def _silent_members(facts: Facts, needs: Needs, own: InterfaceAddress) -> Iterator[Answer]:
    inside = {to for to in needs.remotes if own.network.holds(to)}
    for link, address in sorted(facts.silent):
        if address in inside:
            text = f"no neighbour answers on {link} for {address}: it is down, or the mask of {own} is too wide"
            yield Verdict.FAIL, text, f"ip neighbour show {address} dev {link}"


def _addresses(needs: Needs) -> Iterator[InterfaceAddress]:
    """The node's on the underlay."""
    for own in (needs.node.address, needs.node.address6) if needs.node else ():
        if own:
            yield own


def _mtu(facts: Facts, needs: Needs) -> Iterator[Answer]:
    for own in _addresses(needs):
        underlay = underlay_of(facts.dataplane, own)
        if underlay:
            remotes = [remote for remote in needs.remotes if remote.version == underlay.version]
            yield from _fitting(facts, underlay.version, outer_mtu_bytes(facts.dataplane, underlay, remotes))
    yield from _inside_blocks(facts, needs)


def _inside_blocks(facts: Facts, needs: Needs) -> Iterator[Answer]:
    """Networks of containers that another program has made in this node's blocks, as Docker does with --subnet."""
    blocks = needs.intent.blocks_of(needs.node) if needs.node else ()
    tunnels = [link.mtu_bytes for link in facts.dataplane.links if link.owned]
    for item in sorted(facts.dataplane.addresses, key=lambda own: own.link):
        link = facts.dataplane.link(item.link)
        is_inside = any(block.holds(item.address.address) for block in blocks)
        if link and is_inside and not (link.owned or link.workload) and tunnels and link.mtu_bytes > min(tunnels):
            text = f"packets by {link.name}, whose network is in a block of this node, have {link.mtu_bytes} bytes"
            option = f"-o com.docker.network.driver.mtu={min(tunnels)}"
            yield Verdict.WARN, f"{text}, and tunnels carry {min(tunnels)}", f"docker network create {option}"


def _fitting(facts: Facts, version: int, outer: int) -> Iterator[Answer]:
    """True if outer packets of tunnels over one IP version fit links with an MTU of `outer` bytes."""
    tunnels = {name: item.overhead_bytes(version) for item in BEHAVIOURS.values() for name in item.link_names(version)}
    for name, overhead in sorted(tunnels.items()):
        link = facts.dataplane.link(name)
        if link and link.owned and link.mtu_bytes + overhead > outer:
            text = f"{name} has {link.mtu_bytes}; with {overhead} more, packets do not fit a link with {outer}"
            yield Verdict.FAIL, text, f"ip link set {name} mtu {outer - overhead}"
            return
    yield good(f"outer packets may have {outer} bytes")


def _bgp_port(facts: Facts, needs: Needs) -> Iterator[Answer]:
    if not needs.bgp:
        return
    port = needs.intent.listen_port
    found = ", ".join(map(str, facts.speakers))
    if len(facts.speakers) > 1:
        text = f"several BGP speakers announce for this node: processes {found}"
        yield Verdict.FAIL, text, "restart the agent, or stop it and run: bgpctl cleanup"
    elif facts.speakers and not facts.agent:
        text = f"the BGP speaker of an agent that has ended announces for this node: process {found}"
        yield Verdict.WARN, text, "start the agent, or run: bgpctl cleanup"
    elif port not in facts.listening:
        yield good(f"TCP port {port} is free")
    elif facts.agent:
        yield good(f"TCP port {port} is in use, and an agent runs")
    else:
        yield Verdict.FAIL, f"another program listens at TCP port {port}", f"ss -ltnp sport = :{port}"


def _bgp_password(_: Facts, needs: Needs) -> Iterator[Answer]:
    """A packet with the address of a node need not be the node's where workloads leave with that address."""
    if needs.node is None or not (needs.bgp and needs.masquerade and needs.intent.mesh):
        return
    if needs.intent.mesh_password_file:
        yield good("the sessions of the mesh have a password")
    else:
        text = "workloads leave with the node's address (natOutgoing), and the sessions of the mesh have no password"
        yield Verdict.WARN, text, "set nodeMeshPasswordFile in the cluster file"


def _channel_keys(facts: Facts, needs: Needs) -> Iterator[Answer]:
    if needs.node is None or not needs.intent.channel_port:
        return
    renewal = f"bgpctl keys node {needs.node.name}"
    if facts.keys_unusable is not None:
        yield Verdict.FAIL, facts.keys_unusable, renewal
    elif facts.keys_days < RENEW_DAYS:
        yield Verdict.WARN, f"the certificate of this node ends in {facts.keys_days:.0f} days", renewal
    else:
        yield good(f"the certificate of this node is valid for {facts.keys_days:.0f} days")


def _members(facts: Facts, needs: Needs) -> Iterator[Answer]:
    """As the agent has found them by probes and by what they say of themselves."""
    for problem, following, is_broken in facts.members:
        yield Verdict.FAIL if is_broken else Verdict.WARN, problem, following
    if needs.node and not facts.members:
        known = "every path in use is proven, and no member has another configuration"
        yield good(known if facts.agent else "the agent would know, and none answers here")


def _firewall(facts: Facts, needs: Needs) -> Iterator[Answer]:
    for table in facts.legacy:
        text = f"rules of the former iptables (table {table}) are in force, and are not read"
        yield Verdict.WARN, text, f"iptables-legacy -t {table} -S"
    if needs.node is None:
        yield from _policies(facts, needs)
        return
    found = stops(facts.chains, kinds(needs, facts.dataplane))
    for item in found:
        yield Verdict.FAIL if item.is_certain else Verdict.WARN, item.text, item.remedy
    if not found:
        yield good("no chain ends packets of workloads, tunnels or sessions, or translates those of workloads")


def _policies(facts: Facts, needs: Needs) -> Iterator[Answer]:
    """Without a cluster file no packet is known, and a rule may well let it pass."""
    wanted = {"input": _incoming(needs), "forward": ["workload packets"]}
    dropping = [chain for chain in facts.chains if chain.policy is Fatal.DROP and wanted.get(chain.hook)]
    for chain in dropping:
        packets = ", ".join(wanted[chain.hook])
        text = f"chain {chain.table} {chain.name} drops by default; its rules have to accept {packets}"
        yield Verdict.WARN, text, listing(chain)
    if not dropping:
        yield good("no chain drops by default")


def _incoming(needs: Needs) -> list[str]:
    tunnels = [behaviour_of(item).incoming(needs.intent) for item in ENCAPSULATIONS.values() if item in needs.tunnels]
    bgp = f"TCP port {needs.intent.listen_port}" if needs.bgp else ""
    channel = f"TCP port {needs.intent.channel_port}" if needs.intent.channel_port else ""
    return [name for name in (*tunnels, bgp, channel) if name]


def _routes(facts: Facts, needs: Needs) -> Iterator[Answer]:
    if needs.node is None:
        return
    seen = facts.dataplane
    pools = tuple(pool.cidr for pool in needs.intent.pools)
    found = shadows(suspects(surroundings(seen).foreign, pools, needs.intent.blocks_of(needs.node)), seen.owned())
    for item in found:
        yield Verdict.FAIL, item.text, item.remedy
    if not found:
        yield good("nothing foreign comes before our routes")


_KERNEL_CHECKS: Final[Mapping[str, Check]] = {"privilege": _privilege, "next-hop objects": _next_hops}
_HOST_CHECKS: Final[Mapping[str, Check]] = {
    "nftables": _nftables,
    "namespaces": _namespaces,
    "ip_forward": _forwarding,
    "rp_filter": _reverse_path,
    "routes": _routes,
    "underlay": _underlay,
    "members": _members,
    "mtu": _mtu,
    "bgp port": _bgp_port,
    "bgp password": _bgp_password,
    "channel keys": _channel_keys,
    "firewall": _firewall,
}
