"""
Whatever stands in a cluster or lab file, the answer is an intent or located problems, never a traceback.

About 5 s with the profile `ci`, a minute with `nightly`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.lab import labfile
from bgpctl.lab.topology import Topology
from bgpctl.ports import Loaded
from bgpctl.store.texts import load as load_files
from tests.documents import FILE, load
from tests.laws.mutants import contents, texts, trees, written

MANY = min(settings().max_examples, 3_500)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "cluster.yaml"


def check(loaded: Loaded | Topology, name: str, lines: int) -> None:
    """An answer is good if its problems are in order, are reported once, and can be found and read."""
    problems = _problems(loaded)
    assert list(problems) == sorted(set(problems))
    for problem in problems:
        assert problem.place.file == name
        assert 1 <= problem.place.line <= lines
        assert problem.place.column >= 1
        assert problem.rule
        assert problem.message.isprintable()


def _problems(loaded: Loaded | Topology) -> tuple[Problem, ...]:
    match loaded:
        case Intent(remarks=remarks):
            return remarks
        case Topology(intent=intent):
            return intent.remarks
        case _:
            return loaded


def lines_of(text: str) -> int:
    """Also NEL, LS and PS end a line in YAML 1.1; a problem may stand behind the last one."""
    return len(text.splitlines()) + 1


@settings(max_examples=4 * MANY)
@given(texts())
@example("kind: {}")
@example("kind: List\nitems: &a [{kind: List, items: []}, *a]")
@example("metadata: 5\nkind: Node")
@example("a: 1\n\ud800")
def test_a_file_changed_as_text_gives_an_intent_or_problems_with_places(text: str) -> None:
    check(load(text), FILE, lines_of(text))


@settings(max_examples=2 * MANY)
@given(content=contents())
@example(content=b"")
@example(content=b"\xff\xfe")
@example(content="nodes: {ä: 1}\n".encode("latin-1"))
def test_a_file_changed_as_bytes_gives_an_intent_or_problems_with_places(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    lines = lines_of(content.decode("utf-8", errors="replace"))
    check(load_files([file]), str(file), lines)
    check(labfile.load(file), str(file), lines)


@settings(max_examples=MANY)
@given(found=trees(), flow=st.sampled_from([None, True, False]))
def test_a_file_changed_as_a_tree_gives_an_intent_or_problems_with_places(
    file: Path, found: list[Any], flow: bool | None
) -> None:
    text = written(found, flow=flow)
    file.write_text(text, encoding="utf-8")
    check(load_files([file]), str(file), lines_of(text))
    check(labfile.load(file), str(file), lines_of(text))
