"""A journal of a real agent in the middle of a switch replays equal, and an event that is altered is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bgpctl.lab.lab import Lab
from tests.waiting import wait_until


def bgpctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((sys.executable, "-m", "bgpctl", *words), capture_output=True, text=True, check=False)


def written(lab: Lab, node: str) -> Path:
    done = bgpctl("agent", "journal", "--run-dir", str(lab.run_dir(node)))
    assert done.returncode == 0, done.stderr
    return lab.run_dir(node) / "journal.jsonl"


def replays_equal(journal: Path) -> None:
    done = bgpctl("agent", "replay", str(journal))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{journal}: ")
    assert done.stdout.endswith(" commands, all the same\n")


def test_a_switch_replays_equal_and_an_altered_event_is_named(lab_of: Callable[[str], Lab], tmp_path: Path) -> None:
    lab = lab_of("cross-subnet")
    nodes = [node.name for node in lab.topology.intent.nodes]
    command = (sys.executable, "-m", "bgpctl", "lab", "switch", "--name", lab.names.lab, "blue", "VXLANCrossSubnet")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as switching:
        wait_until(lambda: any(lab.read(node, "summary")["state"] == "migrating" for node in nodes))
        for node in nodes:
            replays_equal(written(lab, node))
        output, _ = switching.communicate(timeout=120)
    assert switching.returncode == 0, output
    for node in nodes:
        replays_equal(written(lab, node))
    _names_what_was_altered(written(lab, "a1").read_text().splitlines(), tmp_path / "altered.jsonl")


def _names_what_was_altered(lines: Sequence[str], altered: Path) -> None:
    """The replay of a journal whose first observation with operations is replaced by an empty kernel names it."""
    number, entry = next(
        (number, entry)
        for number, entry in enumerate(map(json.loads, lines[2:]), 3)
        if "ObservedChange" in entry["event"] and any("Apply" in command for command in entry["commands"])
    )
    entry["event"] = {"Observed": {"dataplane": {}}}
    altered.write_text("\n".join((*lines[: number - 1], json.dumps(entry), *lines[number:])) + "\n")
    done = bgpctl("agent", "replay", str(altered))
    assert done.returncode == 1, done.stderr
    first, second, *objects = done.stdout.splitlines()
    assert first.startswith(
        f"{altered}:{number}: entry {number - 2} at {entry['at_s']:.3f} s: kernel state read: 0 objects"
    )
    assert second.startswith(f"command {_first_apply(entry)} differs (- recorded by ")
    assert objects
    assert {line[:2] for line in objects} <= {"- ", "+ "}


def _first_apply(entry: dict[str, list[dict[str, object]]]) -> int:
    return next(index for index, command in enumerate(entry["commands"], 1) if "Apply" in command)
