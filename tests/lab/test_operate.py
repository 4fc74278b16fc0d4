"""What an operator does to sessions: a peer down and up, a node drained, a mesh given up; and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgpctl import client
from bgpctl.lab import probe
from bgpctl.lab.lab import Lab
from bgpctl.lab.probe import Stream
from tests.lab.conftest import CONVERGE_S, SLOWNESS, wait_until

PPS = int(1000 / SLOWNESS)

GSHUT = "65535:0"


def ask(lab: Lab, node: str, verb: str, **query: str) -> None:
    client.ask(lab.run_dir(node) / "agent.sock", verb, query)


def peers(lab: Lab, node: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in lab.read(node, "peers")["peers"]}


def routed(lab: Lab, node: str) -> set[str]:
    return {row["prefix"] for row in lab.read(node, "routes")["routes"] if row["installed"] and row["via"]}


def from_a1(lab: Lab) -> list[dict[str, Any]]:
    """The paths that b1 has from a1."""
    return [row for row in lab.read("b1", "rib")["paths"] if row["peer"] == "a1"]


def test_a_peer_goes_down_and_comes_back_and_no_other_session_is_touched(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    # ExaBGP counts whole seconds: only an older session can be told from a new one.
    wait_until(lambda: all(peer["uptime_s"] > 3 for peer in peers(lab, "a1").values()))
    whole = routed(lab, "a1")
    ask(lab, "a1", "peer-down", peer="b1")
    wait_until(lambda: "b1" not in peers(lab, "a1") and routed(lab, "a1") < whole)
    wait_until(lambda: from_a1(lab) == [])
    assert any("bgpctl peer up b1" in problem for problem in lab.read("a1", "summary")["problems"])
    ask(lab, "a1", "peer-up", peer="b1")
    wait_until(lambda: routed(lab, "a1") == whole, within_s=CONVERGE_S)
    after = peers(lab, "a1")
    assert all(after[name]["uptime_s"] > 2 for name in ("a2", "b2"))


def test_a_drained_node_is_avoided_and_still_reached(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    ask(lab, "a1", "drain")
    wait_until(lambda: bool(from_a1(lab)) and all(row["local_pref"] == 0 for row in from_a1(lab)))
    (told,) = (row["told"] for row in lab.read("a1", "neighbor")["neighbors"] if row["name"] == "b1")
    assert all(GSHUT in row["communities"] for row in told)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    ask(lab, "a1", "undrain")
    wait_until(lambda: all(row["local_pref"] != 0 for row in from_a1(lab)))


def test_a_refreshed_peer_repeats_its_table_and_loses_no_route(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    whole = routed(lab, "a1")
    ask(lab, "a1", "peer-refresh", peer="b1")
    wait_until(lambda: peers(lab, "a1")["b1"]["table"] == "synced" and peers(lab, "a1")["b1"]["age_s"] < 5)
    assert routed(lab, "a1") == whole


REFLECTED = """
mesh: false
peers:
  reflectors: {nodes: all(), peerSelector: has(reflector)}
"""


def test_from_a_mesh_to_reflectors_no_packet_is_lost(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    workloads = {workload.name: workload for workload in lab.topology.workloads}
    streams = [
        Stream(lab.names, workloads["web-a1"], workloads["web-b1"], PPS),
        Stream(lab.names, workloads["web-b2"], workloads["web-a1"], PPS),
    ]
    for stream in streams:
        stream.start()
    wait_until(lambda: all(stream.sent > PPS for stream in streams))
    file = lab.topology.file
    text = file.read_text()
    for node, number in (("a2", 1), ("b2", 2)):
        text = text.replace(
            f"  {node}: {{", f"  {node}: {{clusterID: 10.255.0.{number}, labels: {{reflector: 'yes'}}, "
        )
    file.write_text(text + REFLECTED)
    wait_until(lambda: set(peers(lab, "a1")) == set(peers(lab, "b1")) == {"a2", "b2"}, within_s=CONVERGE_S)
    assert lab.wait(CONVERGE_S)
    sent = max(stream.sent for stream in streams)
    wait_until(lambda: all(stream.sent > sent + PPS for stream in streams))
    assert [stream.stop().lost for stream in streams] == [0, 0]
    assert {row["peer"] for row in lab.read("a1", "rib")["paths"] if row["prefix"] == "10.244.3.0/26"} == {"a2", "b2"}
