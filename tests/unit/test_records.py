"""Records from a source that gives differences."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Loaded, Records
from bgpctl.store import records
from bgpctl.store.records import MemoryRecords, OutOfStep, RecordReader

START = {
    "pool/blue": "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}",
    "node/a": "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}}",
    "node/b": "nodes: {b: {address: 10.0.0.2/24}}",
}


def followed(source: MemoryRecords) -> tuple[Loaded, list[Loaded]]:
    """The meaning of the records, and their meaning after each change."""
    reader, found = RecordReader(), list[Loaded]()
    source.watch(lambda changed: found.append(reader.understand(changed)))
    return reader.understand(source.read()), found


def test_a_changed_record_is_read_alone_and_leaves_all_else_the_same_objects() -> None:
    source = MemoryRecords(START)
    first, found = followed(source)
    with patch.object(records, "whole", side_effect=AssertionError):
        source.edit({"node/b": "nodes: {b: {address: 10.0.0.3/24}}"})
        source.edit({"node/c": "nodes: {c: {address: 10.0.0.4/24}}"}, ["node/b"])
    assert isinstance(first, Intent)
    last = found[-1]
    assert isinstance(last, Intent)
    assert [node.name for node in last.nodes] == ["a", "c"]
    assert last.node("a") is first.node("a")
    assert last == RecordReader().understand(source.read())


def test_a_problem_names_the_record_and_ends_with_it() -> None:
    source = MemoryRecords(START)
    first, found = followed(source)
    for bad in ("nodes: [", "", "nodes: {b: {address: 10.0.0.1/24}}"):
        source.edit({"node/b": bad})
        problems = found[-1]
        assert isinstance(problems, tuple)
        assert {problem.place.file for problem in problems} == {"node/b"}
        assert problems == RecordReader().understand(source.read())
    source.edit({"node/b": START["node/b"]})
    assert found[-1] == first
    assert isinstance(found[-1], Intent)
    assert isinstance(first, Intent)
    assert found[-1].node("a") is first.node("a")


def test_a_difference_from_an_unknown_generation_is_not_taken() -> None:
    reader, source = RecordReader(), MemoryRecords(START)
    reader.understand(source.read())
    with pytest.raises(OutOfStep):
        reader.understand(Records(9, 8, {}))
