"""Nothing of an intent is lost in either form."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from bgpctl.cli.render_intent import as_yaml
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent import read
from bgpctl.core.intent.render_calico import calico
from bgpctl.core.intent.render_short import short
from bgpctl.store.yaml import documents
from tests.documents import load
from tests.laws.intents import intents
from tests.laws.mutants import trees, written


def through_calico(intent: Intent) -> Intent:
    return reread(as_yaml("", [], [], calico(intent)))


def through_short(intent: Intent) -> Intent:
    return reread(as_yaml("", [], [], [short(intent)]))


def reread(text: str) -> Intent:
    loaded = read(documents(text, "c.yaml"))
    assert isinstance(loaded, Intent), "\n".join(map(str, [*loaded, text]))
    return loaded


@given(intents())
def test_any_valid_intent_survives_as_calico_resources_and_in_the_short_form(intent: Intent) -> None:
    assert through_calico(intent) == intent
    assert through_short(intent) == intent


@settings(max_examples=3 * settings().max_examples)
@given(trees())
def test_every_valid_intent_survives_in_both_forms(found: list[Any]) -> None:
    intent = load(written(found))
    if isinstance(intent, Intent):  # about one in five is
        assert through_calico(intent) == intent
        assert through_short(intent) == intent
