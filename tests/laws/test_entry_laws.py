"""Incremental equals whole: a document of the short form that is read node by node means what it means as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.intent.tree import Mapping
from bgpctl.ports import Loaded
from bgpctl.store import entries, texts, yaml
from bgpctl.store.yaml import Piece

FILE: Final = (Path("/a.yaml"),)
BASE: Final = """\
calico_backend: vxlan
pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}
# The nodes.
nodes:
  n1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}  # one
  n2:
    address: 10.0.0.2/24
    blocks:
    - 10.244.2.0/26

    - 10.244.2.64/26
  # Between.
  n3: {address: 10.0.0.3/24, labels: {rack: a, 'zone': "b"}}
  n4: {address: 10.0.0.4/24}
"""
LINES: Final = (
    *"""  n1: {address: 10.0.0.1/24}
  n5: {address: 10.0.0.5/24, blocks: [10.244.5.0/26]}
  n2: 1
  n4:
    address: 10.0.0.9/24
    borrowed: [10.244.1.9]
  'n6': {address: 10.0.0.6/24}
  "n7": {}
  n1: {address: 10.0.0.1/24,
  }
  n1: 'text
    text'
  n9: "a
  n8: |
    n9: {}
  n8: >-
  n1: &x {address: 10.0.0.1/24}
  n2: *x
  <<: *x
  n1: !!str a
  ? n1
  : n2
nodes:
nodes: {}
peers: {}
mtu: 1400
  mtu: 1
 n1: {}
   n1: {}
n1: {}
- a
  - a
---
...
--- # x
%YAML 1.1
# nodes:
#
  # {
    a }{ b
  n1: }{
  a}: {
a: {b
  n1: a b
      c d
    c: d: e
  n1 : {address: 10.0.0.1/24}
  n1:{}
  n1: {a: 'x#y'}
  n#1: {}
  n1: a #b
  n1: a#b
  'n1: {}
  it's: {}
  n1: {a: it's, b: it's}
  n1: [{a: [{b: [c]}]}]
  - - a
  n1: {address: 10.0.0.1/24} {
  ~: {address: 10.0.0.1/24}
  N1: {address: 1}""".splitlines(),
    *("\tn1: {}", "", "   ", "  n1: \xfc", "  n1: a\u2028b"),
)
EDIT: Final = st.tuples(
    st.sampled_from(["replace", "insert", "insert", "drop"]), st.integers(0, 14), st.sampled_from(LINES)
)
Edit: TypeAlias = tuple[str, int, str]
STEPS: Final = st.lists(st.lists(EDIT, min_size=1, max_size=2), min_size=1, max_size=6)


def edited(text: str, edits: list[Edit]) -> str:
    lines = text.splitlines()
    for kind, number, line in edits:
        place = number % (len(lines) + 1)
        lines[place : place + (kind != "insert")] = [line] * (kind != "drop")
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def unsplit() -> Iterator[None]:
    with patch.object(texts, "split", lambda _: None):
        yield


def meaning(loaded: Loaded) -> tuple[Intent | None, tuple[Problem, ...]]:
    return (loaded, loaded.remarks) if isinstance(loaded, Intent) else (None, loaded)


@given(STEPS)
@settings(max_examples=200)
def test_after_any_edits_of_lines_all_is_as_in_whole_documents(
    steps: list[list[Edit]],
) -> None:
    reader, good = texts.Reader(), BASE
    for edits in steps:
        text = edited(good, edits)
        found = reader.understand(FILE, [text])
        with unsplit():
            assert meaning(found) == meaning(texts.understand(FILE, [text]))
        good = text if isinstance(found, Intent) else good


@given(STEPS)
@settings(max_examples=100)
def test_the_pieces_of_a_document_have_its_nodes(steps: list[list[Edit]]) -> None:
    for edits in steps:
        (piece, *more) = yaml.pieces(edited(BASE, edits), "/a.yaml") or [Piece("/a.yaml", 0, "")]
        found = None if more else entries.split(piece)
        if found is None:
            continue
        try:
            (tree,) = yaml.trees(piece)
        except yaml.BadYaml:
            continue  # then all is read as a whole
        try:
            (rest,) = yaml.trees(found.rest)
            nodes = [*yaml.entries_of_each([*found.nodes])]
        except (yaml.BadYaml, yaml.Inseparable):
            continue
        assert isinstance(tree, Mapping)
        assert isinstance(rest, Mapping)
        whole = tree.items["nodes"]
        assert isinstance(whole, Mapping)
        assert {**rest.items, "nodes": whole} == tree.items
        assert [item for node in nodes for item in node.items.items()] == [*whole.items.items()]
        assert [item for node in nodes for item in node.keys.items()] == [*whole.keys.items()]


def test_of_an_edit_of_a_node_only_its_lines_are_read() -> None:
    reader = texts.Reader()
    reader.understand(FILE, [BASE])
    longer = BASE.replace("  n3:", "  n0: {address: 10.0.0.9/24}\n  n3:")
    for text in (longer, longer.replace("rack: a", "rack: b")):
        with patch.object(yaml, "_refuse_depth") as asked:
            assert isinstance(reader.understand(FILE, [text]), Intent)
        (call,) = asked.call_args_list
        assert call.args[0].text.count("\n") == 1


def test_a_document_whose_nodes_are_not_the_last_is_read_by_node_as_well() -> None:
    reader, text = texts.Reader(), BASE + "mtu: 1400\n"
    reader.understand(FILE, [text])
    with patch.object(texts, "whole", side_effect=AssertionError):
        assert isinstance(reader.understand(FILE, [text.replace("rack: a", "rack: b")]), Intent)


def test_the_places_after_a_line_more_are_right_once_they_are_needed() -> None:
    reader = texts.Reader()
    reader.understand(FILE, [BASE])
    longer = BASE.replace("  n2:\n", "  # a line more\n  n2:\n")
    assert isinstance(reader.understand(FILE, [longer]), Intent)
    wrong = longer.replace("rack: a", "rack: [b]")
    assert meaning(reader.understand(FILE, [wrong])) == meaning(texts.understand(FILE, [wrong]))
    double = longer.replace("10.0.0.3/24", "10.0.0.4/24")
    found = reader.understand(FILE, [double])
    assert isinstance(found, tuple)
    assert ("/a.yaml", 15) in {(problem.place.file, problem.place.line) for problem in found}


def test_a_line_that_is_not_closed_in_itself_is_found() -> None:
    text = BASE.replace("  n4:", "  n5: 'text\n  n4:") + "    '\n"
    with unsplit():
        right = meaning(texts.understand(FILE, [text]))
    assert meaning(texts.understand(FILE, [text])) == right
    (piece,) = yaml.pieces(text, "/a.yaml")
    assert entries.split(piece) is None
    with patch.object(entries, "_is_simple", lambda _: True):
        assert entries.split(piece)
