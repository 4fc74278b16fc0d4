"""The package for Debian, on a bare Debian: a node runs, an upgrade leaves it alone, and a purge leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import service

pytestmark = pytest.mark.bare

PROJECT = Path(__file__).parents[2]
SHOWN = 4000  # characters


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of it, beside what is done with them."""
    place = tmp_path_factory.mktemp("packages")
    first = service.wheel(tmp_path_factory.mktemp("tree"), "1.0")
    for wheel in (first, service.renumbered(first, "1.1", first.parent)):
        made = subprocess.run(
            (sys.executable, PROJECT / "tools" / "deb.py", wheel, place, "--compression", "fast"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
    shutil.copy(Path(__file__).with_name("package"), place)
    return place


def test_a_node_from_the_package_runs_through_an_upgrade_and_a_purge_leaves_nothing(packages: Path) -> None:
    tool = (sys.executable, PROJECT / "tools" / "bare-root", "--timeout", "300", "--lend", packages)
    versions = ("1.1", "1.0") if "BGPCTL_TEST_PACKAGE" in os.environ else ("1.1",)
    command = (*tool, packages / "package", packages, *versions)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-SHOWN:]}\n--- errors ---\n{done.stderr[-SHOWN:]}"
    assert done.stdout.endswith(f"installed, run, replaced by {' '.join(versions)}, purged\n")


@pytest.mark.skipif("BGPCTL_TEST_PACKAGE" not in os.environ, reason="BGPCTL_TEST_PACKAGE: make nightly sets it")
@pytest.mark.skipif(not shutil.which("lintian"), reason="lintian: see tools/system-packages release")
def test_lintian_finds_no_error_and_no_warning(packages: Path) -> None:
    (made,) = packages.glob("bgpctl_1.0_*.deb")
    command = ("lintian", "--allow-root", "--fail-on", "error,warning", str(made))
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")
