"""The losses that a plan lists are those that are found when every pair and every prefix is followed by the whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Filter, FilterRule, Node, Peer, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Mode
from bgpctl.core.cluster.intent import Intent, with_edits
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix
from bgpctl.core.simulate.declared import network, obstacle
from bgpctl.core.simulate.expected import paths
from bgpctl.core.simulate.pair import failure
from bgpctl.core.simulate.part import Parts
from bgpctl.core.simulate.reach import compared, kinds, lost
from bgpctl.core.trace.announced import Obstacle, ObstacleCode, missing
from bgpctl.core.trace.journey import Follower, Origin, exchange
from bgpctl.core.trace.packet import Packet, echo_protocol
from bgpctl.core.trace.steps import Delivered

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


@settings(max_examples=30)
@given(changes())
def test_what_is_listed_as_lost_is_what_is_lost(change: tuple[Intent, Intent]) -> None:
    both = sorted(change[0].by_name.keys() & change[1].by_name.keys())
    before, wanted = map(Parts, change)
    every = {pair: lost(before, wanted, *pair) for pair in permutations(both, 2)}
    causes = Counter(found.obstacle.code if found.obstacle else None for found in every.values() if found)
    listed: Counter[object] = Counter()
    for loss in compared(*change).losses:
        listed[loss.failure.obstacle.code if loss.failure.obstacle else None] += loss.pairs
    assert listed == causes
    assert sum(kind.pairs for kind in kinds(*change)) == len(every)


@settings(max_examples=30)
@given(changes())
def test_a_part_of_the_cluster_answers_as_the_whole_does(change: tuple[Intent, Intent]) -> None:
    intent = change[0]
    parts = Parts(intent)
    for source, destination in permutations(intent.nodes, 2):
        start, end = (intent.blocks_of(node)[0].nth(9) for node in (source, destination))
        whole = network(intent, (start, end), {})
        packet = Packet(start, end, protocol=echo_protocol(4))
        found = exchange(Follower(whole), packet, Origin(source.name, ""), destination.name)
        passes = found.back is not None and isinstance(found.back.end, Delivered)
        failed = failure(parts, start, end, source.name, destination.name)
        assert (failed is None) == passes
        if failed:
            answers = found.first is found.back
            ends = (destination.name, start) if answers else (source.name, end)
            assert failed.obstacle == obstacle(intent, *ends)
            assert type(failed.journey.end) is type(found.first.end)


@settings(max_examples=30)
@given(changes())
def test_the_paths_that_a_node_will_have_are_those_that_the_files_bring(change: tuple[Intent, Intent]) -> None:
    wanted = change[1]
    for node in wanted.nodes:
        others = [prefix for other in wanted.nodes if other is not node for prefix in wanted.prefixes_of(other)]
        pool = wanted.pools[0]
        brought = {prefix for prefix in others if comes(missing(wanted, node, prefix))}
        found = {choice.best.path.prefix for choice in paths(wanted, node, {}, NextHopCosts(None))}
        if pool.by_bgp:
            assert found == brought - set(wanted.prefixes_of(node))


def comes(kept_back: Obstacle | None) -> bool:
    return kept_back is None or kept_back.code is ObstacleCode.ROUTER
