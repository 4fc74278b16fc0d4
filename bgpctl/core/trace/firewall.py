"""
The packets of a node that chains of other programs end: those of its workloads, of its tunnels, and of its sessions.

One packet of each kind is followed through the hook that it passes, between this node and a member or two: what a
firewall does to one member it does to others, as a rule. A chain that is not understood is said to be so.

Refuses to know: what passes no hook of this kernel, as IP in IP by BPF does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.fabric.encapsulations import behaviour_of, behind
from bgpctl.core.fabric.host import Needs
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import Fib
from bgpctl.core.trace.netfilter import Chain, Fate, Passing, fate
from bgpctl.core.trace.packet import IP_IN_IP, TCP, UDP, Packet, echo_protocol

_MEMBERS: Final = 2
_ANY_PORT: Final = 40000
_HTTP: Final = 80
_VERSIONS: Final = (4, 6)


class Kind(NamedTuple):
    """One packet at a hook, and the name of those like it."""

    name: str
    hook: str
    passing: Passing


def stopped(chains: Iterable[Chain], needs: Needs, dataplane: Dataplane) -> dict[Fate, tuple[str, ...]]:
    """Each end of some packet that is not to end, with the names of the kinds that end there."""
    found: dict[Fate, list[str]] = {}
    known = tuple(chains)
    for kind in kinds(needs, dataplane) if known else ():
        end = fate(known, kind.hook, kind.passing)
        if end and kind.name not in found.setdefault(end, []):
            found[end].append(kind.name)
    return {end: tuple(names) for end, names in found.items()}


def kinds(needs: Needs, dataplane: Dataplane) -> Iterator[Kind]:
    """The packets that a node of this cluster has; none without a cluster file."""
    node, intent = needs.node, needs.intent
    if node is None:
        return
    others = (other for other in intent.nodes if other.name != node.name)
    for member in islice(others, _MEMBERS):
        yield from _of_workloads(needs, node, member, dataplane)
        for version in _VERSIONS:
            here, there = node.underlay(version), member.underlay(version)
            if here and there:
                yield from _of_node(needs, here.address, there.address, dataplane)


def _of_workloads(needs: Needs, node: Node, member: Node, dataplane: Dataplane) -> Iterator[Kind]:
    """Both directions of ping, and the first packet of a TCP connection."""
    fib = Fib(dataplane)
    local = next((link.name for link in sorted(dataplane.links, key=_name) if link.workload), "")
    for ours, theirs in _pairs(needs, node, member):
        there = _link_to(fib, theirs)
        for source, destination, arrives, leaves in ((ours, theirs, local, there), (theirs, ours, there, local)):
            ping = Packet(source, destination, protocol=echo_protocol(source.version))
            for packet in (ping, ping._replace(protocol=TCP, ports=(_ANY_PORT, _HTTP))):
                yield Kind("packets of workloads", "forward", Passing(packet, arrives, leaves))


def _pairs(needs: Needs, node: Node, member: Node) -> Iterator[tuple[Address, Address]]:
    """An address of each, in every pool in which both have a block."""
    intent = needs.intent
    for pool in intent.pools:
        ours, theirs = (
            next((block for block in intent.blocks_of(one) if pool.cidr.covers(block)), None) for one in (node, member)
        )
        if ours and theirs:
            yield _host(ours), _host(theirs)


def _host(block: Prefix) -> Address:
    return block.nth(min(1, block.size - 1))


def _name(link: object) -> str:
    return str(getattr(link, "name", ""))


def _link_to(fib: Fib, destination: Address) -> str:
    route = fib.lookup(destination).route
    hop = fib.resolve(route, destination) if route else None
    return hop.link if hop else ""


def _of_node(needs: Needs, here: Address, there: Address, dataplane: Dataplane) -> Iterator[Kind]:
    """Tunnels and sessions in both directions."""
    link = _link_to(Fib(dataplane), there)
    for name, protocol, port in chain(_tunnels(needs, dataplane, here.version), _sessions(needs)):
        ports = (_ANY_PORT, port) if port else None
        coming = Packet(there, here, protocol=protocol, ports=ports)
        yield Kind(name, "input", Passing(coming, arrives=link))
        yield Kind(name, "output", Passing(coming._replace(source=here, destination=there), leaves=link))


def _tunnels(needs: Needs, dataplane: Dataplane, version: int) -> Iterator[tuple[str, int, int]]:
    by_kernel = {behind(link.kind) for link in dataplane.links if link.kind.driver() == "kernel"}
    for encapsulation in sorted(needs.tunnels, key=str):
        behaviour = behaviour_of(encapsulation)
        words, port = behaviour.incoming(needs.intent), behaviour.udp_port(needs.intent)
        if port:
            yield words, UDP, port
        elif words and version == 4 and behaviour in by_kernel:
            yield words, IP_IN_IP, 0


def _sessions(needs: Needs) -> Iterator[tuple[str, int, int]]:
    if needs.bgp:
        yield f"TCP port {needs.intent.listen_port}", TCP, needs.intent.listen_port
    if needs.intent.channel_port:
        yield f"TCP port {needs.intent.channel_port}", TCP, needs.intent.channel_port
