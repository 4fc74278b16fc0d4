"""packaging/bgpctl-agent.service as systemd's own tools see it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service import PREFIX, UNIT

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze")

EXPOSURE_TENTHS = 26


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The path of bgpctl on this machine, as systemd finds it."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(f"{PREFIX}/bin/bgpctl", "/bin/true"))
    return copy


def analyze(*words: object) -> subprocess.CompletedProcess[str]:
    command = ("systemd-analyze", *map(str, words))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_understands_every_line_of_the_unit(unit: Path) -> None:
    assert analyze("verify", unit).stderr == ""
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert "'WatchDogSec' in section" in analyze("verify", unit).stderr


def test_systemd_rates_the_service_as_little_exposed(unit: Path) -> None:
    assert analyze("security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", unit).returncode == 0
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes", "").replace("CapabilityBoundingSet=", "#"))
    assert analyze("security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", unit).returncode != 0
