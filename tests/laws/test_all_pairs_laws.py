"""By files, nodes that are alike stand for each other, and the verdict on all pairs is as if each were followed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.all_pairs import verdict
from bgpctl.core.simulate.declared import everything
from bgpctl.core.trace.verify import verify
from tests.laws.clusters import changes, edited, uniform
from tests.laws.intents import intents

MANY = max(20, settings().max_examples // 4)


def same(intent: Intent) -> None:
    found, whole = verdict(intent), verify(*everything(intent))
    assert found.pairs == whole.pairs
    assert found.classes == whole.classes


@settings(max_examples=MANY)
@given(st.data(), uniform())
def test_racks_that_are_alike(data: st.DataObject, intent: Intent) -> None:
    same(data.draw(edited(intent)))


@settings(max_examples=MANY)
@given(changes())
def test_nodes_that_differ(change: tuple[Intent, Intent]) -> None:
    for intent in change:
        same(intent)


@settings(max_examples=MANY)
@given(intents())
def test_all_that_a_file_can_contain(intent: Intent) -> None:
    same(intent)
