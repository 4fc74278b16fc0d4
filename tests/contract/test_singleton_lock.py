"""Two agents in one network namespace would undo each other's work: the second one does not start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bgpctl.ports import AlreadyRunning
from bgpctl.process.run_directory import DiskRunDirectory
from tests.contract.kernel_rig import own_namespace

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "vxlan.yaml"


@pytest.fixture(autouse=True)
def _namespace() -> Iterator[None]:
    with own_namespace():
        yield


def held(path: Path) -> AbstractContextManager[None]:
    return DiskRunDirectory(path).hold()


def bgpctl(*words: object) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bgpctl", *map(str, words))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_second_one_in_a_namespace_names_the_first_one(tmp_path: Path) -> None:
    with (
        held(tmp_path / "one"),
        pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"),
        held(tmp_path / "two"),
    ):
        raise AssertionError("both run")


def test_a_run_directory_belongs_to_one_namespace(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        own_namespace(),
        pytest.raises(AlreadyRunning, match=str(tmp_path)),
        held(tmp_path),
    ):
        raise AssertionError("both run")


def test_agents_of_two_namespaces_do_not_disturb_each_other(tmp_path: Path) -> None:
    with held(tmp_path / "one"), own_namespace(), held(tmp_path / "two"):
        pass


def test_what_was_held_is_free_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path):
            pass


def test_neither_an_agent_nor_a_cleanup_starts_beside_an_agent(tmp_path: Path) -> None:
    with held(tmp_path / "one"):
        second = bgpctl("agent", "run", "--node", "a1", "-f", TOPOLOGY, "--run-dir", tmp_path / "two")
        cleanup = bgpctl("cleanup", "--run-dir", tmp_path / "two")
    for process in (second, cleanup):
        assert process.returncode == 6
        assert f"an agent is running in this network namespace (process {os.getpid()})" in process.stderr
