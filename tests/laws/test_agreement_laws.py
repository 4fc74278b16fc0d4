"""The digest of a configuration: equal for equal meaning, different otherwise, also when it is made step by step."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.agreement import Fingerprint, differences, digest, fingerprint, outline, received
from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.intent import Intent, sharing, with_edits
from bgpctl.core.cluster.problems import Place
from tests.laws.intents import intents

FEW = settings(max_examples=25)  # each example is two whole clusters


@FEW
@given(intents())
def test_places_order_and_json_are_no_difference(intent: Intent) -> None:
    other = replace(
        intent,
        nodes=tuple(replace(node, place=Place("other.yaml", 7, 1)) for node in intent.nodes),
        allocations=Allocations(dict(reversed([*intent.allocations.by_node.items()]))),
    )
    assert digest(other) == digest(intent)
    assert outline(other) == outline(intent) == received(json.loads(json.dumps(outline(intent))))


@FEW
@given(intents(), intents())
def test_the_digest_differs_where_the_outline_does_and_each_difference_has_words(one: Intent, other: Intent) -> None:
    here, there = outline(one), outline(other)
    assert (digest(one) == digest(other)) == (here == there)
    assert bool(differences("here", here, {"there": there})) or here == there


@FEW
@given(intents(), intents(), st.data())
def test_step_by_step_is_the_whole(one: Intent, other: Intent, data: st.DataObject) -> None:
    begun = fingerprint(one)
    assert sums(fingerprint(sharing(other, one), begun)) == sums(fingerprint(other))
    names = data.draw(st.lists(st.sampled_from([*one.by_name] or ["none"]), unique=True, max_size=3))
    gone = {name: None for name in names if name in one.by_name}
    edited = with_edits(one, gone, {name: None for name in names if name in one.allocations.by_node})
    assert sums(fingerprint(edited, begun)) == sums(fingerprint(replace(edited)))


def sums(found: Fingerprint) -> tuple[int, int]:
    return found.total, found.length
