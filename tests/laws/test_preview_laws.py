"""A preview ends where there is nothing left to do, and nodes that are alike have the same effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Backend, Node, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, Vni
from bgpctl.core.simulate import alike
from bgpctl.core.simulate.of_cluster import of_cluster, of_node
from bgpctl.core.simulate.preview import Preview, assumed_kernel, converged, preview
from tests.laws.intents import intents

CROSSING = [
    (DIRECT, Mode.NEVER),
    *((tunnel, mode) for tunnel in (IPIP, VXLAN) for mode in (Mode.ALWAYS, Mode.CROSS_SUBNET)),
]
POOL6 = Prefix.parse("fd00:244::/112")
POOLS = [Prefix.parse("10.244.0.0/20"), Prefix.parse("10.245.0.0/20")]


@st.composite
def racks(draw: st.DrawFn) -> Intent:
    """Up to eight nodes in three racks, most of them with one block of each of two pools, a few with more or less."""
    nodes, given = [], {}
    for rack in range(draw(st.integers(1, 3))):
        for host in range(draw(st.integers(1, 4))):
            name = f"n{rack}{host}"
            last = draw(st.sampled_from([host + 1, host + 1, host + 1, 254 - host]))
            accepts = draw(st.sampled_from([None, None, None, frozenset({VXLAN})]))
            labels = draw(st.sampled_from([(), (), (("zone", "a"),)]))
            own = InterfaceAddress(Address.parse(f"10.0.{rack}.{last}"), 24)
            own6 = draw(st.sampled_from([InterfaceAddress.parse(f"fd00:{rack}::{host + 1}/64")] * 3 + [None]))
            nodes.append(Node(name, own, own6, accepts=accepts, labels=labels))
            owned, borrowed = draw(_allocated(rack, host))
            owned6 = (Prefix(6, POOL6.network + (rack * 4 + host) * 64, 122),) if own6 else ()
            given[name] = NodeAllocations((*owned, *owned6), borrowed)
    made = Intent(nodes=tuple(nodes), allocations=Allocations(given), pools=draw(_pools()))
    return replace(made, backend=draw(st.sampled_from([Backend.BIRD, Backend.BIRD, Backend.VXLAN])))


@st.composite
def _pools(draw: st.DrawFn) -> tuple[Pool, ...]:
    selectors = st.sampled_from(["all()", "all()", "has(zone)"])
    crossing = st.sampled_from(CROSSING)
    crossing6 = st.sampled_from([(DIRECT, Mode.NEVER), (VXLAN, Mode.ALWAYS), (VXLAN, Mode.CROSS_SUBNET)])
    return (
        *(Pool(f"p{index}", cidr, *draw(crossing), node_selector=draw(selectors)) for index, cidr in enumerate(POOLS)),
        Pool("p6", POOL6, *draw(crossing6), block_size=122),
    )


@st.composite
def _allocated(draw: st.DrawFn, rack: int, host: int) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
    """The blocks of a node, and now and then the address that it borrows from the first node of a rack."""
    number = rack * 4 + host
    blocks = [Prefix(4, pool.network + number * 64, 26) for pool in POOLS]
    owned = draw(st.sampled_from([blocks, blocks, blocks, blocks[:1], []]))
    lender = draw(st.sampled_from([None, None, None, None, 0, 1]))
    borrowed = (
        () if lender is None or lender == rack else (Prefix(4, POOLS[0].network + lender * 256 + 5 + number, 32),)
    )
    return tuple(owned), borrowed


@st.composite
def changed(draw: st.DrawFn, before: Intent) -> Intent:
    """The cluster after an operator's edit, or after address management was at work."""
    match draw(st.sampled_from(["pools", "vni", "backend", "remove", "add", "blocks", "address", "masks", "nothing"])):
        case "pools":
            return replace(before, pools=draw(_pools()))
        case "vni":
            return replace(before, vxlan_vni=Vni(4097))
        case "backend":
            return replace(before, backend=draw(st.sampled_from([Backend.BIRD, Backend.VXLAN])))
        case "remove":
            return replace(before, nodes=before.nodes[1:] or before.nodes)
        case "add":
            return replace(before, nodes=(*before.nodes, Node("n99", InterfaceAddress(Address.parse("10.0.1.99"), 24))))
        case "blocks":
            first, given = before.nodes[0].name, dict(before.allocations.by_node)
            given[first] = replace(
                given[first], blocks=(*given[first].blocks, Prefix(4, POOLS[1].network + 64 * 40, 26))
            )
            return replace(before, allocations=Allocations(given))
        case "address":
            first_node, *rest = before.nodes
            moved = replace(first_node, address=InterfaceAddress(Address.parse("10.0.9.9"), 24))
            return replace(before, nodes=(moved, *rest))
        case "masks":
            wider = draw(st.sampled_from([8, 22, 23]))
            some = draw(st.sampled_from([slice(None), slice(1), slice(2)]))
            nodes = [replace(node, address=node.address._replace(length=wider)) for node in before.nodes[some]]
            return replace(before, nodes=(*nodes, *before.nodes[len(nodes) :]))
        case _:
            return before


def shape(item: Preview) -> Hashable:
    """Everything about a preview but names and addresses."""
    steps = tuple(
        (
            step.stage,
            frozenset(
                Counter((type(op).__name__, type(op.object).__name__, effect) for op, effect in step.ops).items()
            ),
            len(step.waits_for),
        )
        for step in item.steps
    )
    unmet = frozenset(Counter(fact.code for fact in item.unmet).items())
    return steps, unmet, len(item.unreachable), len(item.cut), len(item.blocked), len(item.kept)


@given(intents(), intents())
def test_after_all_its_steps_there_is_nothing_to_foresee(before: Intent, wanted: Intent) -> None:
    for node in wanted.nodes:
        was = before.node(node.name) or node
        kernel = converged(before, was, assumed_kernel(was))
        foreseen = preview(wanted, node, kernel)
        now = after_all(kernel, (op for step in foreseen.steps for op, _ in step.ops))
        assert preview(wanted, node, now).steps == ()


@given(st.data(), racks(), st.booleans())
def test_nodes_that_are_alike_have_the_same_planned_for_them(data: st.DataObject, before: Intent, is_new: bool) -> None:
    wanted = data.draw(changed(before))
    former = None if is_new else before
    shown = {name: item for item in of_cluster(former, wanted) for name in (item.node, *item.alike)}
    assert shown.keys() == {node.name for node in wanted.nodes}
    for node in wanted.nodes:
        assert shape(of_node(former, wanted, node)) == shape(shown[node.name])


@given(racks())
def test_nodes_of_equal_racks_are_one_group(cluster: Intent) -> None:
    plain = replace(
        cluster,
        nodes=tuple(
            replace(node, address6=None, accepts=None, labels=()) for node in cluster.nodes if not is_gateway(node)
        ),
        allocations=Allocations(),
    )
    sizes = Counter(node.address.network for node in plain.nodes)
    assert len(alike.groups(plain, plain)) == len(set(sizes.values()))


def is_gateway(node: Node) -> bool:
    return node.address.address == alike.usual_gateway(node.address)
