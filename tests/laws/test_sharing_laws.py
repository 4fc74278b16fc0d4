"""Sharing objects with an earlier intent changes nothing but identities."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.intent import Intent, sharing
from bgpctl.core.cluster.problems import Place
from tests.laws.intents import intents


@given(intents(), intents())
def test_a_shared_intent_is_equal_and_has_the_remarks_of_the_new_one(before: Intent, wanted: Intent) -> None:
    found = sharing(wanted, before)
    assert found == wanted
    assert found.remarks == wanted.remarks
    assert all(found.node(node.name) == node for node in wanted.nodes)


@given(intents())
def test_of_an_equal_intent_everything_is_shared(before: Intent) -> None:
    nodes = tuple(replace(node, place=Place("other.yaml", 1, 1)) for node in before.nodes)
    found = sharing(replace(before, nodes=nodes, allocations=Allocations(dict(before.allocations.by_node))), before)
    assert found.nodes is before.nodes
    assert found.allocations is before.allocations
    assert (found.pools, found.peers, found.filters) == (before.pools, before.peers, before.filters)
    assert found.pools is before.pools


@given(intents().filter(lambda intent: intent.nodes))
def test_one_changed_node_is_the_only_one_that_is_not_shared(before: Intent) -> None:
    first, *rest = before.nodes
    changed = replace(before, nodes=(replace(first, labels=(*first.labels, ("~", "new"))), *rest))
    found = sharing(changed, before)
    assert found.nodes[0] == changed.nodes[0]
    assert all(new is old for new, old in zip(found.nodes[1:], rest, strict=True))
    assert found.allocations is before.allocations
