"""Twenty nodes with two route reflectors, and what happens when one of these dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from bgpctl.lab import space
from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load
from tests.lab.conftest import CONVERGE_S, peers
from tests.waiting import SLOWNESS, wait_until

PPS = int(1000 / SLOWNESS)
PAIRS = (("web-a1", "web-b1"), ("web-b10", "web-a10"))
DRAINED = 0
"""The local preference of what comes from a drained node (RFC 8326)."""


def established(lab: Lab, node: str) -> set[str]:
    return {name for name, row in peers(lab, node).items() if row["established"]}


def paths(lab: Lab, node: str, prefix: str) -> list[dict[str, Any]]:
    return [row for row in lab.read(node, "rib")["paths"] if row["prefix"] == prefix]


def kill_all(namespace: str) -> None:
    """As if the machine had lost its power, except that its kernel still closes the connections."""
    for pid in space.processes(namespace):
        os.kill(pid, signal.SIGKILL)


def test_a_reflector_dies_and_no_packet_is_lost(
    lab_of: Callable[[str], Lab], capfd: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    lab = lab_of("reflectors")
    workloads = {workload.name: workload for workload in lab.topology.workloads}
    members = [node.name for node in lab.topology.intent.nodes if not node.name.startswith("rr-")]
    load = Load(lab.names, [(workloads[source], workloads[to]) for source, to in PAIRS], PPS)
    load.start()
    wait_until(lambda: all(flow.arrived > PPS for flow in load.flows))
    kill_all(lab.names.of("rr-a"))
    wait_until(lambda: all(established(lab, node) == {"rr-b"} for node in members), within_s=CONVERGE_S)
    sent = max(flow.sent for flow in load.flows)
    wait_until(lambda: all(flow.sent > sent + 2 * PPS for flow in load.flows))
    flows = load.stop()
    counts = sum(flow.sent for flow in flows), sum(flow.lost for flow in flows)
    record_property("sent, lost", counts)
    with capfd.disabled():
        print(
            f"\nreflectors: {len(members)} nodes, one of two reflectors killed: {counts[1]} of {counts[0]} packets lost"
        )
    assert [flow.lost for flow in flows] == [0, 0]
    assert all(any("rr-a" in problem for problem in lab.read(node, "summary")["problems"]) for node in members)

    # News still come, by the one that is left.
    lab.ask("a1", "drain")
    wait_until(
        lambda: [row["local_pref"] for row in paths(lab, "b1", "10.244.1.0/26") if row["peer"] == "rr-b"] == [DRAINED],
        within_s=CONVERGE_S,
    )
