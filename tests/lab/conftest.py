"""Labs for tests: built from the shipped topologies, torn down afterwards, told about in full when a test fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpctl.lab import build, foreign, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology
from tests.waiting import SLOWNESS

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
CONVERGE_S = 60.0 * SLOWNESS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("lab")


def topology(path: Path) -> Topology:
    loaded = load(path)
    assert isinstance(loaded, Topology), loaded
    return loaded


def peers(lab: Lab, node: str) -> dict[str, dict[str, Any]]:
    """The agent's view of its BGP sessions, by name."""
    return {row["name"]: row for row in lab.read(node, "peers")["peers"]}


def needs(file: Path) -> None:
    """Skip the test if a daemon that the topology runs is not installed."""
    if lacking := foreign.lacking(topology(file).runs.values()):
        pytest.skip(f"not installed: {', '.join(lacking)} (tools/system-packages test)")


@pytest.fixture
def lab_of(tmp_path: Path) -> Iterator[Callable[[str], Lab]]:
    """Builds a lab from a copy of a shipped topology, which the test may edit; waits until it has converged."""
    names: list[str] = []

    def make(file: str, more: str = "") -> Lab:
        copy = tmp_path / f"{file}.yaml"
        shutil.copy(TOPOLOGIES / f"{file}.yaml", copy)
        copy.write_text(copy.read_text() + more)
        needs(copy)
        name = f"t{os.getpid()}-{len(names)}-{file}"
        names.append(name)
        lab = labs.up(topology(copy), name, keep=False)
        assert lab.wait(CONVERGE_S), told(lab)
        return lab

    yield make
    for name in names:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []


def told(lab: Lab) -> str:
    """Everything that helps to understand why a lab did not converge."""
    parts = []
    for summary in lab.summaries():
        node = summary["node"]
        log = lab.log(node).read_text(errors="replace") if lab.log(node).exists() else ""
        parts.append(f"--- {node}: {summary['state']} {summary['problems']}\n{log[-3000:]}")
    return "\n".join(parts)
