"""The loader and the shipped JSON Schemas agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from bgpctl.cli.render_intent import as_yaml
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.fields import NOT_KNOWN
from bgpctl.core.intent.render_calico import calico
from bgpctl.core.intent.render_short import short
from bgpctl.lab import labfile
from bgpctl.lab.topology import Topology
from tests.documents import load
from tests.laws.intents import intents
from tests.laws.mutants import trees, written
from tests.schema import faults

SOME = settings().max_examples // 2


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schema") / "lab.yaml"


@given(found=trees())
def test_the_schema_accepts_what_the_loader_accepts_and_refuses_what_the_loader_does_not_know(
    file: Path, found: list[Any]
) -> None:
    text = written(found)
    loaded = load(text)
    if isinstance(loaded, Intent):
        # An editor marks what a newer release may have.
        assert bool(faults("cluster", text)) is any(remark.rule == NOT_KNOWN for remark in loaded.remarks)
    elif any(problem.rule in {"unknown-key", "unknown-kind"} for problem in loaded):
        assert faults("cluster", text) != []
    file.write_text(text, encoding="utf-8")
    if isinstance(labfile.load(file), Topology):
        assert faults("lab", text) == []


@settings(max_examples=SOME)
@given(intents())
def test_the_schema_accepts_rendered_documents(intent: Intent) -> None:
    assert faults("cluster", as_yaml("", [], [], calico(intent))) == []
    assert faults("cluster", as_yaml("", [], [], [short(intent)])) == []
