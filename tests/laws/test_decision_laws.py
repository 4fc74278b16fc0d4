"""The decision process against a slow and obvious reading of the RFCs, over ten thousand generated contests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from bgpctl.core.bgp.decision import Candidate, Choice, Lost, choose
from bgpctl.core.bgp.path import AsPath, AsSet
from bgpctl.core.bgp.received import Received
from bgpctl.core.net.addresses import Address, Asn
from tests.cluster import path

CASES: Final = 10_000
BATCHES: Final = 10
ASNS: Final[AsPath] = (*map(Asn, (65001, 65001, 65002, 65002, 65003, 65003)), AsSet((Asn(65001), Asn(65003))))
PREFIXES: Final = {4: "10.244.9.0/26", 6: "fd00:9::/64"}
HOPS: Final = {4: ("10.0.0.7", "10.0.0.8", "10.0.0.9"), 6: ("fd01::7", "fd01::8", "fd01::9")}


def contests(seed: int) -> Iterator[list[Candidate]]:
    """Small ranges everywhere, so that ties are common at every step."""
    chance = random.Random(seed)
    for _ in range(CASES // BATCHES):
        version = chance.choice((4, 6))
        peers = chance.sample(range(1, 30), chance.randint(1, 6))
        yield [found for peer in peers for found in of_peer(chance, version, peer)]


def of_peer(chance: random.Random, version: int, peer: int) -> list[Candidate]:
    """A peer's path, or several with identifiers (RFC 7911) that its session is the same for."""
    first = candidate(chance, version, peer)
    if chance.random() < 0.8:
        return [first]
    others = [candidate(chance, version, peer) for _ in range(chance.randint(1, 2))]
    paths = [first.path, *(chance.choice((first.path, other.path)) for other in others)]
    identifiers = chance.sample(range(1, 9), len(paths))
    return [
        first._replace(received=Received(replace(one, path_id=number), 0.0))
        for one, number in zip(paths, identifiers, strict=True)
    ]


def candidate(chance: random.Random, version: int, peer: int) -> Candidate:
    learned = replace(
        path(PREFIXES[version], chance.choice(HOPS[version])),
        as_path=tuple(chance.choices(ASNS, k=chance.choice((0, 1, 1, 1, 2)))),
        local_pref=chance.choice((None, None, 100, 200)),
        med=chance.choice((None, 0, 10, 20)),
        origin=chance.choice(("igp", "igp", "incomplete")),
        originator=chance.choice((None, None, Address(4, chance.randint(1, 3)))),
        cluster_list=(Address(4, 9),) * chance.choice((0, 0, 1, 2)),
    )
    return Candidate(
        Address(version, (10 << 24) + peer),
        Asn(chance.choice((64512, 65001, 65002))),
        chance.random() < 0.5,
        Received(learned, 0.0),
        router_id=chance.choice((None, Address(4, chance.randint(1, 3)))),
        cost=chance.choice((None, 0, 0, 0, 5)),
        answers=chance.random() > 0.2,
    )


# The reference: which path is better, written down pair by pair, and the RFC's removal applied with two nested loops.


def neighbour(one: Candidate) -> Asn:
    """RFC 4271, section 9.1.2.2 c: an aggregate that was made inside is ours."""
    first = one.path.as_path[:1]
    return one.peer_asn if not first or isinstance(first[0], AsSet) else first[0]


def beaten_on(step: Lost, mine: Candidate, theirs: Candidate) -> bool:
    """True if `mine` has to leave at `step` because `theirs` is there."""
    me, they = mine.path, theirs.path
    if step is Lost.UNRESOLVED:  # RFC 4271, 9.1.2: an unresolvable route is not considered beside a resolvable one
        return mine.cost is None and theirs.cost is not None
    if step is Lost.UNREACHABLE:  # ours, as if no route led there
        return not mine.answers and theirs.answers
    if step is Lost.LOCAL_PREF:
        return (100 if me.local_pref is None else me.local_pref) < (100 if they.local_pref is None else they.local_pref)
    if step is Lost.AS_PATH:
        return len(me.as_path) > len(they.as_path)
    if step is Lost.ORIGIN:
        return "igp egp incomplete".index(me.origin) > "igp egp incomplete".index(they.origin)
    if step is Lost.MED:
        return neighbour(mine) == neighbour(theirs) and (me.med or 0) > (they.med or 0)
    if step is Lost.INTERNAL:
        return mine.internal and not theirs.internal
    if step is Lost.COST:
        return (mine.cost or 0) > (theirs.cost or 0)
    if step is Lost.ROUTER_ID:
        return (me.originator or mine.router_id or mine.peer) > (they.originator or theirs.router_id or theirs.peer)
    if step is Lost.CLUSTER_LIST:
        return len(me.cluster_list) > len(they.cluster_list)
    if step is Lost.PEER_ADDRESS:
        return mine.peer > theirs.peer
    return (me.path_id or 0) > (they.path_id or 0)


