"""Small clusters for tests: literals in."""

from __future__ import annotations

from collections.abc import Sequence

from bgpctl.core.bgp import Path
from bgpctl.core.cluster import Backend, Intent, Mode, Node, Pool
from bgpctl.core.model import Address, Asn, Dataplane, InterfaceAddress, Link, LinkAddress, Plain, Prefix, Route
from bgpctl.core.rib import Candidate, Choice, Received

KERNEL_PROTOCOL = 2
STATIC_PROTOCOL = 4


def node(name: str, address: str, *blocks: str) -> Node:
    return Node(name, InterfaceAddress.parse(address), tuple(sorted(map(Prefix.parse, blocks))))


def two_racks(
    *, ipip: Mode = Mode.NEVER, vxlan: Mode = Mode.NEVER, backend: Backend = Backend.BIRD, cidr: str = "10.244.0.0/16"
) -> Intent:
    """a1 and a2 in 10.0.0.0/24, b1 and b2 in 10.1.0.0/24, one block each, one pool named blue."""
    return Intent(
        backend=backend,
        pools=(Pool("blue", Prefix.parse(cidr), ipip_mode=ipip, vxlan_mode=vxlan),),
        nodes=(
            node("a1", "10.0.0.1/24", "10.244.1.0/26"),
            node("a2", "10.0.0.2/24", "10.244.2.0/26"),
            node("b1", "10.1.0.3/24", "10.244.3.0/26"),
            node("b2", "10.1.0.4/24", "10.244.4.0/26"),
        ),
    )


def member(intent: Intent, name: str) -> Node:
    found = intent.node(name)
    assert found is not None
    return found


def bare_kernel(here: Node, *, mtu_bytes: int = 1500) -> Dataplane:
    """A node as the operator made it: eth0 with the node's address and a default route."""
    gateway = Address(4, here.address.network.network + 254)
    return Dataplane(
        links=frozenset({Link("eth0", Plain("veth"), mtu_bytes, owned=False)}),
        addresses=frozenset({LinkAddress("eth0", here.address)}),
        routes=frozenset(
            {
                Route(here.address.network, link="eth0", metric=0, protocol=KERNEL_PROTOCOL),
                Route(Prefix.parse("0.0.0.0/0"), gateway=gateway, link="eth0", metric=0, protocol=STATIC_PROTOCOL),
            }
        ),
    )


def path(prefix: str | Prefix, next_hop: str | Address, *as_path: int) -> Path:
    return Path(
        Prefix.parse(prefix) if isinstance(prefix, str) else prefix,
        Address.parse(next_hop) if isinstance(next_hop, str) else next_hop,
        tuple(map(Asn, as_path)),
    )


def learned_from_all(intent: Intent, here: Node, *, without: Sequence[str] = ()) -> tuple[Choice, ...]:
    """What `here` chooses when every other node announced its blocks and borrowed addresses over the mesh."""
    others = [other for other in intent.nodes if other != here and other.name not in without]
    paths = [
        (other.address.address, path(block, other.address.address))
        for other in others
        for block in (*other.blocks, *other.borrowed)
    ]
    return tuple(Choice(Candidate(peer, intent.asn, internal=True, received=Received(p, 0.0))) for peer, p in paths)
