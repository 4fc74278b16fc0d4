"""`bgpctl apply`, `confirm` and `undo` on running nodes: the change that was planned, and its undo."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bgpctl.agent import journal_file, words
from bgpctl.core.agent.events import Apply
from bgpctl.core.dataplane.effects import Remove
from bgpctl.lab import probe
from bgpctl.lab.lab import Lab
from tests.lab.edits import EDITS, ONE_SESSION
from tests.lab.rig import CONVERGE_S, kill
from tests.topologies import TOPOLOGIES
from tests.waiting import SLOWNESS, wait_until

CONFIRM_WITHIN_S = 5
BACK_WITHIN_S = 5 * SLOWNESS
"""Once the time for confirmation is over."""
ONLY_ONE_RACK = re.sub(r"\n  b[12]: .*", "", (TOPOLOGIES / "cross-subnet.yaml").read_text())
"""The other rack's nodes are forgotten."""


def bgpctl(lab: Lab, node: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bgpctl", *words, "--run-dir", str(lab.run_dir(node)))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def reached(lab: Lab) -> bool:
    return all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=0.2))


@pytest.mark.parametrize("killed", [False, True], ids=["the agent lives", "the agent is killed"])
def test_a_change_that_cuts_a_node_off_goes_by_itself(
    lab_of: Callable[[str], Lab], tmp_path: Path, killed: bool
) -> None:
    lab = lab_of("cross-subnet")
    before = lab.topology.file.read_text()
    file = tmp_path / "one-rack.yaml"
    file.write_text(ONLY_ONE_RACK)
    # They read the same file, and would take the change back themselves.
    others = [agent for node, agent in lab.agents.items() if killed and node != "a1"]
    for agent in others:
        agent.send_signal(signal.SIGSTOP)
    applied = bgpctl(lab, "a1", "apply", "-f", str(file), "--confirm-within", f"{CONFIRM_WITHIN_S}s", "--force")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    over_s = time.monotonic() + CONFIRM_WITHIN_S  # the command returns when the file is written
    wait_until(lambda: not reached(lab), within_s=CONFIRM_WITHIN_S)
    if killed:
        kill(lab, "a1", signal.SIGKILL)
        assert lab.topology.file.read_text() == ONLY_ONE_RACK
        lab.start_agent("a1")
    else:
        assert any("bgpctl confirm" in problem for problem in lab.read("a1", "summary")["problems"])
    wait_until(lambda: lab.topology.file.read_text() == before)
    for agent in others:
        agent.send_signal(signal.SIGCONT)
    wait_until(lambda: reached(lab), within_s=BACK_WITHIN_S)
    assert time.monotonic() - over_s < BACK_WITHIN_S
    assert lab.wait(CONVERGE_S)


Done = tuple[str, str]
"""(`put` or `remove`, what)"""


def planned(lab: Lab, node: str, file: Path) -> list[tuple[str, list[Done]]]:
    """The stages, each with its operations."""
    answer = json.loads(bgpctl(lab, node, "plan", "-f", str(file), "-o", "json").stdout)
    (previewed,) = answer["nodes"]
    return [
        (step["stage"], [("remove" if op["verb"] == "remove" else "put", op["object"]) for op in step["ops"]])
        for step in previewed["steps"]
    ]


def done(lab: Lab, node: str, since_s: float) -> list[Done]:
    """
    The operations of the agent since a time of the clock that all agents share; a peer may announce before the file
    changes.
    """
    _, record = journal_file.load(Path(lab.ask(node, "journal")["file"]))
    commands = [command for entry in record.entries if entry.at_s > since_s for command in entry.commands]
    ops = [op for command in commands if isinstance(command, Apply) for op in command.ops]
    return [("remove" if isinstance(op, Remove) else "put", words.kernel_object(op.object)) for op in ops]


