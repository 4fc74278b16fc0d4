"""The JSON Schemas that ship: they take what is right and refuse what is misspelt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import bgpctl
from bgpctl.cli.main import main
from bgpctl.cli.schema import NAMES
from bgpctl.core.intent.short import lab_keys
from bgpctl.lab.tables import lab_table
from bgpctl.store.yaml import documents
from tests.documents import plain
from tests.laws.mutants import CORPUS, LABS
from tests.schema import faults

ROOT = Path(bgpctl.__file__).parent.parent
SHIPPED = {name: json.loads((Path(bgpctl.__file__).parent / "schema" / f"{name}.json").read_text()) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_command_prints_a_schema_of_the_draft_that_it_names_with_all_it_refers_to(name: str) -> None:
    result = CliRunner().invoke(main, ["schema", name])
    assert result.exit_code == 0
    Draft202012Validator.check_schema(json.loads(result.output))
    assert f"{NAMES[0]}.json" not in result.output


def test_the_schemas_that_ship_are_those_of_the_tables(tmp_path: Path) -> None:
    subprocess.run((sys.executable, ROOT / "tools" / "schema.py", tmp_path), check=True)
    for name in NAMES:
        shipped = (ROOT / "bgpctl" / "schema" / f"{name}.json").read_text()
        assert (tmp_path / f"{name}.json").read_text() == shipped, "make schema"


def test_a_cluster_file_may_have_every_key_of_a_lab_file() -> None:
    assert set(lab_table().keys()) == set(lab_keys()) - {"name", "description"}


@pytest.mark.parametrize("text", CORPUS)
def test_every_valid_document_of_the_tests_and_every_topology_is_right(text: str) -> None:
    assert faults("cluster", text) == []


@pytest.mark.parametrize("text", LABS)
def test_every_topology_is_a_right_lab_also_by_the_file_as_it_lies_in_the_package(text: str) -> None:
    assert faults("lab", text) == []
    registry: Registry[Any] = Registry().with_resource("cluster.json", Resource.from_contents(SHIPPED["cluster"]))
    validator = Draft202012Validator(SHIPPED["lab"], registry=registry)
    assert all(validator.is_valid(plain(tree)) for tree in documents(text, "x.yaml"))


@pytest.mark.parametrize(
    ("name", "text", "path"),
    [
        ("cluster", "pool: {}", "$"),
        ("cluster", "pools: {p: {cidr: 10.0.0.0/8, ipipmode: Always}}", "$.pools.p"),
        ("cluster", "nodes: {a: {address: 10.0.0.1/24, bloks: []}}", "$.nodes.a"),
        ("cluster", "peers: {t: {ip: 10.0.0.9, asNumber: 1, nextHop: Self}}", "$.peers.t"),
        ("cluster", "filters: {f: {importV4: [{action: Accept, sources: RemotePeers}]}}", "$.filters.f.importV4[0]"),
        ("cluster", "kind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/8, encapsulation: IPIP}", "$.spec"),
        ("cluster", "kind: IPPol\nmetadata: {name: p}", "$.kind"),
        ("cluster", "kind: FelixConfiguration\nmetadata: {name: default}\nspec: {vxlanVni: 1}", "$.spec"),
        ("cluster", "kind: List\nitems: [{kind: Node, metadata: {name: a}, spec: {bgb: {}}}]", "$.items[0].spec"),
        ("cluster", "kind: ConfigMap\nmetadata: {name: calico-config}\ndata: {calico_backends: bird}", "$.data"),
        ("lab", "segment: {}", "$"),
        ("lab", "routers: {r: {address: []}}", "$.routers.r"),
        ("lab", "checks: {c: {at: r, drop: 0}}", "$.checks.c"),
    ],
)
def test_a_misspelt_key_is_refused_where_it_stands(name: str, text: str, path: str) -> None:
    assert path in {fault.split(": ")[0] for fault in faults(name, text)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cluster", "calico_backend: birds"),
        ("cluster", "asNumber: 4294967296"),
        ("cluster", "mesh: 5"),
        ("cluster", "pools: {p: {}}"),
        ("cluster", "pools: {P_1: {cidr: 10.0.0.0/8}}"),
        ("cluster", "nodes: {a: {address: 10.0.0.1/24, labels: {x: []}}}"),
        ("cluster", "peers: {t: {ip: 10.0.0.9}}"),
        ("cluster", "filters: {f: {importV4: [{action: Accept, communities: {values: ['1:2', '1:3']}}]}}"),
        ("lab", "checks: {c: {at: r, packets: across, are: gre}}"),
        ("lab", "workloads: {w: {address: 10.0.0.1}}"),
    ],
)
def test_a_wrong_value_is_refused(name: str, text: str) -> None:
    assert faults(name, text)
