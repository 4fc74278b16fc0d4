"""Agents that ask each other: one lab, its own certificate authority, and members that were told different things."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bgpctl import client
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.rig import kill
from tests.waiting import wait_until

PORT = 9179
CONNECT = f"import socket; socket.create_connection(('10.0.0.1', {PORT}), 1)"


def bgpctl(lab: Lab, node: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ("-m", "bgpctl", "lab", "exec", "--name", lab.names.lab, node, "--", "bgpctl", *words)
    return subprocess.run((sys.executable, *command), capture_output=True, text=True, check=False)


def connects(lab: Lab, part: str) -> bool:
    command = (sys.executable, "-c", CONNECT)
    return (
        netns.inside(lab.names.of(part), lambda: subprocess.run(command, capture_output=True, check=False)).returncode
        == 0
    )


def dropped(lab: Lab) -> int:
    """Packets of a1's workloads to the ports of members alone."""
    rows = lab.read("a1", "workloads")["workloads"]
    return sum(item["packets"] for row in rows for item in row["dropped"] if item["reason"] == "bgp")


def members(lab: Lab) -> list[dict[str, Any]]:
    """The answers of all members to a1."""
    asked = bgpctl(lab, "a1", "show", "summary", "--members", "-o", "json")
    found: list[dict[str, Any]] = json.loads(asked.stdout)["members"]
    return found


def problems(lab: Lab, node: str) -> list[str]:
    """None of an agent that does not answer yet."""
    try:
        found: list[str] = lab.read(node, "summary")["problems"]
    except client.AgentAway:
        return []
    return found


def test_members_ask_each_other_and_name_those_that_have_another_configuration(
    lab_of: Callable[[str, str], Lab],
) -> None:
    lab = lab_of("vxlan", f"channelPort: {PORT}\n")
    wait_until(lambda: connects(lab, "a2"), within_s=15)
    rounds: list[list[dict[str, Any]]] = []

    def all_answered() -> bool:
        rounds.append(members(lab))
        return not any(item["error"] for item in rounds[-1])

    wait_until(all_answered, within_s=60)
    assert [item["node"] for item in rounds[-1]] == ["a1", "a2", "b1", "b2"]
    assert len({item["summary"]["configuration"] for item in rounds[-1]}) == 1

    # A workload has no business at this port, neither of its own node nor of others.
    before = dropped(lab)
    assert not connects(lab, "web-a1")
    wait_until(lambda: dropped(lab) > before, within_s=15)

    kill(lab, "b2")
    text = (
        lab.topology.file.read_text()
        .replace("10.244.3.0/26", "10.244.9.0/26")
        .replace("10.244.4.0/26", "10.244.3.0/26")
    )
    own = lab.directory / "b2.yaml"
    own.write_text(text)
    replace(lab, topology=replace(lab.topology, file=own)).start_agent("b2")
    claimed = "block 10.244.3.0/26 is claimed by b1 and b2"
    different = "a1, a2, b1 have another configuration: b1 with blocks 10.244.3.0/26 (here 10.244.9.0/26)"
    wait_until(lambda: claimed in problems(lab, "b2"), within_s=120)
    wait_until(lambda: any(item.startswith(different) for item in problems(lab, "b2")), within_s=120)
    wait_until(lambda: not any(lab.read(node, "summary")["converged"] for node in ("a1", "b2")), within_s=60)
    wait_until(lambda: not any("compare the cluster files" in item for item in problems(lab, "b2")), within_s=60)

    kill(lab, "b2")
    asked = bgpctl(lab, "a1", "show", "summary", "--members")
    assert asked.returncode == 3
    # With a file in which a workload has left its block the lab can still be entered.
    lab.topology.file.write_text(lab.topology.file.read_text().replace("10.244.1.0/26", "10.244.7.0/26"))
    assert bgpctl(lab, "a1", "show", "nodes").returncode == 0
    assert f"! b2 could not be asked: 10.1.0.4:{PORT} refuses connections" in asked.stdout