CHANGES = {
    "another encapsulation": {"IPIPCrossSubnet": "VXLANCrossSubnet"},
    "a tunnel inside the racks": {"IPIPCrossSubnet": "IPIP"},
    "NAT and a smaller MTU": {"CrossSubnet}": "CrossSubnet, natOutgoing: true}", "calico_b": "mtu: 1400\ncalico_b"},
    "a block more": {"4.0/26]": "4.0/26, 10.244.5.0/26]"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_done_is_what_was_planned_and_then_nothing_is_left_to_do(
    lab_of: Callable[[str], Lab], tmp_path: Path, change: str
) -> None:
    lab = lab_of("cross-subnet")
    file, text = tmp_path / "changed.yaml", lab.topology.file.read_text()
    for old, new in CHANGES[change].items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    nodes = [node.name for node in lab.topology.intent.nodes]
    plans = {node: planned(lab, node, file) for node in nodes}
    assert all(plans.values())

    began_s = time.monotonic()
    assert bgpctl(lab, "a1", "apply", "-f", str(file)).returncode == 0
    wait_until(lambda: all(bgpctl(lab, node, "plan", "-f", str(file)).returncode == 0 for node in nodes), within_s=60)
    for node in nodes:
        happened = done(lab, node, began_s)
        for stage, step in plans[node]:
            now, happened = happened[: len(step)], happened[len(step) :]
            # A member is flipped when its own answer comes: that order is theirs.
            order = sorted if stage == "cutover" else list
            assert order(now) == order(step), (node, stage)
        assert happened == []

    assert bgpctl(lab, "a1", "undo").returncode == 0
    wait_until(lambda: bgpctl(lab, "a1", "plan", "-f", str(file)).returncode == 1)
    assert lab.wait(CONVERGE_S)


APPLIES = int(os.environ.get("BGPCTL_TEST_EDITS", "4"))
"""Each edit is applied and taken back: two changes."""


def test_sessions_and_pairs_are_those_that_the_plan_says(lab_of: Callable[[str], Lab], tmp_path: Path) -> None:
    lab = lab_of("cross-subnet")
    base, file = lab.topology.file.read_text(), tmp_path / "changed.yaml"
    for name, edit in islice(EDITS.items(), APPLIES // 2):
        for text, lost_before in ((edit(base), True), (base, False)):
            file.write_text(text)
            said, sessions = plan_of(lab, file), established(lab)
            lost = sum(item["pairs"] for item in said["lost"])
            assert bgpctl(lab, "a1", "apply", "-f", str(file), "--force").returncode == 0, name
            assert lost_before or not lost, name
            if not lost:  # else stale routes and sessions that are handed over are left for minutes
                wait_until(lambda: bgpctl(lab, "a1", "plan", "-f", str(file)).returncode == 0, within_s=60)
            expected = as_said(sessions, said["sessions"])
            wait_until(lambda: established(lab) == expected, within_s=60)  # noqa: B023
            wait_until(lambda: len(passing(lab)) == 12 - lost, within_s=60)  # noqa: B023
            firsts = {tuple(f"web-{end}" for end in item["first"]) for item in said["lost"]}
            assert firsts.isdisjoint(passing(lab)), name


Ends = set[tuple[str, str]]
"""Node and other end of each session."""


def plan_of(lab: Lab, file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bgpctl(lab, "a1", "plan", "-f", str(file), "-o", "json").stdout)
    return found


def established(lab: Lab) -> Ends:
    names = {str(address): node.name for node in lab.topology.intent.nodes for address in node.addresses}
    return {
        (node.name, names[peer["address"]])
        for node in lab.topology.intent.nodes
        for peer in lab.read(node.name, "peers")["peers"]
        if peer["established"]
    }


def as_said(now: Ends, changes: list[dict[str, Any]]) -> Ends:
    """The sessions once those changes are made; of nodes that are alike the first one's are listed."""
    found = set(now)
    for item in changes:
        mine = {(item["node"], other) for other in item["begins"]}, {(item["node"], other) for other in item["ends"]}
        found = (found | mine[0]) - mine[1]
        for name in item["alike"]:
            begins = {(name, other if other != name else item["node"]) for other in item["begins"]}
            ends = {(name, other if other != name else item["node"]) for other in item["ends"]}
            found = (found | begins) - ends
    return found


def test_the_pairs_that_a_plan_says_are_lost_are_those_that_a_forced_apply_loses(
    lab_of: Callable[[str], Lab], tmp_path: Path
) -> None:
    lab = lab_of("cross-subnet")
    before, file = lab.topology.file.read_text(), tmp_path / "one-session.yaml"
    file.write_text(before + ONE_SESSION)
    planned = bgpctl(lab, "a1", "plan", "-f", str(file))
    assert planned.returncode == 6, planned.stdout + planned.stderr
    refused = bgpctl(lab, "a1", "apply", "-f", str(file))
    assert (refused.returncode, refused.stdout) == (6, planned.stdout)
    assert "nothing was applied" in refused.stderr
    assert lab.topology.file.read_text() == before
    said = json.loads(bgpctl(lab, "a1", "plan", "-f", str(file), "-o", "json").stdout)["lost"]
    assert sum(item["pairs"] for item in said) == 10

    assert bgpctl(lab, "a1", "apply", "-f", str(file), "--force").returncode == 0
    kept = {("web-a1", "web-a2"), ("web-a2", "web-a1")}
    wait_until(lambda: passing(lab) == kept, within_s=60)
    assert bgpctl(lab, "a1", "undo").returncode == 0
    wait_until(lambda: len(passing(lab)) == 12, within_s=60)


def passing(lab: Lab) -> set[tuple[str, str]]:
    pairs = probe.matrix(lab.names, lab.topology.workloads, within_s=0.2)
    return {(pair.source, pair.destination) for pair in pairs if pair.ok}
