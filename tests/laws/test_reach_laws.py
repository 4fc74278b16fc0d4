"""The losses that a plan lists are those that are found when every pair and every prefix is followed by the whole."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

from hypothesis import given, settings

from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.alike import usual_gateway
from bgpctl.core.simulate.declared import network, obstacle
from bgpctl.core.simulate.expected import paths
from bgpctl.core.simulate.losses import compared
from bgpctl.core.simulate.pair import failure
from bgpctl.core.simulate.part import Parts
from bgpctl.core.simulate.reach import lost
from bgpctl.core.trace.announced import Obstacle, ObstacleCode, missing
from bgpctl.core.trace.journey import Follower, Origin, exchange
from bgpctl.core.trace.packet import Packet, echo_protocol
from bgpctl.core.trace.steps import Delivered, Unknown
from tests.laws.clusters import changes


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
    if any(own.address == usual_gateway(own) for intent in change for own in (node.address for node in intent.nodes)):
        # A pair alone knows nothing of a third node that forwards its packets, or is its gateway.
        ends = [found for found in every.values() if found and not isinstance(found.journey.end, Unknown)]
        assert listed >= Counter(found.obstacle.code if found.obstacle else None for found in ends)
    else:
        assert listed == causes


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
