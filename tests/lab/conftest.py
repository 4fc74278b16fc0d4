"""Labs for tests: built from the shipped topologies, torn down afterwards, reported in full when a test fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from bgpctl.lab import build, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.lab.rig import CONVERGE_S, lab_report, needs
from tests.topologies import TOPOLOGIES, read_topology


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("lab")


_RUNNING = pytest.StashKey[list[Lab]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when == "call":
        report.sections += [(f"lab {lab.names.prefix}", lab_report(lab)) for lab in item.stash.get(_RUNNING, [])]
    return report


@pytest.fixture
def lab_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Lab]]:
    """Builds a lab from a copy of a shipped topology, which the test may edit; waits until it has converged."""
    names: list[str] = []
    running = request.node.stash.setdefault(_RUNNING, [])

    def make(file: str, more: str = "") -> Lab:
        copy = tmp_path / f"{file}.yaml"
        shutil.copy(TOPOLOGIES / f"{file}.yaml", copy)
        copy.write_text(copy.read_text() + more)
        needs(copy)
        name = f"t{os.getpid()}-{len(names)}-{file}"
        names.append(name)
        lab = labs.up(read_topology(copy), name, keep=False)
        running.append(lab)
        assert lab.wait(CONVERGE_S), lab_report(lab)
        return lab

    yield make
    for name in names:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []
