"""`bgpctl apply`, `confirm` and `undo` on running nodes: the change that was planned, and the way back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpctl.agent import journal, words
from bgpctl.core.effects import Remove
from bgpctl.core.events import Apply, IntentLoaded
from bgpctl.lab import probe
from bgpctl.lab.lab import Lab
from tests.lab.conftest import CONVERGE_S, TOPOLOGIES
from tests.waiting import SLOWNESS, wait_until

CONFIRM_WITHIN_S = 5
BACK_WITHIN_S = 10 * SLOWNESS
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
    began_s = time.monotonic()
    applied = bgpctl(lab, "a1", "apply", "-f", str(file), "--confirm-within", f"{CONFIRM_WITHIN_S}s", "--force")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    wait_until(lambda: not reached(lab), within_s=CONFIRM_WITHIN_S)
    if killed:
        lab.agents["a1"].send_signal(signal.SIGKILL)
        lab.agents["a1"].wait()
        lab.start_agent("a1")
    else:
        assert any("bgpctl confirm" in problem for problem in lab.read("a1", "summary")["problems"])
    wait_until(lambda: reached(lab), within_s=BACK_WITHIN_S)
    assert time.monotonic() - began_s < BACK_WITHIN_S
    assert lab.topology.file.read_text() == before
    assert lab.wait(CONVERGE_S)


Done = tuple[str, str]
"""(`put` or `remove`, what)"""


def planned(lab: Lab, node: str, file: Path) -> list[list[Done]]:
    """The operations of each step."""
    answer = json.loads(bgpctl(lab, node, "plan", "-f", str(file), "-o", "json").stdout)
    (foreseen,) = answer["nodes"]
    return [
        [("remove" if op["verb"] == "remove" else "put", op["object"]) for op in step["ops"]]
        for step in foreseen["steps"]
    ]


def done(lab: Lab, node: str) -> list[Done]:
    """What the agent has done since it read its file for the second time."""
    record = journal.load(Path(lab.ask(node, "journal")["file"]))
    loads = [number for number, entry in enumerate(record.entries) if isinstance(entry.event, IntentLoaded)]
    commands = [command for entry in record.entries[loads[1] :] for command in entry.commands]
    ops = [op for command in commands if isinstance(command, Apply) for op in command.ops]
    return [("remove" if isinstance(op, Remove) else "put", words.thing(op.thing)) for op in ops]


@pytest.mark.parametrize("encapsulation", ["VXLANCrossSubnet", "IPIP"])
def test_what_is_done_is_what_was_planned_and_then_nothing_is_left_to_do(
    lab_of: Callable[[str], Lab], tmp_path: Path, encapsulation: str
) -> None:
    lab = lab_of("cross-subnet")
    file = tmp_path / "changed.yaml"
    file.write_text(lab.topology.file.read_text().replace("IPIPCrossSubnet", encapsulation))
    nodes = [node.name for node in lab.topology.intent.nodes]
    plans = {node: planned(lab, node, file) for node in nodes}
    assert all(plans.values())

    assert bgpctl(lab, "a1", "apply", "-f", str(file)).returncode == 0
    wait_until(lambda: all(bgpctl(lab, node, "plan", "-f", str(file)).returncode == 0 for node in nodes), within_s=60)
    for node in nodes:
        happened = done(lab, node)
        for step in plans[node]:
            # A member is flipped when its own answer comes: inside a step the order is theirs.
            now, happened = happened[: len(step)], happened[len(step) :]
            assert sorted(now) == sorted(step)
        assert happened == []

    assert bgpctl(lab, "a1", "undo").returncode == 0
    wait_until(lambda: bgpctl(lab, "a1", "plan", "-f", str(file)).returncode == 1)
    assert lab.wait(CONVERGE_S)
