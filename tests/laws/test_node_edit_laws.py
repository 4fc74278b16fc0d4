"""The objects that should be in a kernel follow from an edit of some nodes as they follow from the whole intent."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, Final, TypeAlias
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster import ownership as ownership_module
from bgpctl.core.cluster.allocations import Allocations, NodeAllocations, TunnelAddress
from bgpctl.core.cluster.configuration import Backend, Configuration, Node, Pool
from bgpctl.core.cluster.encapsulation import IPIP, VXLAN, Mode
from bgpctl.core.cluster.intent import Intent, changed_nodes, sharing, with_edits
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.fabric import desired, entries, senders
from bgpctl.core.fabric.derive import Derivation, Question, derived
from bgpctl.core.fabric.desired import NextHopKey, next_hop_ids, renumbered
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net import table
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, Vni
from bgpctl.core.net.dataplane import Dataplane, surroundings
from bgpctl.core.net.objects import Link, LinkAddress, Plain, Route
from bgpctl.core.net.table import Table
from tests.laws.intents import intents

HERE: Final = Node("a", InterfaceAddress.parse("10.0.0.1/24"), InterfaceAddress.parse("fd01::1/64"))
_BLUE, _RED = Prefix.parse("10.244.0.0/16"), Prefix.parse("fd00:244::/48")
POOLS: Final = (
    (Pool("blue", _BLUE, VXLAN, Mode.ALWAYS),),
    (Pool("blue", _BLUE, VXLAN, Mode.CROSS_SUBNET), Pool("red", _RED, VXLAN, Mode.ALWAYS, 122)),
    (Pool("blue", _BLUE, IPIP, Mode.ALWAYS), Pool("red", _RED, VXLAN, Mode.CROSS_SUBNET, 122)),
)
KERNEL: Final = Dataplane.of(
    (
        Link("eth0", Plain("veth"), 1500, owned=False),
        Link("eth1", Plain("veth"), 1400, owned=False),
        LinkAddress("eth0", HERE.address),
        *(LinkAddress("eth0", own) for own in (HERE.address6,) if own),
        Route(Prefix.parse("10.0.0.0/24"), link="eth0", metric=0, protocol=2),
        Route(Prefix.parse("10.0.1.0/24"), link="eth1", metric=0, protocol=2),
        Route(Prefix.parse("0.0.0.0/0"), gateway=Address.parse("10.0.0.254"), link="eth0", metric=0, protocol=3),
    )
)
_BLOCKS: Final = tuple(map(Prefix.parse, ("10.244.1.0/26", "10.244.2.0/26", "10.244.3.0/26", "fd00:244::40/122")))
_BORROWED: Final = tuple(map(Prefix.parse, ("10.244.1.7/32", "10.244.9.5/32", "203.0.113.7/32")))
_OWN: Final = tuple(map(InterfaceAddress.parse, ("10.0.0.2/24", "10.0.0.3/24", "10.0.1.4/24", "192.0.2.1/24")))


@st.composite
def members(draw: st.DrawFn) -> tuple[Node, NodeAllocations]:
    """A node of a few, and what it was given; two may well have the same."""
    name = draw(st.sampled_from("bcde"))
    other = draw(st.none() | st.sampled_from([InterfaceAddress.parse(f"fd01::{number}/64") for number in (2, 3)]))
    blocks = tuple(sorted(draw(st.sets(st.sampled_from(_BLOCKS), max_size=2))))
    borrowed = tuple(sorted(draw(st.sets(st.sampled_from(_BORROWED), max_size=2))))
    ends = draw(st.sets(st.sampled_from([TunnelAddress(VXLAN, Address.parse("10.244.1.9"))]), max_size=1))
    given = NodeAllocations(blocks, borrowed, frozenset(ends))
    return Node(name, draw(st.sampled_from(_OWN)), other), given


Edit: TypeAlias = list[str | tuple[Node, NodeAllocations]]
"""Nodes as they are now, or names of nodes that are gone."""
EDITS: Final = st.lists(st.lists(st.sampled_from("abcde") | members(), min_size=1, max_size=2), max_size=8)


def edited(intent: Intent, edit: Edit) -> Intent:
    nodes: dict[str, Node | None] = {}
    given: dict[str, NodeAllocations | None] = {}
    for item in edit:
        if isinstance(item, tuple):
            nodes[item[0].name], given[item[0].name] = item
        elif item != HERE.name:
            nodes[item] = given[item] = None
        else:
            given[item] = NodeAllocations((Prefix.parse("10.244.9.0/26"),))
    return with_edits(intent, nodes, given)


def is_whole(pools: tuple[Pool, ...], edits: list[Edit]) -> bool:
    """True if after each edit the same is derived as without anything from before."""
    intent = Intent(backend=Backend.BIRD, pools=pools, nodes=(HERE,))
    foreign, before = surroundings(KERNEL).foreign, None
    for edit in edits:
        intent = edited(intent, edit)
        question = Question(intent, HERE, {}, Table(), foreign)
        before, anew = derived(question, before), derived(question)
        if before.desired != anew.desired or before.resolution.ids != anew.resolution.ids:
            return False
    return True


@given(st.sampled_from(POOLS), EDITS, st.sampled_from([40, 1 << 24]))
@settings(max_examples=100)
def test_after_any_edits_of_nodes_the_same_is_derived_as_from_the_whole(
    pools: tuple[Pool, ...], edits: list[Edit], space: int
) -> None:
    with patch.object(desired, "_ID_SPACE", space):
        assert is_whole(pools, edits)


def test_nodes_that_are_forgotten_are_found() -> None:
    one, two = Node("b", _OWN[0]), Node("b", _OWN[1])
    steps: list[Edit] = [[(one, NodeAllocations(_BLOCKS[:1]))], [(two, NodeAllocations(_BLOCKS[1:2]))]]
    assert is_whole(POOLS[0], steps)
    with patch.object(sys.modules[Derivation.__module__], "changed_nodes", lambda *_: frozenset()):
        assert not is_whole(POOLS[0], steps)


def test_senders_that_are_forgotten_are_found() -> None:
    lender, far = NodeAllocations(borrowed=_BORROWED[1:2]), Node("c", _OWN[1])
    steps: list[Edit] = [["a"], [(Node("b", _OWN[0]), lender)], [(far, NodeAllocations())]]
    assert is_whole(POOLS[0], steps)
    for name, instead in (("_addresses", {4: [], 6: []}), ("_beside", ())):
        found = getattr(senders, name)
        forgetful = lambda read, names, found=found, instead=instead: found(read, names) if len(names) > 1 else instead  # noqa: E731
        with patch.object(senders, name, forgetful):
            assert not is_whole(POOLS[0], [["a"], *steps]), name


KEYS: Final = [NextHopKey(_BLUE, Address(4, number)) for number in range(9)]


@given(st.sets(st.sampled_from(KEYS)), st.lists(st.sets(st.sampled_from(KEYS)), max_size=6), st.sampled_from([10, 16]))
def test_ids_are_the_same_whichever_keys_came_and_went(
    keys: set[NextHopKey], later: list[set[NextHopKey]], space: int
) -> None:
    with patch.object(desired, "_ID_SPACE", space):
        ids = next_hop_ids(keys)
        for after in later:
            now, touched = renumbered(ids, keys - after, after - keys)
            assert now == next_hop_ids(after)
            assert {key for key in keys | after if ids.get(key) != now.get(key)} <= touched
            ids, keys = now, after


# The difference of two intents --------------------------------------------------------------------------------------


@given(intents(), intents())
@settings(max_examples=30)
def test_nodes_that_differ_are_found_by_their_objects(one: Intent, two: Intent) -> None:
    other = replace(one, nodes=two.nodes, allocations=two.allocations)
    for now, before in ((sharing(other, one), one), (one, sharing(other, one))):
        names = {node.name for node in (*now.nodes, *before.nodes)} | {*now.allocations.by_node}
        names |= {*before.allocations.by_node}
        differ = {
            name
            for name in names
            if now.node(name) is not before.node(name)
            or now.allocations.by_node.get(name) is not before.allocations.by_node.get(name)
        }
        assert changed_nodes(now, before) == frozenset(differ)


@pytest.mark.parametrize("name", [name for name in Configuration.__dataclass_fields__ if name != "nodes"])
def test_whatever_differs_beside_nodes_concerns_all(name: str) -> None:
    intent = Intent(nodes=(HERE,))
    assert changed_nodes(replace(intent, **{name: object()}), intent) is None  # type: ignore[arg-type]


@given(intents(), EDITS)
@settings(max_examples=30)
def test_an_edited_intent_is_the_one_made_anew(intent: Intent, edits: list[Edit]) -> None:
    for edit in edits:
        intent = edited(intent, edit)
    anew = replace(intent, nodes=tuple(sorted(intent.nodes, key=lambda node: node.name)))
    assert intent == anew
    assert [*intent.by_name.items()] == [*anew.by_name.items()]
    assert [*intent.allocations.by_node] == sorted(intent.allocations.by_node)


def test_allocations_of_nobody_are_none() -> None:
    intent = Intent(allocations=Allocations({"b": NodeAllocations(_BLOCKS[:1])}))
    assert with_edits(intent, {}, {"b": None}) == Intent()


# Each input of the entries alone -----------------------------------------------------------------------------------

_FAR: Final = Intent(
    pools=POOLS[1],
    nodes=(HERE, Node("b", _OWN[2], InterfaceAddress.parse("fd01::2/64")), Node("c", _OWN[1])),
    allocations=Allocations(
        {
            "a": NodeAllocations((Prefix.parse("10.244.9.0/26"),)),
            "b": NodeAllocations(_BLOCKS[:1] + _BLOCKS[3:]),
            "c": NodeAllocations(_BLOCKS[1:2]),
        }
    ),
)
OTHER: Final = Vxlan(Vni(5000), 4789, HERE.address.address, "eth0")
_SEEN: Final = surroundings(KERNEL).foreign
_QUESTION: Final = Question(_FAR, HERE, {}, Table(), _SEEN)
_WIDE: Final = Route(Prefix.parse("10.0.1.0/24"), link="eth0", metric=0, protocol=2)
OTHERS: Final = {
    "foreign": _QUESTION._replace(foreign=surroundings(KERNEL.put([_WIDE])).foreign),
    "node": _QUESTION._replace(node=replace(HERE, name="z")),
    "devices": _QUESTION._replace(foreign=surroundings(KERNEL.put([Link("vxlan.bgpctl", OTHER, 1450)])).foreign),
    "underlays": _QUESTION._replace(foreign=surroundings(KERNEL.drop([LinkAddress("eth0", HERE.address)])).foreign),
}


@pytest.mark.parametrize("field", OTHERS)
def test_entries_follow_each_of_their_inputs(field: str) -> None:
    for one, two in ((_QUESTION, OTHERS[field]), (OTHERS[field], _QUESTION)):
        assert derived(two, derived(one)).desired == derived(two).desired
    same = table.is_same

    def blind(before: Any, now: Any, but: str = "") -> bool:
        if before is not None:
            fields = {"foreign", "underlays", "devices"} if field == "underlays" else {"foreign", field}
            before = before._replace(**{name: getattr(now, name) for name in fields})
        return same(before, now, but)

    with patch.object(entries, "is_same", blind):
        assert derived(OTHERS[field], derived(_QUESTION)).desired != derived(OTHERS[field]).desired


# Block ownership ----------------------------------------------------------------------------------------------------

_ASKED: Final = tuple(
    Prefix.parse(text)
    for line in (
        "10.244.0.0/16 10.244.1.0/24 10.244.1.0/26 10.244.1.7/32 10.244.2.0/26 10.244.3.0/27 10.244.9.0/26",
        "10.244.9.1/32 10.0.0.0/8 10.0.0.0/24 10.0.0.2/32 10.0.1.0/30 192.0.2.0/25 0.0.0.0/0 172.16.0.0/12",
        "fd00:244::/48 fd00:244::40/122 fd00:244::41/128 fd01::2/128 fd01::/60 ::/0",
    )
    for text in line.split()
)


def answers(ownership: BlockOwnership, prefix: Prefix) -> tuple[object, ...]:
    """All that import policy asks of a path's prefix."""
    owner = ownership.owner(prefix)
    asn = owner and ownership.intent.asn_of(owner)
    covers = ownership.covers_node(prefix), ownership.covers_own_block(prefix)
    nobodys = ownership.is_nobodys(prefix)
    return owner, asn, ownership.pool(prefix), ownership.on_underlay(prefix), covers, nobodys


