"""All pairs of blocks by the files: nothing is found in what ships, each mistake is one class for each node."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgpctl.cli.main import main
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Route
from bgpctl.core.simulate.declared import everything, network, obstacle
from bgpctl.core.trace.announced import ObstacleCode
from bgpctl.core.trace.journey import Follower, Network, Origin, exchange
from bgpctl.core.trace.packet import Packet, echo_protocol
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.core.trace.steps import Break, Broken
from bgpctl.core.trace.verify import Failure, Verdict, verify
from tests.topologies import FILTERED, TOPOLOGIES, keeping, read_cluster, read_topology

ROUTED = {"mixed-pools", "tor-peering"}
"""Routers outside the files carry packets of these, or their paths."""
COSTLY = {"fifty-nodes"}
SHIPPED = [path for path in sorted(TOPOLOGIES.glob("**/*.yaml")) if "compose" not in path.parts]
CLUSTER = """\
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIP}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
  b1: {address: 10.1.0.3/24, blocks: [10.244.3.0/26]}
"""


def classes(found: Verdict) -> list[tuple[Failure, str, int]]:
    return [(item.example.failure, item.example.at, item.pairs) for item in found.classes]


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.stem not in COSTLY], ids=lambda path: path.stem)
def test_in_what_ships_all_reach_each_other_but_for_what_routers_decide(path: Path) -> None:
    found = verify(*everything(read_topology(path).intent))
    assert found.pairs
    assert {item.example.failure for item in found.classes} == ({Failure.UNKNOWN} if path.stem in ROUTED else set())


FAULTS = {
    "no sessions": (
        "mesh: false\n" + CLUSTER,
        [(Failure.UNREACHABLE, name, 2) for name in ("a1", "a2", "b1")],
        ObstacleCode.NO_SESSION,
    ),
    "export filter": (
        FILTERED + CLUSTER + keeping("export"),
        [(Failure.UNREACHABLE, "a2", 4)],
        ObstacleCode.EXPORT_FILTER,
    ),
    "import filter": (
        FILTERED + CLUSTER + keeping("import"),
        [(Failure.UNREACHABLE, "a1", 2), (Failure.UNREACHABLE, "b1", 2)],
        ObstacleCode.IMPORT,
    ),
    "export disabled": (
        CLUSTER.replace("IPIP}", "IPIP, disableBGPExport: true}"),
        [(Failure.UNREACHABLE, name, 2) for name in ("a2", "a1", "b1")],
        ObstacleCode.EXPORT_DISABLED,
    ),
    "tunnel too wide": (
        "ipipMTU: 1500\n" + CLUSTER,
        [(Failure.TOO_BIG, name, 2) for name in ("a1", "a2", "b1")],
        Break.OUTER_TOO_BIG,
    ),
    "no tunnel over a router": (
        CLUSTER.replace("IPIP}", "None}"),
        [(Failure.UNKNOWN, "a1", 1), (Failure.UNKNOWN, "a2", 1), (Failure.UNKNOWN, "b1", 2)],
        None,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_mistake_in_the_files_is_one_class_at_each_node(tmp_path: Path, name: str) -> None:
    text, expected, cause = FAULTS[name]
    found = verify(*everything(read_cluster(tmp_path, text)))
    assert sorted(map(str, classes(found))) == sorted(map(str, expected))
    first = found.classes[0].example
    end = first.journey.end
    seen = first.obstacle.code if first.obstacle else end.cause.code if isinstance(end, Broken) else None
    assert seen is cause


def with_node(network: Network, name: str, snapshot: Snapshot | None) -> Network:
    return replace(network, snapshots={**network.snapshots, name: snapshot})


def test_ways_by_different_tunnels_are_found(tmp_path: Path) -> None:
    nodes, blocks, obstacles = everything(read_cluster(tmp_path, CLUSTER))
    other = everything(read_cluster(tmp_path, CLUSTER.replace("IPIP}", "IPIPCrossSubnet}")))[0]
    found = verify(with_node(nodes, "a2", other.snapshots["a2"]), blocks, obstacles)
    assert classes(found) == [(Failure.ASYMMETRIC, "a1", 1), (Failure.ASYMMETRIC, "a2", 1)]


def test_a_circle_is_found(tmp_path: Path) -> None:
    nodes, blocks, obstacles = everything(read_cluster(tmp_path, CLUSTER.replace("IPIP}", "None}")))
    there = nodes.snapshots["a2"]
    assert there
    back = Route(Prefix.parse("10.244.2.0/27"), gateway=Address.parse("10.0.0.1"), link="eth0", metric=0, protocol=4)
    turned = replace(there, dataplane=there.dataplane.put([back]))
    found = verify(with_node(nodes, "a2", turned), blocks[:2], obstacles)
    assert [item.example.failure for item in found.classes] == [Failure.LOOP]
    assert found.classes[0].pairs == 2


def test_a_node_that_was_not_asked_is_unknown(tmp_path: Path) -> None:
    nodes, blocks, obstacles = everything(read_cluster(tmp_path, CLUSTER))
    found = verify(with_node(nodes, "b1", None), blocks, obstacles)
    assert {item.example.failure for item in found.classes} == {Failure.UNKNOWN}
    assert sum(item.pairs for item in found.classes) == 4


@pytest.mark.parametrize("name", ["cross-subnet", "dual-stack", "mixed-pools", "tor-peering", "borrowed"])
def test_a_pair_ends_as_explain_has_it(name: str) -> None:
    """There the kernels are those of two nodes, with the reasons of their objects; here those of all nodes."""
    intent = read_topology(TOPOLOGIES / f"{name}.yaml").intent
    nodes, blocks, obstacles = everything(intent)
    follower = Follower(nodes)
    pairs = [(a, b) for a in blocks for b in blocks if a.node != b.node and a.address.version == b.address.version]
    assert pairs
    for a, b in pairs:
        ends = a.address, b.address
        packet = Packet(*ends, a.full_bytes, protocol=echo_protocol(a.address.version))
        alone = Follower(replace(network(intent, ends, {}), reasons={}))
        assert exchange(follower, packet, Origin(a.node, ""), b.node) == exchange(
            alone, packet, Origin(a.node, ""), b.node
        )
        assert obstacles.get((a.node, b.prefix)) == obstacle(intent, a.node, b.address)


def test_the_command_names_the_next_one_and_exits_by_the_outcome(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(CLUSTER)
    bad.write_text("ipipMTU: 1500\n" + CLUSTER)
    result = CliRunner().invoke(main, ["verify", "-f", str(good)])
    assert (result.exit_code, result.output) == (0, "6 pairs of blocks: all reach each other\n")
    result = CliRunner().invoke(main, ["verify", "-f", str(bad)])
    assert result.exit_code == 1
    assert f"next  bgpctl explain 10.244.1.1 10.244.2.1 --size 1500 -f {bad}\n" in result.output
    command = result.output.split("next  bgpctl ")[1].split("\n")[0].split(" ")
    assert CliRunner().invoke(main, command).exit_code == 1
    assert CliRunner().invoke(main, ["verify", "-f", str(bad), "-o", "json"]).exit_code == 1


def test_without_two_blocks_nothing_is_said_to_reach_another(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(CLUSTER.replace(", blocks: [10.244.2.0/26]", "").replace(", blocks: [10.244.3.0/26]", ""))
    result = CliRunner().invoke(main, ["verify", "-f", str(file)])
    assert (result.exit_code, result.output) == (1, "no pair to follow: no two nodes have blocks\n")


def test_explain_finds_workloads_with_borrowed_addresses() -> None:
    file = TOPOLOGIES / "borrowed.yaml"
    addresses = [str(workload.address) for workload in read_topology(file).workloads]
    for source, destination in permutations(addresses, 2):
        result = CliRunner().invoke(main, ["explain", source, destination, "-f", str(file)])
        assert result.exit_code == 0, result.output
