"""Tests of this directory need root and Debian's packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def possible(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0:
        pytest.skip("root: a file system is mounted")
    if subprocess.run([PROJECT / "tools" / "system-packages", "bare"], check=False).returncode:
        pytest.skip("mmdebstrap: see tools/system-packages bare")
    # Lists of its own: another test's apt-get may hold the lock of this machine's.
    lists = tmp_path_factory.mktemp("lists")
    update = ("apt-get", "update", "-qq", "--error-on=any", "-o", f"Dir::State::Lists={lists}")
    if subprocess.run((*update, "-o", "APT::Sandbox::User=root"), capture_output=True, check=False).returncode:
        pytest.skip("network: Debian packages cannot be fetched")
