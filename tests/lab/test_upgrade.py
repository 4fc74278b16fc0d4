"""This version replaces the last one under traffic, node by node, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.lab import build, netns, probe
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load, both_directions
from tests.kernel_text import assert_same_text
from tests.lab.changes import change, encapsulations
from tests.lab.former import FORMER, NoHistory, Versions, extract
from tests.lab.rig import CONVERGE_S, kernel_of, kill, lab_report
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import SLOWNESS, wait_until

PPS = int(1000 / SLOWNESS)
"""Packets a second in each of the directions between a node that is replaced early and one that is replaced late."""

HERE = (sys.executable,)
Old = Callable[[str], tuple[Lab, Versions]]


@pytest.fixture
def lab_of_old(tmp_path: Path) -> Iterator[Old]:
    """A converged lab of a shipped topology, all of whose agents are of the last version."""
    names: list[str] = []

    def make(file: str) -> tuple[Lab, Versions]:
        try:
            tree = extract(tmp_path / "former")
        except NoHistory:
            pytest.skip(f"this checkout has no history: commit {FORMER} is missing")
        shape = read_topology(TOPOLOGIES / f"{file}.yaml")
        cells = Versions(tree, [node.name for node in shape.intent.nodes])
        name = f"u{os.getpid()}-{len(names)}-{file}"
        names.append(name)
        lab = labs.up(shape, name, keep=False, runtime=cells)
        assert lab.wait(CONVERGE_S), lab_report(lab)
        return lab, cells

    yield make
    for name in names:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []


def replace_agent(lab: Lab, versions: Versions, node: str, number: signal.Signals) -> None:
    """An agent of this version takes over from what the last one left."""
    kill(lab, node, number)
    versions.former.discard(node)
    lab.start_agent(node)


WITHOUT_DF = " df inherit", ""
"""VXLAN devices of the last version had DF as the inner packet has it: large packets did not pass a narrow path."""


@pytest.mark.parametrize(
    ("file", "link", "other"),
    [
        ("cross-subnet", "vxlan.bgpctl", "VXLANCrossSubnet"),
        ("vxlan-cross-subnet", "vxlan.bgpctl", "VXLAN"),
    ],
    ids=["IPIP by BGP", "VXLAN without BGP"],
)
def test_agents_are_replaced_one_by_one_and_change_the_encapsulation_together_without_loss(
    lab_of_old: Old, file: str, link: str, other: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lab, versions = lab_of_old(file)
    nodes = [node.name for node in lab.topology.intent.nodes]
    before = {node: kernel_of(lab, node) for node in nodes}
    ends = [workload for workload in lab.topology.workloads if workload.node in {"a1", "b2"}]
    load = Load(lab.names, both_directions(ends), PPS)
    load.start()
    try:
        wait_until(lambda: all(flow.arrived for flow in load.flows))
        replace_agent(lab, versions, "a1", signal.SIGTERM)
        assert lab.wait(CONVERGE_S), lab_report(lab)
        replace_agent(lab, versions, "b1", signal.SIGKILL)
        assert lab.wait(CONVERGE_S), lab_report(lab)
        for node in nodes:
            assert_same_text(kernel_of(lab, node).replace(*WITHOUT_DF), before[node].replace(*WITHOUT_DF))
        change(lab, other)
        wait_until(lambda: follows(lab, other) and encapsulations(lab, "a1", "b2") == {link}, within_s=30)
        for node in ("a2", "b2"):
            replace_agent(lab, versions, node, signal.SIGTERM)
        assert lab.wait(CONVERGE_S), lab_report(lab)
        assert versions.former == set()
        assert follows(lab, other)
    finally:
        flows = load.stop()
    assert [flow for flow in flows if flow.lost] == []
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    with capfd.disabled():
        print(f"\n{file}: {sum(flow.sent for flow in flows)} packets during an upgrade of 4 nodes, 0 lost")


def follows(lab: Lab, word: str) -> bool:
    """Every agent, of either version, has the encapsulation and nothing left to do."""
    summaries = lab.summaries()
    found = {(pool["encapsulation"], pool["mode"]) for node in lab.agents for pool in lab.read(node, "pools")["pools"]}
    wanted = ("vxlan", "CrossSubnet" if word.endswith("CrossSubnet") else "Always")
    return found == {wanted} and all(summary["converged"] for summary in summaries)


def test_a_change_that_the_last_version_applied_is_confirmed_in_this_one(lab_of_old: Old, tmp_path: Path) -> None:
    lab, versions = lab_of_old("cross-subnet")
    text = lab.topology.file.read_text()
    changed = text.replace("IPIPCrossSubnet", "IPIP")
    assert changed != text
    wanted = tmp_path / "changed.yaml"
    wanted.write_text(changed)
    run(versions.python(), lab, "a1", "apply", "-f", str(wanted), "--confirm-within", "600s")
    replace_agent(lab, versions, "a1", signal.SIGTERM)
    assert lab.wait(CONVERGE_S), lab_report(lab)
    assert lab.read("a1", "summary")["unconfirmed_s"] > 0
    run(HERE, lab, "a1", "confirm")
    assert lab.topology.file.read_text() == changed
    run(HERE, lab, "a1", "undo")
    assert lab.topology.file.read_text() == text


def run(python: tuple[str, ...], lab: Lab, node: str, *words: str) -> None:
    command = (*python, "-m", "bgpctl", *words, "--run-dir", str(lab.run_dir(node)))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
