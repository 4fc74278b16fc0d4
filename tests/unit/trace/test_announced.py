"""Why a prefix does not come by BGP: the session, filter or pool that keeps it back, with its place in the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpctl.agent import trace_words
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.simulate.declared import obstacle
from bgpctl.core.trace.announced import Obstacle, ObstacleCode
from bgpctl.store import texts
from tests.topologies import FILTERED, TOPOLOGIES, keeping, read_cluster

CLUSTER = """\
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIP}
nodes:
  h1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  h2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
"""
WANTED = Address.parse("10.244.2.5")


def missing(tmp_path: Path, text: str, destination: Address = WANTED) -> Obstacle | None:
    return obstacle(read_cluster(tmp_path, text), "h1", destination)


def test_in_a_mesh_every_block_comes(tmp_path: Path) -> None:
    assert missing(tmp_path, CLUSTER) is None


def test_without_a_session_the_node_is_named(tmp_path: Path) -> None:
    assert missing(tmp_path, f"{CLUSTER}mesh: false\n") == Obstacle(ObstacleCode.NO_SESSION, "h1", "h2")


@pytest.mark.parametrize(
    ("direction", "code", "at"), [("export", ObstacleCode.EXPORT_FILTER, "h2"), ("import", ObstacleCode.IMPORT, "h1")]
)
def test_a_filter_is_named_with_its_place(tmp_path: Path, direction: str, code: ObstacleCode, at: str) -> None:
    found = missing(tmp_path, CLUSTER + FILTERED + keeping(direction))
    assert found
    assert (found.code, found.at, found.detail) == (code, at, "keep")
    words = trace_words.missing(found, WANTED)
    assert words["place"].startswith(f"{tmp_path}/cluster.yaml:1")
    assert "filter keep" in words["text"]


def test_a_block_that_nobody_has_names_its_pool(tmp_path: Path) -> None:
    found = missing(tmp_path, CLUSTER, Address.parse("10.244.9.9"))
    assert found
    assert (found.code, str(found.place)) == (ObstacleCode.NO_BLOCK, f"{tmp_path}/cluster.yaml:2:3")


def test_a_pool_that_is_not_exported_says_so(tmp_path: Path) -> None:
    found = missing(tmp_path, CLUSTER.replace("IPIP}", "IPIP, disableBGPExport: true}"))
    assert found
    assert (found.code, found.at) == (ObstacleCode.EXPORT_DISABLED, "h2")


def test_by_reflectors_and_by_a_router_outside(tmp_path: Path) -> None:
    del tmp_path
    for name, expected in (("reflectors", None), ("tor-peering", ObstacleCode.ROUTER)):
        intent = texts.load([TOPOLOGIES / f"{name}.yaml"])
        assert isinstance(intent, Intent), intent
        with_blocks = [node for node in intent.nodes if intent.blocks_of(node)]
        first, last = with_blocks[0], with_blocks[-1]
        found = obstacle(intent, first.name, intent.blocks_of(last)[0].nth(3))
        assert (found.code if found else None) is expected, name
