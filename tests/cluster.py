"""Small clusters for tests: literals in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.received import Received
from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Backend, Node, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import derive
from bgpctl.core.fabric.desired import Desired
from bgpctl.core.net.addresses import (
    Address,
    Asn,
    InterfaceAddress,
    Prefix,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, Plain, Route

KERNEL_PROTOCOL = 2
STATIC_PROTOCOL = 4


def node(name: str, address: str) -> Node:
    return Node(name, InterfaceAddress.parse(address))


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    return tuple(sorted(map(Prefix.parse, texts)))


def blocks(**of: Sequence[str]) -> Allocations:
    """Of each node the blocks that are given under its name."""
    return Allocations({name: NodeAllocations(prefixes(*texts)) for name, texts in of.items()})


def allocated(intent: Intent, name: str, **changes: Any) -> Intent:
    """The same cluster, in which one node has been given something else."""
    by_node = intent.allocations.by_node
    given = replace(intent.allocations.of(name), **changes)
    return replace(intent, allocations=Allocations({**by_node, name: given}))


def crossed(ipip: Mode, vxlan: Mode) -> tuple[Encapsulation, Mode]:
    """How a pool's packets cross the underlay, by Calico's two modes."""
    if ipip is not Mode.NEVER:
        return IPIP, ipip
    return (VXLAN, vxlan) if vxlan is not Mode.NEVER else (DIRECT, Mode.NEVER)


def two_racks(
    *, ipip: Mode = Mode.NEVER, vxlan: Mode = Mode.NEVER, backend: Backend = Backend.BIRD, cidr: str = "10.244.0.0/16"
) -> Intent:
    """a1 and a2 in 10.0.0.0/24, b1 and b2 in 10.1.0.0/24, one block each, one pool named blue."""
    return Intent(
        backend=backend,
        pools=(Pool("blue", Prefix.parse(cidr), *crossed(ipip, vxlan)),),
        nodes=(
            node("a1", "10.0.0.1/24"),
            node("a2", "10.0.0.2/24"),
            node("b1", "10.1.0.3/24"),
            node("b2", "10.1.0.4/24"),
        ),
        allocations=blocks(a1=["10.244.1.0/26"], a2=["10.244.2.0/26"], b1=["10.244.3.0/26"], b2=["10.244.4.0/26"]),
    )


def with_ipv6(intent: Intent, *, vxlan: Mode = Mode.NEVER) -> Intent:
    """The same nodes with an address in fd00:10:a::/64 or fd00:10:b::/64 too, and a block each of a pool named six."""
    nodes = tuple(
        replace(here, address6=InterfaceAddress.parse(f"fd00:10:{here.name[0]}::{number}/64"))
        for number, here in enumerate(intent.nodes, 1)
    )
    for number, here in enumerate(intent.nodes, 1):
        block = Prefix.parse(f"fd00:10:244::{number:x}40/122")
        intent = allocated(intent, here.name, blocks=(*intent.blocks_of(here), block))
    six = Pool(
        "six", Prefix.parse("fd00:10:244::/64"), VXLAN if vxlan is not Mode.NEVER else DIRECT, vxlan, block_size=122
    )
    return replace(intent, pools=(*intent.pools, six), nodes=nodes)


def only_ipv6(intent: Intent) -> Intent:
    """A cluster that `with_ipv6` made, without its IPv4 side."""
    nodes = tuple(replace(here, address=here.address6, address6=None) for here in intent.nodes if here.address6)
    for here in nodes:
        intent = allocated(intent, here.name, blocks=tuple(b for b in intent.blocks_of(here) if b.version == 6))
    return replace(intent, pools=tuple(pool for pool in intent.pools if pool.cidr.version == 6), nodes=nodes)


def member(intent: Intent, name: str) -> Node:
    found = intent.node(name)
    assert found is not None
    return found


def bare_kernel(here: Node, *, mtu_bytes: int = 1500) -> Dataplane:
    """A node as the operator made it: eth0 with the node's addresses and, of each IP version, a default route."""
    own = [address for address in (here.address, here.address6) if address]
    link = Link("eth0", Plain("veth"), mtu_bytes, owned=False)
    routes = (route for address in own for route in _ways_out(address))
    return Dataplane.of((link, *(LinkAddress("eth0", address) for address in own), *routes))


def _ways_out(own: InterfaceAddress) -> tuple[Route, Route]:
    """To neighbours, and by the router at .254 or ::fe."""
    if own.address.version == 4:
        gateway, everywhere, metrics = Address(4, own.network.network + 254), Prefix.parse("0.0.0.0/0"), (0, 0)
    else:
        gateway, everywhere, metrics = Address(6, own.network.network + 0xFE), Prefix.parse("::/0"), (256, 1024)
    return (
        Route(own.network, link="eth0", metric=metrics[0], protocol=KERNEL_PROTOCOL),
        Route(everywhere, gateway=gateway, link="eth0", metric=metrics[1], protocol=STATIC_PROTOCOL),
    )


def path(prefix: str | Prefix, next_hop: str | Address, *as_path: int) -> Path:
    return Path(
        Prefix.parse(prefix) if isinstance(prefix, str) else prefix,
        Address.parse(next_hop) if isinstance(next_hop, str) else next_hop,
        tuple(map(Asn, as_path)),
    )


def learned_from_all(intent: Intent, here: Node, *, without: Sequence[str] = ()) -> tuple[Choice, ...]:
    """The choices of `here` when every other node announced its blocks and borrowed addresses over the mesh."""
    others = [other for other in intent.nodes if other != here and other.name not in without]
    paths = [
        (own.address, path(block, own.address))
        for other in others
        for block in (*intent.blocks_of(other), *intent.allocations.of(other.name).borrowed)
        if (own := other.underlay(block.version))
    ]
    return tuple(Choice(Candidate(peer, intent.asn, internal=True, received=Received(p, 0.0))) for peer, p in paths)


def derived(intent: Intent, name: str = "a1", observed: Dataplane | None = None) -> Desired:
    here = member(intent, name)
    choices = () if intent.backend is Backend.VXLAN else learned_from_all(intent, here)
    return derive(intent, here, {}, choices, observed or bare_kernel(here))
