"""Records of a cluster in an etcd: they outlive versions, and say what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Records
from bgpctl.store.change import Standing
from bgpctl.store.etcd import importing, records
from bgpctl.store.etcd.records import BadRecord, File, Head, HeadChange, Meta, NewerFormat
from bgpctl.store.records import RecordReader
from tests.documents import load

CLUSTER = """\
calico_backend: vxlan
pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}
nodes:
  a1: {address: 10.0.0.1/24, labels: {rack: a}, blocks: [10.244.1.0/26, 10.244.9.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26], borrowed: [10.244.1.7]}
"""
CHANGE = HeadChange(7, (File("/c.yaml", ("aa",)),), Standing.WAITS, 60.0)
HEAD = Head(7, (File("/c.yaml", ("bb", "cc")),), CHANGE, "word")


def test_each_record_reads_as_it_was_written() -> None:
    assert records.read_head(records.written_head(HEAD)) == HEAD
    assert records.read_meta(records.written_meta(Meta("u", ("v",)))) == Meta("u", ("v",))
    assert records.read_blob(records.written_blob("a: 1\n")) == "a: 1\n"


def test_fields_that_this_version_does_not_know_stay_when_the_record_is_written_again() -> None:
    text = json.loads(records.written_head(HEAD))
    text["later"], text["change"]["later"] = [1], {"x": 2}
    again = json.loads(records.written_head(records.read_head(json.dumps(text))))
    assert again == text


@pytest.mark.parametrize(
    "read",
    [records.read_head, records.read_meta, records.read_blob, lambda text: records.document_of("a1", text, None)],
)
def test_a_record_of_a_later_format_is_not_read_and_none_is_damaged_silently(read: Callable[[str], object]) -> None:
    with pytest.raises(NewerFormat, match="format 2, and this version reads up to 1"):
        read('{"format": 2}')
    for bad in ("", "[]", "{}", '{"format": 1}', '{"format": "1"}', "[" * 100_000):
        with pytest.raises(BadRecord):
            read(bad)


def test_an_edit_of_one_line_changes_one_part_of_a_large_file() -> None:
    lines = [f"  node{index}: {{address: 10.{index // 250}.{index % 250}.1/24}}\n" for index in range(30_000)]
    before = records.named(records.blobs_of("".join(lines)))
    lines[7_000] = "  # gone\n"
    after = records.named(records.blobs_of("".join(lines)))
    assert len(before) > 2
    assert len(before.keys() - after.keys()) <= 2
    assert "".join(after.values()) == "".join(lines)


def test_a_cluster_in_parts_is_the_same_cluster() -> None:
    intent = load(CLUSTER)
    assert isinstance(intent, Intent)
    parts = importing.parts_of(intent)
    texts = {"/c.yaml": parts.configuration}
    for name in ("a1", "a2"):
        pair = parts.records[f"cluster/nodes/{name}"], parts.records[f"cluster/allocations/{name}"]
        texts[f"nodes/{name}"] = records.document_of(name, *pair)
    assert RecordReader().understand(Records(1, None, texts)) == intent


def test_allocations_of_a_node_that_the_configuration_has_are_read_without_a_record_of_it() -> None:
    intent = load(CLUSTER)
    configuration = CLUSTER.replace(", blocks: [10.244.2.0/26], borrowed: [10.244.1.7]", "")
    given = records.document_of("a2", None, records.written_allocations(["10.244.2.0/26"], ["10.244.1.7/32"]))
    found = RecordReader().understand(Records(1, None, {"/c.yaml": configuration, "nodes/a2": given}))
    assert isinstance(intent, Intent)
    assert isinstance(found, Intent)
    assert found.allocations == intent.allocations


def test_records_are_valid_by_their_schema() -> None:
    schema = Draft202012Validator(
        json.loads((Path(__file__).parents[2] / "bgpctl" / "schema" / "store.json").read_text())
    )
    intent = load(CLUSTER)
    assert isinstance(intent, Intent)
    written = [*importing.parts_of(intent).records.values(), records.written_head(HEAD), records.written_blob("x")]
    for text in [*written, records.written_meta(Meta("u"))]:
        assert schema.is_valid(json.loads(text)), text
    assert not schema.is_valid({"format": 1, "generation": "7", "files": []})
