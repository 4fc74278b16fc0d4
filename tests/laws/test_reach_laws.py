"""The pairs that a plan lists as lost are those that are lost when every pair is followed."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Filter, FilterRule, Node, Peer, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.simulate.reach import compared, kinds, lost

POOL = Prefix.parse("10.244.0.0/16")
CROSSINGS = [(DIRECT, Mode.NEVER), (IPIP, Mode.ALWAYS), (IPIP, Mode.CROSS_SUBNET), (VXLAN, Mode.ALWAYS)]


@st.composite
def clusters(draw: st.DrawFn, names: tuple[str, ...]) -> Intent:
    """Nodes in two racks, in a mesh or with peers between some of them, with filters that may reject blocks."""
    nodes, given = [], {}
    for number, name in enumerate(names, 1):
        rack = int(name[1])
        cluster_id = draw(st.sampled_from([None] * 5 + [Address.parse("1.1.1.1")]))
        nodes.append(Node(name, InterfaceAddress(Address.parse(f"10.0.{rack}.{number}"), 24), cluster_id=cluster_id))
        block = draw(st.sampled_from([number] * 6 + [number + 100]))
        given[name] = NodeAllocations((Prefix(4, POOL.network + block * 256, 26),))
    rule = FilterRule(accept=False, cidr=Prefix(4, POOL.network + draw(st.integers(1, 4)) * 256, 24))
    way = draw(st.sampled_from(["import4", "export4"]))
    peer = Peer(
        "some",
        None,
        None,
        nodes=tuple(draw(st.sampled_from([names, names[:1], names[1:]]))),
        remotes=tuple(draw(st.sampled_from([names, names, names[:2]]))),
        peer_selector="all()",
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
    names = tuple(f"n{rack}{host}" for rack in range(2) for host in range(draw(st.integers(1, 3))))
    return draw(clusters(names)), draw(clusters(draw(st.sampled_from([names, names, names[1:]]))))


@settings(max_examples=60)
@given(changes())
def test_what_is_listed_as_lost_is_what_is_lost(change: tuple[Intent, Intent]) -> None:
    both = sorted(change[0].by_name.keys() & change[1].by_name.keys())
    every = {pair: lost(*change, *pair) for pair in permutations(both, 2)}
    causes = Counter(found.obstacle.code if found.obstacle else None for found in every.values() if found)
    listed: Counter[object] = Counter()
    for loss in compared(*change).losses:
        listed[loss.failure.obstacle.code if loss.failure.obstacle else None] += loss.pairs
    assert listed == causes
    assert sum(kind.pairs for kind in kinds(*change)) == len(every)