def answers_stay(pools: tuple[Pool, ...], edits: list[Edit]) -> bool:
    """True if after each edit all is answered as before of the prefixes that it does not overlap."""
    intent = Intent(backend=Backend.BIRD, pools=pools, nodes=(HERE,))
    table_ = Table.of((prefix, "") for prefix in _ASKED)
    before = BlockOwnership(intent, HERE)
    for edit in edits:
        intent = edited(intent, edit)
        now = BlockOwnership(intent, HERE)
        touched = now.changed_since(before)
        assert touched is not None
        for prefix in {*_ASKED} - table_.overlapping(touched):
            if answers(now, prefix) != answers(before, prefix):
                return False
        before = now
    return True


@given(st.sampled_from(POOLS), EDITS)
@settings(max_examples=100)
def test_after_an_edit_of_nodes_the_owners_of_all_prefixes_that_it_does_not_overlap_stay(
    pools: tuple[Pool, ...], edits: list[Edit]
) -> None:
    assert answers_stay(pools, edits)


@pytest.mark.parametrize("forgotten", ["prefixes_of", "address", "address6"])
def test_what_of_a_node_is_forgotten_is_found(forgotten: str) -> None:
    own = Node("b", InterfaceAddress.parse("192.0.2.1/24"), InterfaceAddress.parse("fd01::2/64"))
    first = Node("c", InterfaceAddress.parse("198.51.100.1/24"))  # with it the pool has blocks
    steps: list[Edit] = [[(first, NodeAllocations(_BLOCKS[1::2]))], [(own, NodeAllocations(_BLOCKS[:1]))], ["b"]]
    assert answers_stay(POOLS[1], steps)

    def without(intent: Intent, name: str) -> Any:
        node = intent.node(name)
        marks = {} if node is None else {"prefixes_of": intent.prefixes_of(node)}
        marks |= {} if node is None else {"address": (node.address.network,)}
        marks |= {"address6": (node.address6.network,)} if node and node.address6 else {}
        return [prefix for field, prefixes in marks.items() if field != forgotten for prefix in prefixes]

    with patch.object(ownership_module, "_marks", without):
        assert not answers_stay(POOLS[1], steps)


