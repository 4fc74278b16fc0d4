"""
The packets of a node that chains of other programs end: those of its workloads, of its tunnels, and of its sessions;
and those of workloads that get another source there, by which other nodes and their workloads do not know them.

One packet of each kind is followed through the hook that it passes, between this node and a member or two: what a
firewall does to one member it does to others, as a rule. A chain that is not understood is said to be so.

Refuses to know: what passes no hook of this kernel, as IP in IP by BPF does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, product
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.encapsulations import behaviour_of, behind
from bgpctl.core.fabric.host import Needs
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import Fib
from bgpctl.core.trace.netfilter import Chain, Fate, Passing, Verdict, fate, translation
from bgpctl.core.trace.packet import IP_IN_IP, TCP, UDP, Packet, echo_protocol
from bgpctl.core.trace.remedies import Exempt, remedy

_MEMBERS: Final = 2
_A_WORKLOADS_LINK: Final = "cali0"
"""Begins as all of them do."""
_ANY_PORT: Final = 40000
_HTTP: Final = 80
_VERSIONS: Final = (4, 6)


class Kind(NamedTuple):
    """
    Packets at a hook that are alike, and their name. What ends one of them and not another is a policy by port.

    Attributes:
        exempt: what a firewall has to let pass for them.
    """

    name: str
    hook: str
    packets: tuple[Passing, ...]
    exempt: Exempt


class Stop(NamedTuple):
    """
    A chain that ends packets, or translates them, in words, and the command that has it let them pass.

    Attributes:
        is_certain: False if a rule is not understood.
    """

    text: str
    remedy: str
    is_certain: bool


def stops(chains: Iterable[Chain], kinds: Iterable[Kind]) -> tuple[Stop, ...]:
    """Each chain that ends all packets of a kind, or translates them, or that may."""
    known = tuple(chains)
    found: dict[Fate, dict[Kind, None]] = {}
    for kind, decides in product(kinds if known else (), (fate, translation)):
        ends = [end for packet in kind.packets if (end := decides(known, kind.hook, packet))]
        if len(ends) == len(kind.packets):
            found.setdefault(min(ends, key=_is_certain), {})[kind] = None
    return tuple(_stop(end, tuple(of_end)) for end, of_end in found.items())


def _is_certain(end: Fate) -> bool:
    return end.verdict is not Verdict.OTHER


def _stop(end: Fate, kinds: Sequence[Kind]) -> Stop:
    chain, is_certain = end.chain, _is_certain(end)
    packets = ", ".join(dict.fromkeys(kind.name for kind in kinds))
    where = f"chain {chain.family} {chain.table} {chain.name} ({chain.hook})"
    by = f"rule handle {end.rule.handle}" if end.rule else "its policy"
    may = "translate" if chain.type == "nat" else "end"
    does = (
        f"has a {end.verdict.value} for {packets}: {by}"
        if is_certain
        else f"may {may} {packets}: {by} is not understood"
    )
    return Stop(f"{where} {does}", remedy(end, (kind.exempt for kind in kinds)), is_certain)


def kinds(needs: Needs, dataplane: Dataplane) -> Iterator[Kind]:
    """The packets that a node of this cluster has; none without a cluster file."""
    node, intent = needs.node, needs.intent
    if node is None:
        return
    fib = Fib(dataplane)
    local = next((link.name for link in sorted(dataplane.links, key=_name) if link.workload), _A_WORKLOADS_LINK)
    others = (other for other in intent.nodes if other.name != node.name)
    for member in islice(others, _MEMBERS):
        for pool, ours, theirs in _pairs(intent, node, member):
            yield from _forwarded(pool, ours, theirs, local, _link_to(fib, theirs))
        for version in _VERSIONS:
            here, there = node.underlay(version), member.underlay(version)
            if here and there:
                yield from _of_node(needs, here.address, there.address, _link_to(fib, there.address), dataplane)


def forwarded(intent: Intent, node: Node, member: Node, link: str) -> Iterator[Kind]:
    """The packets between workloads of both, of which the node sends its own by the link."""
    for pool, ours, theirs in _pairs(intent, node, member):
        yield from _forwarded(pool, ours, theirs, _A_WORKLOADS_LINK, link)


def _forwarded(pool: Prefix, ours: Address, theirs: Address, local: str, there: str) -> Iterator[Kind]:
    """Both directions of ping, and the first packet of a TCP connection."""
    exempt = Exempt(pool.version, pool)
    for source, destination, arrives, leaves in ((ours, theirs, local, there), (theirs, ours, there, local)):
        ping = Packet(source, destination, protocol=echo_protocol(source.version))
        packets = (ping, ping._replace(protocol=TCP, ports=(_ANY_PORT, _HTTP)))
        for hook, by, to in (("prerouting", arrives, ""), ("forward", arrives, leaves), ("postrouting", "", leaves)):
            yield Kind("packets of workloads", hook, tuple(Passing(packet, by, to) for packet in packets), exempt)


def _pairs(intent: Intent, node: Node, member: Node) -> Iterator[tuple[Prefix, Address, Address]]:
    """Every pool in which both have a block, with an address of each."""
    for pool in intent.pools:
        ours, theirs = (
            next((block for block in intent.blocks_of(one) if pool.cidr.covers(block)), None) for one in (node, member)
        )
        if ours and theirs:
            yield pool.cidr, _host(ours), _host(theirs)


def _host(block: Prefix) -> Address:
    return block.nth(min(1, block.size - 1))


def _name(link: object) -> str:
    return str(getattr(link, "name", ""))


def _link_to(fib: Fib, destination: Address) -> str:
    route = fib.lookup(destination).route
    hop = fib.resolve(route, destination) if route else None
    return hop.link if hop else ""


def _of_node(needs: Needs, here: Address, there: Address, link: str, dataplane: Dataplane) -> Iterator[Kind]:
    """Tunnels and sessions in both directions."""
    for name, protocol, port in chain(_tunnels(needs, dataplane, here.version), _sessions(needs)):
        coming = Packet(there, here, protocol=protocol, ports=(_ANY_PORT, port) if port else None)
        going = coming._replace(source=here, destination=there)
        exempt = Exempt(here.version, None, protocol, port)
        yield Kind(name, "input", (Passing(coming, arrives=link),), exempt)
        yield Kind(name, "output", (Passing(going, leaves=link),), exempt)


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
