"""Cluster files that are read again: only what differs is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.tree import Tree
from bgpctl.store import texts, yaml
from bgpctl.store.yaml import Piece

FILE = Path("/cluster.yaml")
NODE = """\
kind: Node
apiVersion: projectcalico.org/v3
metadata: {{name: n{0}}}
spec: {{bgp: {{ipv4Address: 10.0.0.{0}/24}}}}
"""
STREAM = "---\n".join(NODE.format(number) for number in range(1, 6))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lines of the documents that were read, counted from 0."""
    found: list[int] = []
    whole = yaml.trees_of_each

    def note(run: list[Piece]) -> tuple[list[Tree], ...]:
        found.extend(piece.line for piece in run)
        return whole(run)

    monkeypatch.setattr(texts, "trees_of_each", note)
    return found


def test_of_an_edited_stream_only_the_edited_document_is_read_again(read: list[int]) -> None:
    reader = texts.Reader()
    before = reader.understand([FILE], [STREAM])
    assert read == [0, 4, 9, 14, 19]
    read.clear()
    after = reader.understand([FILE], [STREAM.replace("10.0.0.3/24", "10.0.0.33/24")])
    assert read == [9]
    assert isinstance(before, Intent)
    assert isinstance(after, Intent)
    assert [one is two for one, two in zip(before.nodes, after.nodes, strict=True)] == [True, True, False, True, True]


def test_a_document_that_moved_is_read_again_once_its_place_is_needed(read: list[int]) -> None:
    reader = texts.Reader()
    reader.understand([FILE], [STREAM])
    read.clear()
    moved = STREAM.replace("---\n", "---\n# a comment\n", 1)
    assert isinstance(reader.understand([FILE], [moved]), Intent)
    assert read == [4]
    read.clear()
    broken = moved.replace("10.0.0.5/24", "nowhere")
    problems = reader.understand([FILE], [broken])
    assert sorted(read) == [10, 15, 20]
    assert not isinstance(problems, Intent)
    assert [problem.place.line for problem in problems] == [25]


def test_a_file_that_is_given_twice_stays_wrong() -> None:
    reader = texts.Reader()
    first, again = (reader.understand([FILE, FILE], [STREAM, STREAM]) for _ in range(2))
    assert first == again
    assert not isinstance(first, Intent)
    assert {problem.rule for problem in first} == {"duplicate"}


def test_a_bad_edit_forgets_nothing(read: list[int]) -> None:
    reader = texts.Reader()
    reader.understand([FILE], [STREAM])
    assert not isinstance(reader.understand([FILE], [STREAM + "---\n["]), Intent)
    read.clear()
    assert isinstance(reader.understand([FILE], [STREAM]), Intent)
    assert read == []


def test_a_remark_that_an_edit_brings_has_the_place_that_the_node_has_now() -> None:
    pools = "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: IPIP}}\n"
    first = f"{pools}nodes:\n  a: {{address: 10.0.0.1/24}}\n  b: {{address: 10.0.0.2/24, accepts: [vxlan]}}\n"
    moved = first.replace("  a:", "  e: {address: 10.0.0.5/24}\n  a:")
    block = "---\nkind: BlockAffinity\nmetadata: {name: x}\nspec: {node: b, cidr: 10.244.9.0/26, state: confirmed}\n"
    reader = texts.Reader()
    for text in (first, moved, f"{moved}{block}"):
        found, alone = reader.understand([FILE], [text]), texts.understand([FILE], [text])
        assert isinstance(found, Intent)
        assert isinstance(alone, Intent)
        assert found.remarks == alone.remarks
    assert isinstance(found, Intent)
    assert [problem.place.line for problem in found.remarks] == [5]
