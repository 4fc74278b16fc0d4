"""Of pairs of nodes that are alike one is followed, and verify finds the same as if each pair were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any, NamedTuple, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import LOCAL_TABLE, KernelObject, Route, RouteType, RuleAction
from bgpctl.core.net.objects import Rule as PolicyRule
from bgpctl.core.simulate.declared import everything
from bgpctl.core.trace.journey import Follower, Network
from bgpctl.core.trace.likeness import Likeness
from bgpctl.core.trace.netfilter import Chain, Condition, Field, Rule, Verdict
from bgpctl.core.trace.snapshot import Neighbour, Snapshot
from bgpctl.core.trace.verify import Block, Obstacles, by_cause, finding_of, verify
from tests.laws.clusters import POOL, uniform

T = TypeVar("T")


class At(NamedTuple):
    """Where a fault is made: in one kernel, about one block; `number` chooses among several objects."""

    was: Snapshot
    block: Block
    number: int

    def one(self, objects: Iterable[T]) -> list[T]:
        """One of them, or none."""
        found = sorted(objects, key=str)
        return found[self.number % len(found) :][:1] if found else []

    def put(self, *objects: KernelObject) -> Snapshot:
        return replace(self.was, dataplane=self.was.dataplane.put(objects))

    def drop(self, *objects: KernelObject) -> Snapshot:
        return replace(self.was, dataplane=self.was.dataplane.drop(objects))

    def with_chain(self, *conditions: Condition) -> Snapshot:
        return replace(self.was, chains=(*self.was.chains, chain_of(*conditions)))

    def with_sysctl(self, name: str, value: str) -> Snapshot:
        return replace(self.was, sysctls={**self.was.sysctls, name: value})

    def with_rule(self, **of: Any) -> Snapshot:
        """A rule that drops, before those that every kernel has."""
        usual = (PolicyRule(4, 0, LOCAL_TABLE), PolicyRule(4, 32766))
        added = (*usual, PolicyRule(4, 100, action=RuleAction.PROHIBIT, **of))
        plane = self.was.dataplane
        return replace(self.was, dataplane=replace(plane, rules=plane.rules | frozenset(added)))

    def silent(self) -> Snapshot:
        hops = self.one(hop for hop in self.was.dataplane.next_hops if hop.gateway)
        gone = {(hop.link, hop.gateway): Neighbour.FAILED for hop in hops if hop.gateway}
        return replace(self.was, neighbours={**self.was.neighbours, **gone})


def foreign(prefix: Prefix, gateway: str) -> Route:
    return Route(prefix, gateway=Address.parse(gateway), link="eth0", metric=0, protocol=4)


FAULTS: Mapping[str, Callable[[At], Snapshot]] = {
    "route gone": lambda at: at.drop(Route(at.block.prefix)),
    "foreign route": lambda at: at.put(foreign(at.block.prefix, "10.0.0.253")),
    "part of a block elsewhere": lambda at: at.put(
        Route(Prefix(4, at.block.prefix.network, 28 + at.number % 3), RouteType.BLACKHOLE, metric=0, protocol=4)
    ),
    "pool by a member": lambda at: at.put(foreign(POOL, "10.0.0.1")),
    "tunnel down": lambda at: at.put(
        *(replace(link, up=False) for link in at.one(link for link in at.was.dataplane.links if link.owned))
    ),
    "mtu": lambda at: at.put(
        *(replace(link, mtu_bytes=1300 + 20 * at.number) for link in at.one(at.was.dataplane.links))
    ),
    "sender gone": lambda at: at.put(*(item._replace(sources=item.sources[1:]) for item in at.was.dataplane.decaps)),
    "filter": lambda at: at.put(*(item._replace(sources=item.sources[1:]) for item in at.was.dataplane.inner_filters)),
    "next hop gone": lambda at: at.drop(*at.one(at.was.dataplane.next_hops)),
    "chain": lambda at: at.with_chain(),
    "chain for some": lambda at: at.with_chain(Condition(Field.DESTINATION, (at.block.prefix,), version=4)),
    "rp_filter": lambda at: at.with_sysctl("net/ipv4/conf/all/rp_filter", "1"),
    "forwarding": lambda at: at.with_sysctl("net/ipv4/ip_forward", "0"),
    "silent": lambda at: at.silent(),
    "rule for a destination": lambda at: at.with_rule(destination=at.block.prefix),
    "rule for a source": lambda at: at.with_rule(selector=f"from {at.block.prefix}"),
}


def chain_of(*conditions: Condition) -> Chain:
    return Chain("inet", "f", "F", "filter", "forward", 10, rules=(Rule(1, conditions, Verdict.DROP),))


@st.composite
def damaged(draw: st.DrawFn, network: Network, blocks: tuple[Block, ...]) -> Network:
    """The network with up to three faults, each at one node or at all."""
    snapshots = dict(network.snapshots)
    for _ in range(draw(st.integers(0, 3))):
        kind, block = draw(st.sampled_from(sorted(FAULTS))), draw(st.sampled_from(blocks))
        names = draw(st.sampled_from([sorted(snapshots), [draw(st.sampled_from(sorted(snapshots)))]]))
        index = draw(st.integers(0, 5))
        for name in names:
            was = snapshots[name]
            assert was
            snapshots[name] = FAULTS[kind](At(was, block, index))
    return replace(network, snapshots=snapshots)


@settings(max_examples=max(20, settings().max_examples // 5))
@given(st.data())
def test_what_is_found_is_what_is_found_of_every_pair(data: st.DataObject) -> None:
    network, blocks, obstacles = everything(data.draw(uniform()))
    network = data.draw(damaged(network, blocks))
    found = verify(network, blocks, obstacles)
    whole = one_by_one(network, blocks, obstacles)
    assert found.pairs == whole[0]
    assert Counter({str(item.example): item.pairs for item in found.classes}) == whole[1]


def one_by_one(network: Network, blocks: tuple[Block, ...], obstacles: Obstacles) -> tuple[int, Counter[str]]:
    follower = Follower(network)
    pairs = [(a, b) for a, b in permutations(blocks, 2) if a.node != b.node and a.prefix.version == b.prefix.version]
    found = (finding_of(follower, a, b, lambda *of: obstacles.get(of)) for a, b in pairs)
    classes = by_cause((finding, 1) for finding in found if finding)
    return len(pairs), Counter({str(item.example): item.pairs for item in classes})


@given(uniform())
def test_in_racks_that_are_alike_few_pairs_differ(intent: Intent) -> None:
    network, blocks, _ = everything(intent)
    names = [*network.snapshots]
    like = Likeness(network, blocks)
    keys = [found for one in names for other in names if one < other and (found := like.keys(one, other))]
    assert len(keys) == len(names) * (len(names) - 1) // 2
    assert len({key for both in keys for key in both}) <= 60
