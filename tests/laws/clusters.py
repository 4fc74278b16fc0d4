"""Generated clusters: nodes in two racks, in a mesh or with peers between some of them; and edits of such clusters."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Filter, FilterRule, Node, Peer, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Mode
from bgpctl.core.cluster.intent import Intent, with_edits
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix

POOL = Prefix.parse("10.244.0.0/16")
CROSSINGS = [(DIRECT, Mode.NEVER), (IPIP, Mode.ALWAYS), (IPIP, Mode.CROSS_SUBNET), (VXLAN, Mode.ALWAYS)]


@st.composite
def clusters(draw: st.DrawFn, names: tuple[str, ...]) -> Intent:
    """Nodes in two racks, in a mesh or with peers between some of them, with filters that may reject blocks."""
    nodes: list[Node] = []
    given: dict[str, NodeAllocations] = {}
    for number, name in enumerate(names, 1):
        rack = int(name[1])
        cluster_id = draw(st.sampled_from([None] * 5 + [Address.parse("1.1.1.1")]))
        own = InterfaceAddress(Address.parse(f"10.0.{rack}.{draw(st.sampled_from([number] * 6 + [254]))}"), 24)
        asn = draw(st.sampled_from([None] * 9 + [Asn(64999)]))
        if own in {node.address for node in nodes}:
            own = InterfaceAddress(Address.parse(f"10.0.{rack}.{number}"), 24)
        nodes.append(Node(name, own, asn=asn, cluster_id=cluster_id))
        block = draw(st.sampled_from([number] * 6 + [number + 100]))
        lender = draw(st.sampled_from([None] * 6 + [1, 2]))
        borrowed = () if lender in {None, number} else (Prefix(4, POOL.network + lender * 256 + number, 32),)
        given[name] = NodeAllocations((Prefix(4, POOL.network + block * 256, 26),), borrowed)
    rule = FilterRule(accept=False, cidr=Prefix(4, POOL.network + draw(st.integers(1, 4)) * 256, 24))
    way = draw(st.sampled_from(["import4", "export4"]))
    named = draw(st.sampled_from([None, None, None, nodes[-1].address.address]))
    peer = Peer(
        "some",
        named,
        None,
        nodes=tuple(draw(st.sampled_from([names, names[:1], names[1:]]))),
        remotes=() if named else tuple(draw(st.sampled_from([names, names, names[:2]]))),
        peer_selector=None if named else "all()",
        filters=draw(st.sampled_from([(), ("keep",)])),
    )
    return Intent(
        mesh=draw(st.sampled_from([True, True, False])),
        nodes=tuple(nodes),
        allocations=Allocations(given),
        pools=(Pool("blue", POOL, *draw(st.sampled_from(CROSSINGS))),),
        peers=draw(st.sampled_from([(), (peer,)])),
        filters=(Filter("keep", import4=(rule,)) if way == "import4" else Filter("keep", export4=(rule,)),),
    )


@st.composite
def changes(draw: st.DrawFn) -> tuple[Intent, Intent]:
    """Two clusters that have nothing but names in common, or one of which a node is edited."""
    names = tuple(f"n{rack}{host}" for rack in range(2) for host in range(draw(st.integers(1, 3))))
    before = draw(clusters(names))
    if draw(st.booleans()):
        return before, draw(_edited(before))
    return before, draw(clusters(draw(st.sampled_from([names, names, names[1:]]))))


@st.composite
def _edited(draw: st.DrawFn, before: Intent) -> Intent:
    node = draw(st.sampled_from(before.nodes))
    given = before.allocations.of(node.name)
    match draw(st.sampled_from(["remove", "address", "reflector", "asn", "borrow", "block", "lend"])):
        case "remove":
            edits: dict[str, Node | None] = {node.name: None}
        case "address":
            moved = InterfaceAddress(Address.parse(f"10.0.{draw(st.sampled_from([0, 1, 7]))}.99"), 24)
            edits = {node.name: replace(node, address=moved)}
        case "reflector":
            edits = {node.name: replace(node, cluster_id=Address.parse("1.1.1.2"))}
        case "asn":
            edits = {node.name: replace(node, asn=Asn(64998))}
        case other:
            first = given.blocks[0]
            changed = {
                "borrow": replace(given, borrowed=(Prefix(4, POOL.network + 256 + 40, 32),)),
                "block": replace(given, blocks=(*given.blocks, Prefix(4, POOL.network + 200 * 256, 26))),
                "lend": replace(given, blocks=(Prefix(4, first.network, 27),)),
            }[other]
            return with_edits(before, {}, {node.name: changed})
    return with_edits(before, edits, {node.name: None} if None in edits.values() else {})


@st.composite
def uniform(draw: st.DrawFn) -> Intent:
    """Racks that are built alike: nodes in a mesh, or clients of one or two reflectors, with one block or two each."""
    racks, hosts = draw(st.sampled_from([(1, 3), (1, 5), (2, 2), (2, 3), (3, 2)]))
    blocks = draw(st.integers(1, 2))
    reflectors = draw(st.sampled_from([0, 0, 1, 2]))
    nodes, given = [], {}
    for number in range(racks * hosts):
        rack, host = divmod(number, hosts)
        name = f"n{rack}{host}"
        cluster_id = Address.parse("1.1.1.1") if number < reflectors else None
        own = InterfaceAddress(Address.parse(f"10.0.{rack}.{host + 1}"), 24)
        nodes.append(Node(name, own, cluster_id=cluster_id))
        firsts = range(POOL.network + number * 256, POOL.network + number * 256 + blocks * 64, 64)
        given[name] = NodeAllocations(tuple(Prefix(4, first, 26) for first in firsts))
    names = tuple(node.name for node in nodes)
    served = Peer("some", None, None, nodes=names, remotes=names[:reflectors], peer_selector="all()")
    return Intent(
        mesh=not reflectors,
        nodes=tuple(nodes),
        allocations=Allocations(given),
        pools=(Pool("blue", POOL, *draw(st.sampled_from(CROSSINGS))),),
        peers=(served,) if reflectors else (),
    )


@st.composite
def edited(draw: st.DrawFn, before: Intent) -> Intent:
    """As an operator edits uniform racks: for all of them, or one node."""
    node = draw(st.sampled_from(before.nodes))
    match draw(st.sampled_from(["nothing", "crossing", "mesh", "asn", "remove", "own asn", "reject"])):
        case "crossing":
            return replace(before, pools=(Pool("blue", POOL, *draw(st.sampled_from(CROSSINGS))),))
        case "mesh":
            return replace(before, mesh=not before.mesh)
        case "asn":
            return replace(before, asn=Asn(64999))
        case "remove":
            return with_edits(before, {node.name: None}, {node.name: None})
        case "own asn":
            return with_edits(before, {node.name: replace(node, asn=Asn(64998))}, {})
        case "reject":
            rule = FilterRule(accept=False, cidr=before.blocks_of(node)[0])
            peers = tuple(replace(peer, filters=("keep",)) for peer in before.peers)
            return replace(before, peers=peers, filters=(Filter("keep", import4=(rule,)),))
        case _:
            return before
