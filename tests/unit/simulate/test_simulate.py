"""`bgpctl simulate`: a cluster in memory through faults and changes, each state verified, and how the command exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bgpctl.cli import simulate as command
from bgpctl.cli.main import main
from bgpctl.core.simulate.faults import Faults, NoSuchFault, parsed
from bgpctl.core.simulate.fleet import Fleet
from tests.topologies import read_cluster

NOW = """\
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
  b1: {address: 10.1.0.3/24, blocks: [10.244.3.0/26]}
  b-2: {address: 10.1.0.4/24, blocks: [10.244.4.0/26]}
"""
MARKED = NOW.replace("a1: {", "a1: {labels: {first: 'yes'}, ")
REFLECTED = MARKED.replace("a1: {", "a1: {clusterID: 224.0.0.1, ") + (
    "mesh: false\npeers:\n  to-reflector: {nodes: '!has(first)', peerSelector: has(first)}\n"
)


def simulated(tmp_path: Path, now: str, *words: str, then: str | None = None) -> Result:
    file, other = tmp_path / "now.yaml", tmp_path / "then.yaml"
    file.write_text(now)
    if then:
        other.write_text(then)
        words = (*words, "--then", str(other))
    return CliRunner().invoke(main, ["simulate", "-f", str(file), *words])


def body(tmp_path: Path, now: str, *words: str, then: str | None = None) -> tuple[int, Any]:
    result = simulated(tmp_path, now, *words, "-o", "json", then=then)
    return result.exit_code, json.loads(result.stdout)


def settled(found: Any) -> list[tuple[str, int, int]]:
    """Event, pairs that fail, pairs that are counted."""
    ends = [item for item in found["moments"] if item["settled"]]
    return [(item["event"].split("/")[0], sum(one["pairs"] for one in item["failing"]), item["pairs"]) for item in ends]


def test_a_healthy_cluster_is_one_line_and_exits_0(tmp_path: Path) -> None:
    result = simulated(tmp_path, NOW)
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [
            "4 nodes, of which 3 stand for all, 12 pairs of blocks",
            "start: 1 state",
            "  +0 s       settled: all 12 reach each other",
        ],
    )


@pytest.mark.parametrize("crossing", ["VXLAN", "VXLANCrossSubnet", "IPIP"])
def test_no_state_of_a_change_of_encapsulation_loses_a_packet(tmp_path: Path, crossing: str) -> None:
    code, found = body(tmp_path, NOW, then=NOW.replace("IPIPCrossSubnet", crossing))
    assert code == 0
    states = [item for item in found["moments"] if item["is_change"]]
    assert len(states) > 1
    assert not any(item["failing"] or item["between"] for item in states)


def test_a_change_that_parts_nodes_exits_1_with_the_pairs_and_the_cause(tmp_path: Path) -> None:
    result = simulated(tmp_path, NOW, then=f"mesh: false\n{NOW}")
    assert result.exit_code == 1
    assert "  ! unreachable, 12 pairs: a1 to a2, …: no BGP session brings routes of a2 to a1" in result.output
    assert f"next  bgpctl explain 10.244.1.1 10.244.2.1 -f {tmp_path}/then.yaml" in result.output


def test_a_node_that_is_off_is_counted_apart(tmp_path: Path) -> None:
    code, found = body(tmp_path, NOW, "--fail", "node:b1")
    assert (code, settled(found)) == (0, [("start", 0, 12), ("fail node:b1", 0, 6)])
    assert {item["gone"] for item in found["moments"][1:]} == {6}


def test_a_cut_link_takes_its_pairs_at_once_and_its_session_later(tmp_path: Path) -> None:
    code, found = body(tmp_path, NOW, "--fail", "link:a1-b-2")
    assert (code, settled(found)) == (1, [("start", 0, 12), ("fail link:a1-b-2", 2, 12)])
    causes = [item["failing"][0]["because"] for item in found["moments"][1:]]
    assert causes[0] == "the underlay carries nothing between a1 and b-2"
    assert causes[-1] == "the BGP session of a1 with b-2 is not established"


def test_without_its_only_reflector_a_cluster_forwards_until_the_retained_routes_end(tmp_path: Path) -> None:
    code, found = body(tmp_path, REFLECTED, "--fail", "node:a1")
    assert (code, settled(found)[0], settled(found)[1][1:]) == (1, ("start", 0, 12), (6, 6))
    first = next(item for item in found["moments"] if item["failing"])
    assert first["after_s"] > 3600, "all peers are gone at once: docs/decisions/0010"


def test_faults_follow_one_another_and_a_change_comes_last(tmp_path: Path) -> None:
    more = NOW.replace("a2: {", "a3: {address: 10.0.0.3/24, blocks: [10.244.5.0/26]}\n  a2: {")
    code, found = body(tmp_path, NOW, "--fail", "node:b1", "--fail", "peer:a2", then=more)
    assert [item[0] for item in settled(found)][:3] == ["start", "fail node:b1", "fail peer:a2"]
    assert (code, settled(found)[-1][2]) == (1, 12)


def test_a_block_that_a_change_takes_from_its_node_fails(tmp_path: Path) -> None:
    result = simulated(tmp_path, NOW, then=NOW.replace("[10.244.4.0/26]", "[]"))
    assert result.exit_code == 1
    assert "! block 10.244.4.0/26: from b-2 to no node, and its workloads become unreachable" in result.output


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("node:c1", "c1 is no node of the file"),
        ("link:a1", "named by two nodes"),
        ("link:a1-a1", "named by two nodes"),
        ("peer:tor", "no peer of the file"),
        ("rack:a", "a fault is node:NAME, link:NAME-NAME or peer:NAME"),
    ],
)
def test_a_fault_that_names_nothing_is_an_error_with_the_rule(tmp_path: Path, fault: str, says: str) -> None:
    result = simulated(tmp_path, NOW, "--fail", fault)
    assert (result.exit_code, says in result.output) == (2, True)
    with pytest.raises(NoSuchFault, match=says):
        parsed(fault, read_cluster(tmp_path, NOW))


def test_a_peer_is_named_by_its_name_or_address(tmp_path: Path) -> None:
    intent = read_cluster(tmp_path, f"{MARKED}peers:\n  tor: {{ip: 10.0.0.254, asNumber: 65001, nodes: has(first)}}\n")
    assert parsed("peer:tor", intent) == Faults(peers=frozenset({"tor"}))
    assert parsed("peer:10.0.0.254", intent) == Faults(peers=frozenset({"10.0.0.254"}))
    fleet = Fleet()
    fleet.settle(intent)
    tor = next(peer for peer in fleet.states["a1"].bgp.adj_rib_in if str(peer) == "10.0.0.254")
    assert fleet.states["a1"].bgp.adj_rib_in[tor].established
    fleet.fail(parsed("peer:tor", intent))
    for _ in fleet.turns():
        pass
    assert not fleet.states["a1"].bgp.adj_rib_in[tor].established


def test_too_many_kinds_of_nodes_are_refused_with_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_MOST_AGENTS", 2)
    result = simulated(tmp_path, NOW)
    assert result.exit_code == 6
    assert "3 of 4 nodes are of kinds of their own; at most 2 can be simulated" in result.output


def test_without_two_blocks_nothing_is_said_to_reach_another(tmp_path: Path) -> None:
    result = simulated(tmp_path, "pools:\n  blue: {cidr: 10.244.0.0/16}\nnodes:\n  a1: {address: 10.0.0.1/24}\n")
    assert result.exit_code == 1
    assert "no pair to follow" in result.output


def test_all_states_are_shown_on_demand(tmp_path: Path) -> None:
    then = NOW.replace("IPIPCrossSubnet", "VXLAN")
    few, every = (simulated(tmp_path, NOW, *words, then=then).output.splitlines() for words in ((), ("--steps",)))
    assert set(few) < set(every)
