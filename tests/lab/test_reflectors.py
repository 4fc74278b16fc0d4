"""Route reflectors: many nodes behind two of them, and one of the two gone at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load
from tests.lab.conftest import CONVERGE_S
from tests.waiting import SLOWNESS, wait_until

PPS = int(500 / SLOWNESS)
ENOUGH = PPS
"""Packets: a second of a stream."""
CLIENTS = ("a1", "a10", "b1", "b10")
PAIRS = (("web-a1", "web-b10"), ("web-b10", "web-a1"), ("web-a10", "web-a1"), ("web-b1", "web-a10"))


def test_a_reflector_killed_with_its_exabgp_costs_no_packet_and_comes_back(
    lab_of: Callable[[str], Lab], record_property: Callable[[str, object], None]
) -> None:
    lab = lab_of("reflectors")
    workloads = {workload.name: workload for workload in lab.topology.workloads}
    load = Load(lab.names, [(workloads[source], workloads[destination]) for source, destination in PAIRS], PPS)
    load.start()
    try:
        wait_until(lambda: all(flow.arrived > ENOUGH for flow in load.flows))
        _die(lab, "ra")
        noticed_s = wait_until(lambda: not any(_established(lab, node, "ra") for node in CLIENTS))
        sent = [flow.sent for flow in load.flows]
        wait_until(lambda: all(flow.sent > than + ENOUGH for flow, than in zip(load.flows, sent, strict=True)))
        lab.start_agent("ra")
        back_s = wait_until(lambda: all(_established(lab, node, "ra") for node in CLIENTS), within_s=60)
        assert lab.wait(CONVERGE_S)
    finally:
        flows = load.stop()
    record_property("reflector_back_s", round(back_s, 2))
    print(f"every session down after {noticed_s:.2f} s; reflector back after {back_s:.2f} s")
    assert [flow.lost for flow in flows] == [0] * len(PAIRS)


def _die(lab: Lab, node: str) -> None:
    """Agent and speaker, without a word: as when the host's power goes, but for its kernel."""
    lab.agents[node].kill()
    lab.agents[node].wait()
    os.kill(int((lab.run_dir(node) / "exabgp.pid").read_text().split()[0]), signal.SIGKILL)


def _established(lab: Lab, node: str, peer: str) -> bool:
    return any(row["established"] for row in _peers(lab, node) if row["name"] == peer)


def _peers(lab: Lab, node: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lab.read(node, "peers")["peers"]
    return rows
