"""Incremental equals whole: texts that are read again and again mean what they mean alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent, sharing
from bgpctl.core.cluster.problems import Place
from bgpctl.core.intent.render_calico import calico
from bgpctl.core.intent.tree import Tree
from bgpctl.ports import Loaded
from bgpctl.store import texts, yaml
from bgpctl.store.yaml import BadYaml, Piece
from tests.laws.intents import intents

FILES = (Path("/a.yaml"), Path("/b.yaml"), Path("/a.yaml"))

DOCUMENTS = st.sampled_from(
    [
        "nodes: {n1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}}\n",
        "nodes:\n  n1: {address: 10.0.0.9/24}\n  n2: {address: 10.0.0.2}\n",
        "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLANCrossSubnet}}\n",
        "pools: {blue: {cidr: 10.244.0.0/17}}\nasNumber: 65000\n",
        "asNumber: 65001\nmtu: 1400\n",
        "mtu: 1380\npeers: {tor: {ip: 10.0.0.254, asNumber: 65009, nodes: has(rack)}}\n",
        "peers: {all: {ip: 10.0.0.254, asNumber: 65009, filters: [some]}}\n",
        "kind: Node\napiVersion: projectcalico.org/v3\nmetadata: {name: n3}\nspec: {bgp: {ipv4Address: 10.0.0.3/24}}\n",
        "kind: BlockAffinity\nmetadata: {name: x}\nspec: {node: n3, cidr: 10.244.3.0/26, state: confirmed}\n",
        "kind: IPAMConfig\nmetadata: {name: default}\nspec: {strictAffinity: true, maxBlocksPerHost: 1}\n",
        "kind: IPAMConfig\nmetadata: {name: default}\nspec: {maxBlocksPerHost: 2}\n",
        "kind: Pod\nmetadata: {name: y}\n",
        "nodes: [\n",
        "- 1\n",
        "text\n...\n",
        "%YAML 1.1\n",
        "a: 'x\n",
        "# nothing\n",
        "",
        "a: &x 1\nb: *x\n",
        "|\n  ---\n  text\n",
    ]
)
STREAMS = st.lists(DOCUMENTS, max_size=5).map("---\n".join)


def alone(content: tuple[str, ...]) -> Loaded:
    return texts.understand(FILES, content)


def same(one: Loaded, two: Loaded) -> bool:
    remarks = [loaded.remarks if isinstance(loaded, Intent) else () for loaded in (one, two)]
    return one == two and remarks[0] == remarks[1]


ONE, OTHER = "nodes: {one: {address: 10.0.0.1/24}}\n", "nodes: {other: {address: 10.0.0.2/24}}\n"


@given(st.lists(st.tuples(STREAMS, STREAMS, STREAMS), min_size=1, max_size=6))
@example([(OTHER, f"{OTHER}---\n{OTHER}", ONE), (ONE, OTHER, "")])
def test_after_any_sequence_of_edits_the_meaning_is_that_of_the_texts_alone(edits: list[tuple[str, str, str]]) -> None:
    reader, good = texts.Reader(), Intent()
    for one, two, three in edits:
        content = (one, two, three if len(three) % 2 else one)  # now and then a file is given twice
        found = reader.understand(FILES, content)
        assert same(found, alone(content))
        if isinstance(found, Intent):
            good = sharing(found, good)
            assert same(good, found)


def test_a_fault_that_is_named_after_what_follows_its_document_has_the_name_of_a_first_reading() -> None:
    reader, paths = texts.Reader(), FILES[:1]
    assert isinstance(reader.understand(paths, (f"{ONE}---\n{OTHER}",)), Intent)
    broken = (f"a: 'x\n---\n{OTHER}",)
    assert same(reader.understand(paths, broken), texts.understand(paths, broken))


@given(intents(), intents(), st.data())
def test_documents_of_two_clusters_in_any_mixture_mean_what_they_mean_alone(
    one: Intent, two: Intent, data: st.DataObject
) -> None:
    both = [document for intent in (one, two) for document in calico(intent)]
    mixtures = st.lists(st.sampled_from(both), min_size=1, unique_by=id)
    reader = texts.Reader()
    for _ in range(3):
        content = "".join(f"---\n{json.dumps(document)}\n" for document in data.draw(mixtures))
        assert same(reader.understand(FILES[:1], (content,)), texts.understand(FILES[:1], (content,)))


@given(STREAMS)
def test_a_file_in_pieces_has_the_documents_that_it_has_as_a_whole(text: str) -> None:
    in_pieces = outcome(lambda: [tree for piece in yaml.pieces(text, "/a.yaml") for tree in yaml.trees(piece)])
    assert in_pieces == outcome(lambda: list(yaml.trees(Piece("/a.yaml", 0, text))))


def outcome(read: Callable[[], list[Tree]]) -> list[Tree] | Place:
    """The trees, or the place of the error."""
    try:
        return read()
    except BadYaml as bad:
        return bad.problem.place


def test_a_reader_may_be_asked_by_another_thread_while_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, content = texts.Reader(), (f"{ONE}---\n{OTHER}---\npools: {{}}\n",)
    first = reader.understand(FILES[:1], content)
    pieces = yaml.pieces

    def and_another_asks(text: str, file: str) -> Iterator[Piece]:
        for piece in pieces(text, file):
            monkeypatch.undo()
            reader.understand(FILES[:1], ("mtu: 1400\n",))
            yield piece

    monkeypatch.setattr(texts, "pieces", and_another_asks)
    assert same(reader.understand(FILES[:1], content), first)