STEPS: Final = (
    Lost.UNRESOLVED,
    Lost.UNREACHABLE,
    Lost.LOCAL_PREF,
    Lost.AS_PATH,
    Lost.ORIGIN,
    Lost.MED,
    Lost.INTERNAL,
    Lost.COST,
    Lost.ROUTER_ID,
    Lost.CLUSTER_LIST,
    Lost.PEER_ADDRESS,
    Lost.PATH_ID,
)
TIE_BREAKS: Final = {Lost.ROUTER_ID, Lost.CLUSTER_LIST, Lost.PEER_ADDRESS, Lost.PATH_ID}


def by_the_rfc(contest: list[Candidate]) -> tuple[Candidate, dict[Candidate, Lost], set[Address | None]]:
    """The best path, where each other one lost, and the next hops of all that only a tie-break removed."""
    left, reasons = list(contest), {}
    for step in STEPS:
        out = [one for one in left for other in left if beaten_on(step, one, other)]
        reasons.update(dict.fromkeys(out, step))
        left = [one for one in left if one not in out]
    (best,) = left
    close = [one for one, step in reasons.items() if step in TIE_BREAKS]
    return best, reasons, {one.path.next_hop for one in (best, *close)}


def better(mine: Candidate, theirs: Candidate) -> bool:
    """One path against another, without a third."""
    for step in STEPS:
        if beaten_on(step, mine, theirs) or beaten_on(step, theirs, mine):
            return beaten_on(step, theirs, mine)
    raise AssertionError("two paths of one peer with one identifier")


def source(one: Candidate) -> tuple[Address, int]:
    return one.peer, one.path.path_id or 0


def by_groups(contest: list[Candidate]) -> Candidate:
    """Deterministic MED as routers define it: a champion per neighbour AS, then the champions without MED."""

    champions = []
    for group in {neighbour(one) for one in contest}:
        members = [one for one in contest if neighbour(one) == group]
        champions += [one for one in members if all(one == other or better(one, other) for other in members)]
    (winner,) = [one for one in champions if all(one == other or better(one, other) for other in champions)]
    return winner


@pytest.mark.parametrize("seed", range(BATCHES))
def test_the_choice_is_that_of_the_rfc(seed: int) -> None:
    for contest in contests(seed):
        choice = choose(contest)
        best, reasons, hops = by_the_rfc(contest)
        assert choice.best == best == by_groups(contest)
        assert dict(choice.lost) == {loser: step for loser, step in reasons.items() if loser not in choice.also}
        assert {one.path.next_hop for one in choice.used} == hops
        assert len(choice.used) == len(hops)


@pytest.mark.parametrize("seed", range(BATCHES))
def test_the_order_of_arrival_is_irrelevant(seed: int) -> None:
    for contest in contests(seed):
        wanted = choose(contest)
        assert all(choose(order) == wanted for order in itertools.islice(itertools.permutations(contest), 6))
        assert choose(contest[::-1]) == wanted


@pytest.mark.parametrize("seed", range(2))
def test_every_path_is_used_or_has_its_reason(seed: int) -> None:
    for contest in contests(seed):
        choice: Choice = choose(contest)
        assert sorted([*choice.used, *(loser for loser, _ in choice.lost)], key=source) == sorted(contest, key=source)


def test_the_generated_contests_end_at_every_step_and_use_several_paths() -> None:
    choices = [choose(contest) for seed in range(BATCHES) for contest in contests(seed)]
    assert {step for choice in choices for _, step in choice.lost} == set(Lost)
    assert any(choice.also for choice in choices)
