"""Pairs of nodes that a change of the cluster file parts, sessions that it ends or begins, and blocks that it moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.simulate import losses, membership
from bgpctl.core.simulate.losses import Verdict
from bgpctl.core.simulate.membership import MovedBlock, Sessions
from bgpctl.core.trace.announced import ObstacleCode
from tests.topologies import FILTERED, keeping, read_cluster

NODES = """\
nodes:
  a1: {address: 10.0.0.1/24, labels: {rack: a}, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, labels: {rack: a}, blocks: [10.244.2.0/26]}
  b1: {address: 10.1.0.1/24, labels: {rack: b}, blocks: [10.244.3.0/26]}
  b2: {address: 10.1.0.2/24, labels: {rack: b}, blocks: [10.244.4.0/26]}
"""
POOLS = "pools:\n  blue: {cidr: 10.244.0.0/16, encapsulation: IPIP}\n"
NOW = POOLS + NODES


def pairs(verdict: Verdict) -> int:
    return sum(loss.pairs for loss in verdict.losses)


@pytest.mark.parametrize(
    ("before", "after", "number", "code"),
    [
        (NOW, f"{NOW}mesh: false\n", 12, ObstacleCode.NO_SESSION),
        (NOW + FILTERED + keeping("export", "Accept"), f"{NOW}mesh: false\n", 12, ObstacleCode.NO_SESSION),
        # Who has no route to a2 cannot answer it either: six pairs of which a2 is one.
        (NOW + FILTERED + keeping("export", "Accept"), NOW + FILTERED + keeping("export"), 6, "export-filter"),
        (NOW + FILTERED + keeping("import", "Accept"), NOW + FILTERED + keeping("import"), 6, "import"),
        (NOW, NOW.replace("IPIP}", "IPIP, disableBGPExport: true}"), 12, ObstacleCode.EXPORT_DISABLED),
    ],
)
def test_pairs_that_lose_each_other_are_counted_with_the_cause(
    tmp_path: Path, before: str, after: str, number: int, code: ObstacleCode | str
) -> None:
    verdict = losses.compared(read_cluster(tmp_path, before), read_cluster(tmp_path, after))
    assert pairs(verdict) == number
    assert {loss.failure.obstacle and loss.failure.obstacle.code for loss in verdict.losses} == {ObstacleCode(code)}


@pytest.mark.parametrize(
    "after",
    [
        NOW,
        NOW.replace("IPIP}", "VXLAN}"),
        NOW.replace("IPIP}", "IPIPCrossSubnet}"),
        f"calico_backend: vxlan\n{NOW.replace('IPIP}', 'VXLAN}')}",
        "".join(line for line in NOW.splitlines(keepends=True) if "b2:" not in line),
        f"mtu: 1400\n{NOW}",
        NOW + FILTERED + keeping("export", "Accept"),
    ],
    ids=["same", "encapsulation", "cross-subnet", "backend", "node-removed", "mtu", "peers-for-mesh"],
)
def test_these_changes_take_nothing_from_anyone(tmp_path: Path, after: str) -> None:
    assert losses.compared(read_cluster(tmp_path, NOW), read_cluster(tmp_path, after)).losses == ()


def test_a_block_that_moves_and_one_that_is_given_up_are_listed(tmp_path: Path) -> None:
    after = NOW.replace("10.244.4.0/26", "10.244.1.0/26").replace("[10.244.1.0/26]", "[]", 1)
    now, then = read_cluster(tmp_path, NOW), read_cluster(tmp_path, after)
    assert [(str(item.block), item.was, item.now) for item in membership.moved_blocks(now, then)] == [
        ("10.244.1.0/26", "a1", "b2"),
        ("10.244.4.0/26", "b2", None),
    ]
    assert losses.compared(now, then).losses == ()


def test_the_blocks_of_a_pool_that_is_removed_are_listed(tmp_path: Path) -> None:
    green = "  green: {cidr: 10.245.0.0/16, encapsulation: IPIP}\n"
    more = POOLS + green + NODES.replace("[10.244.1.0/26]", "[10.244.1.0/26, 10.245.1.0/26]")
    now, then = read_cluster(tmp_path, more), read_cluster(tmp_path, NOW)
    assert membership.moved_blocks(now, then) == (MovedBlock(Prefix.parse("10.245.1.0/26"), "a1", None),)


def test_sessions_that_end_and_begin_are_those_of_the_first_of_a_class(tmp_path: Path) -> None:
    now, then = read_cluster(tmp_path, NOW), read_cluster(tmp_path, f"{NOW}mesh: false\n")
    assert membership.sessions(now, then) == (Sessions("a1", ends=("a2", "b1", "b2"), alike=("a2", "b1", "b2")),)
    assert membership.sessions(then, now, "b1") == (Sessions("b1", begins=("a1", "a2", "b2")),)


def test_of_one_node_only_its_own_pairs_are_followed(tmp_path: Path) -> None:
    now, then = read_cluster(tmp_path, NOW), read_cluster(tmp_path, f"{NOW}mesh: false\n")
    verdict = losses.compared(now, then, "a1")
    assert (pairs(verdict), verdict.followed) == (6, 4)
