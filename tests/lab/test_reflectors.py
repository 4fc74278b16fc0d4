"""Route reflectors: many nodes behind two of them, and one of the two gone at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load
from tests.lab.rig import CONVERGE_S, peers
from tests.waiting import SLOWNESS, wait_until

PPS = int(500 / SLOWNESS)
ENOUGH = PPS
"""Packets: a second of a stream."""
CLIENTS = ("a1", "a10", "b1", "b10")
PAIRS = (("web-a1", "web-b10"), ("web-b10", "web-a1"), ("web-a10", "web-a1"), ("web-b1", "web-a10"))
DRAINED = 0
"""The local preference of what comes from a drained node (RFC 8326)."""


def test_a_reflector_killed_with_its_exabgp_costs_no_packet_and_comes_back(
    lab_of: Callable[[str], Lab], capfd: pytest.CaptureFixture[str]
) -> None:
    lab = lab_of("reflectors")
    workloads = {workload.name: workload for workload in lab.topology.workloads}
    load = Load(lab.names, [(workloads[source], workloads[destination]) for source, destination in PAIRS], PPS)
    load.start()
    try:
        wait_until(lambda: all(flow.arrived > ENOUGH for flow in load.flows))
        _die(lab, "ra")
        noticed_s = wait_until(lambda: not any(_established(lab, node, "ra") for node in CLIENTS))
        assert all(any("ra" in problem for problem in lab.read(node, "summary")["problems"]) for node in CLIENTS)
        # News still come, by the one that is left.
        lab.ask("a1", "drain")
        wait_until(lambda: _preferences(lab, "b1", "10.244.1.0/26", "rb") == [DRAINED], within_s=CONVERGE_S)
        lab.ask("a1", "undrain")
        sent = [flow.sent for flow in load.flows]
        wait_until(lambda: all(flow.sent > than + ENOUGH for flow, than in zip(load.flows, sent, strict=True)))
        lab.start_agent("ra")
        back_s = wait_until(lambda: all(_established(lab, node, "ra") for node in CLIENTS), within_s=60)
        assert lab.wait(CONVERGE_S)
    finally:
        flows = load.stop()
    lost, sent_all = sum(flow.lost for flow in flows), sum(flow.sent for flow in flows)
    with capfd.disabled():
        print(
            f"\na reflector of twenty nodes killed: noticed after {noticed_s:.1f} s, back after {back_s:.1f} s;",
            end=" ",
        )
        print(f"{lost} of {sent_all} packets lost")
    assert lost == 0


def _die(lab: Lab, node: str) -> None:
    """Agent and speaker, without a word: as when the host's power goes, but for its kernel."""
    lab.agents[node].kill()
    lab.agents[node].wait()
    os.kill(int((lab.run_dir(node) / "exabgp.pid").read_text().split()[0]), signal.SIGKILL)


def _established(lab: Lab, node: str, peer: str) -> bool:
    return bool(peers(lab, node)[peer]["established"])


def _preferences(lab: Lab, node: str, prefix: str, peer: str) -> list[int]:
    rows = lab.read(node, "rib")["paths"]
    return [row["local_pref"] for row in rows if (row["prefix"], row["peer"]) == (prefix, peer)]
