"""Workloads that the command line adds on two nodes reach each other through the tunnel, and are filtered and shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.rig import ping
from tests.waiting import wait_until

NODES = ("a1", "b1")


class Added:
    """A workload `db` on each of two nodes of a lab, in namespaces that end with the lab."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        netns.ip([f"netns add {lab.names.of(f'db-{node}')}" for node in NODES])
        self.outputs = {node: self._add(node) for node in NODES}

    def _add(self, node: str) -> str:
        where = ("--netns", self.lab.names.of(f"db-{node}"), "--pool", "blue")
        return self._run(node, "add", "db", *where, "-f", str(self.lab.topology.file), "--node", node)

    def _run(self, node: str, *words: str) -> str:
        command = (sys.executable, "-m", "bgpctl", "workload", "--state-dir", str(self.directory / node), *words)
        done = netns.inside(
            self.lab.names.of(node), lambda: subprocess.run(command, capture_output=True, text=True, check=False)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def view(self, node: str) -> list[dict[str, Any]]:
        """The agent's view of workloads that are none of the lab's own."""
        rows: list[dict[str, Any]] = self.lab.read(node, "workloads")["workloads"]
        return [row for row in rows if row["addresses"] == [self.address(node) + "/32"]]

    def forged(self, node: str) -> int:
        """The packets of the workload that were dropped for their source."""
        (row,) = self.view(node)
        return sum(item["packets"] for item in row["dropped"] if item["reason"] == "source")

    def address(self, node: str) -> str:
        return self.outputs[node].split()[2]

    def mtu_bytes(self, node: str) -> int:
        return int(self.outputs[node].rpartition(" ")[2])


@pytest.fixture
def added(lab_of: Callable[[str], Lab], tmp_path: Path) -> Added:
    return Added(lab_of("vxlan"), tmp_path)


def test_workloads_of_two_nodes_reach_each_other_with_full_size_and_no_forged_source(added: Added) -> None:
    lab, (here, there) = added.lab, NODES
    space, size = f"db-{here}", added.mtu_bytes(here)
    assert size == 1450
    wait_until(lambda: ping(lab, space, added.address(there), size).returncode == 0, within_s=15)
    assert ping(lab, space, added.address(there), size + 1).returncode != 0
    wait_until(lambda: [row["filtered"] for row in added.view(here)] == [True], within_s=15)
    netns.ip(["address add 10.244.1.60/32 dev eth0"], lab.names.of(space))
    before = added.forged(here)
    forged = ("ip", "netns", "exec", lab.names.of(space), "ping", "-c", "1", "-W", "1", "-I", "10.244.1.60")
    assert subprocess.run((*forged, added.address(there)), capture_output=True, check=False).returncode != 0
    wait_until(lambda: added.forged(here) > before, within_s=15)
