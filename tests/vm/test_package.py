"""The package on a stock Debian that systemd booted: an upgrade under traffic, and a purge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import service

PROJECT = Path(__file__).parents[2]
SHOWN = 4000  # characters


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Path]:
    """Two versions of it, below the project, which the guest has a copy of."""
    place = PROJECT / "build" / f"packages-{os.getpid()}"
    place.mkdir(parents=True)
    try:
        first = service.wheel(tmp_path, "1.0")
        for wheel in (first, service.renumbered(first, "1.1", first.parent)):
            command = (sys.executable, PROJECT / "tools" / "deb.py", wheel, place, "--compression", "fast")
            subprocess.run(command, check=True, capture_output=True)
        yield place
    finally:
        for made in place.iterdir():
            made.unlink()
        place.rmdir()


@pytest.mark.vm
@pytest.mark.skipif(
    "BGPCTL_TEST_PACKAGE" not in os.environ, reason="BGPCTL_TEST_PACKAGE: minutes; make nightly sets it"
)
def test_an_upgrade_by_dpkg_under_systemd_loses_no_packet_and_a_purge_leaves_nothing(packages: Path) -> None:
    if subprocess.run([PROJECT / "tools" / "system-packages", "vm"], check=False).returncode:
        pytest.skip("qemu: see tools/system-packages vm")
    inside = Path("build") / packages.name
    tool = (sys.executable, PROJECT / "tools" / "vm", "--systemd", "--timeout", "1500")
    command = (*tool, "tests/vm/package-job", inside)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-SHOWN:]}\n--- errors ---\n{done.stderr[-SHOWN:]}"
    assert " 0% packet loss" in done.stdout.splitlines()[-1]
