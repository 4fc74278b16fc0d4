"""The loader and the shipped JSON Schemas agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.cli.render_intent import as_yaml
from bgpctl.core.cluster import Intent, Problem
from bgpctl.core.intent.render_calico import calico
from bgpctl.core.intent.render_short import short
from bgpctl.lab import labfile
from bgpctl.lab.topology import Topology
from tests.documents import load
from tests.laws.intents import intents
from tests.laws.mutants import LABS, trees, written
from tests.unit.test_schema import faults

FILE = "c.yaml"


@settings(max_examples=10 * settings.default.max_examples)
@given(trees())
def test_what_the_loader_accepts_the_schema_accepts_and_what_it_does_not_know_the_schema_refuses(found: list[Any]) -> None:
    text = written(found)
    loaded = load(text)
    if isinstance(loaded, Intent):
        assert faults("cluster", text) == [], text
    elif any(problem.rule in {"unknown-key", "unknown-kind"} for problem in loaded):
        assert faults("cluster", text) != [], text


@given(intents())
def test_what_is_rendered_the_schema_accepts(intent: Intent) -> None:
    for form in (as_yaml("", [], [], calico(intent)), as_yaml("", [], [], [short(intent)])):
        assert faults("cluster", form) == []