def test_an_edit_of_this_node_or_of_more_than_nodes_leaves_nothing_known() -> None:
    intent = Intent(backend=Backend.BIRD, pools=POOLS[0], nodes=(HERE,))
    before = BlockOwnership(intent, HERE)
    moved = replace(HERE, address=_OWN[0])
    assert BlockOwnership(replace(intent, nodes=(moved,)), moved).changed_since(before) is None
    assert BlockOwnership(replace(intent, pools=POOLS[1]), HERE).changed_since(before) is None


@given(st.sets(st.sampled_from(_ASKED)), st.sets(st.sampled_from(_ASKED)))
def test_prefixes_of_a_table_that_overlap_others_are_those_that_cover_one_or_lie_in_one(
    known: set[Prefix], others: set[Prefix]
) -> None:
    expected = {prefix for prefix in known if any(prefix.covers(other) or other.covers(prefix) for other in others)}
    assert Table.of((prefix, "") for prefix in known).overlapping(others) == expected


# Each input of the senders alone -----------------------------------------------------------------------------------

_LENDING: Final = with_edits(_FAR, {}, {"b": NodeAllocations(borrowed=_BORROWED[1:2])})
_POOR: Final = with_edits(_FAR, {}, {"a": None})
_ELSEWHERE: Final = with_edits(_LENDING, {}, {"a": NodeAllocations((Prefix.parse("10.244.8.0/26"),))})


@pytest.mark.parametrize(
    ("field", "one", "two"),
    [
        ("ours", _QUESTION._replace(intent=_ELSEWHERE), _QUESTION._replace(intent=_LENDING)),
        ("node", _QUESTION._replace(intent=_POOR), OTHERS["node"]._replace(intent=_POOR)),
    ],
)
def test_senders_follow_each_of_their_inputs(field: str, one: Question, two: Question) -> None:
    assert derived(two, derived(one)).desired == derived(two).desired
    same = table.is_same

    def blind(before: Any, now: Any, but: str = "") -> bool:
        return same(before and before._replace(**{field: getattr(now, field)}), now, but)

    with patch.object(senders, "is_same", blind):
        assert derived(two, derived(one)).desired != derived(two).desired
