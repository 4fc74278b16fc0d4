"""
Commands of an operator about sessions: a peer down and up, a node drained, a mesh given up; no other node notices.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from bgpctl.lab import probe
from bgpctl.lab.lab import Lab
from tests.lab.changes import REFLECTORS, reflected, sessions_are
from tests.lab.rig import CONVERGE_S, peers
from tests.lab.traffic import nothing_lost
from tests.waiting import wait_until

GSHUT = "65535:0"


def routed(lab: Lab, node: str) -> set[str]:
    return {row["prefix"] for row in lab.read(node, "routes")["routes"] if row["installed"] and row["via"]}


def from_a1(lab: Lab) -> list[dict[str, Any]]:
    """The paths that b1 has from a1."""
    return [row for row in lab.read("b1", "rib")["paths"] if row["peer"] == "a1"]


def test_a_peer_goes_down_and_comes_back_and_no_other_session_is_touched(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    # ExaBGP counts whole seconds: only an older session can be distinguished from a new one.
    wait_until(lambda: all(peer["uptime_s"] > 3 for peer in peers(lab, "a1").values()))
    whole = routed(lab, "a1")
    lab.ask("a1", "peer-down", peer="b1")
    wait_until(lambda: "b1" not in peers(lab, "a1") and routed(lab, "a1") < whole)
    wait_until(lambda: from_a1(lab) == [])
    assert any("bgpctl peer up b1" in problem for problem in lab.read("a1", "summary")["problems"])
    lab.ask("a1", "peer-up", peer="b1")
    wait_until(lambda: routed(lab, "a1") == whole, within_s=CONVERGE_S)
    after = peers(lab, "a1")
    assert all(after[name]["uptime_s"] > 2 for name in ("a2", "b2"))


def test_a_drained_node_is_avoided_and_still_reached(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    lab.ask("a1", "drain")
    wait_until(lambda: bool(from_a1(lab)) and all(row["local_pref"] == 0 for row in from_a1(lab)))
    (advertised,) = (row["advertised_routes"] for row in lab.read("a1", "neighbor")["neighbors"] if row["name"] == "b1")
    assert all(GSHUT in row["communities"] for row in advertised)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    lab.ask("a1", "undrain")
    wait_until(lambda: all(row["local_pref"] != 0 for row in from_a1(lab)))


def test_a_refreshed_peer_repeats_its_table_and_loses_no_route(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    whole = routed(lab, "a1")
    lab.ask("a1", "peer-refresh", peer="b1")
    wait_until(lambda: peers(lab, "a1")["b1"]["table"] == "synced" and peers(lab, "a1")["b1"]["age_s"] < 5)
    assert routed(lab, "a1") == whole


def announcers(lab: Lab) -> set[str]:
    """The peers that announce the block of b1 to a1."""
    return {row["peer"] for row in lab.read("a1", "rib")["paths"] if row["prefix"] == "10.244.3.0/26"}


def follow(lab: Lab, text: str, sessions: Mapping[str, AbstractSet[str]], *, late: bool) -> None:
    """Write the file, and wait for these sessions; where b1 is `late`, others have theirs before it reads the file."""
    if late:
        lab.agents["b1"].send_signal(signal.SIGSTOP)
    lab.topology.file.write_text(text)
    wait_until(lambda: peers(lab, "a1").keys() == sessions["a1"], within_s=CONVERGE_S)
    lab.agents["b1"].send_signal(signal.SIGCONT)
    wait_until(lambda: sessions_are(lab, sessions), within_s=CONVERGE_S)


@pytest.mark.parametrize("late", [False, True], ids=["all at once", "one reads it late"])
def test_from_a_mesh_to_reflectors_and_back_no_packet_is_lost(lab_of: Callable[[str], Lab], *, late: bool) -> None:
    lab = lab_of("cross-subnet")
    mesh = lab.topology.file.read_text()
    others = {"a1": {"a2", "b1", "b2"}, "b1": {"a1", "a2", "b2"}}
    with nothing_lost(lab):
        follow(lab, reflected(mesh), dict.fromkeys(others, REFLECTORS), late=late)
        wait_until(lambda: announcers(lab) == REFLECTORS)
        follow(lab, mesh, others, late=late)
        wait_until(lambda: "b1" in announcers(lab))
