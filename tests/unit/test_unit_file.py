"""The units of packaging/ as systemd's own tools see it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service import PREFIX, ROOT, UNIT

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze")

EXPOSURE_TENTHS = 26
CLUSTER_EXPOSURE_TENTHS = 18
RESOLVER_EXPOSURE_TENTHS = 25
DOCKER_EXPOSURE_TENTHS = 31
"""It enters namespaces of containers, for which CAP_SYS_ADMIN is needed."""


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


def test_systemd_understands_the_resolvers_unit_and_rates_it_as_little_exposed(tmp_path: Path) -> None:
    own = tmp_path / "bgpctl-resolver.service"
    own.write_text((ROOT / "packaging" / own.name).read_text().replace(f"{PREFIX}/bin/bgpctl", "/bin/true"))
    assert analyze("verify", own).stderr == ""
    assert analyze("security", "--offline=true", f"--threshold={RESOLVER_EXPOSURE_TENTHS}", own).returncode == 0


@pytest.fixture
def docker_units(tmp_path: Path) -> list[Path]:
    """The plugin's service and its socket, likewise."""
    found = []
    for name in ("bgpctl-docker.service", "bgpctl-docker.socket"):
        text = (ROOT / "packaging" / name).read_text()
        found.append(tmp_path / name)
        found[-1].write_text(text.replace(f"{PREFIX}/bin/bgpctl", "/bin/true"))
    return found


def test_systemd_understands_every_line_of_the_units_for_docker(docker_units: list[Path]) -> None:
    assert analyze("verify", *docker_units).stderr == ""


def test_systemd_rates_the_plugin_for_docker_as_little_exposed(docker_units: list[Path]) -> None:
    service = docker_units[0]
    assert analyze("security", "--offline=true", f"--threshold={DOCKER_EXPOSURE_TENTHS}", service).returncode == 0


@pytest.mark.parametrize("name", ["bgpctl-join", "bgpctl-etcd"])
def test_the_services_of_a_cluster_are_understood_and_little_exposed(name: str, tmp_path: Path) -> None:
    for file in (ROOT / "packaging").glob("bgpctl-*.s*"):
        text = file.read_text().replace(f"{PREFIX}/bin/bgpctl", "/bin/true").replace("/usr/bin/etcd", "/bin/true")
        (tmp_path / file.name).write_text(text)
    service = tmp_path / f"{name}.service"
    assert analyze("verify", service).stderr == ""
    assert analyze("security", "--offline=true", f"--threshold={CLUSTER_EXPOSURE_TENTHS}", service).returncode == 0


def test_dockers_socket_is_there_before_docker(docker_units: list[Path]) -> None:
    lines = docker_units[1].read_text().splitlines()
    assert {"Before=docker.service", "ListenStream=/run/docker/plugins/bgpctl.sock", "SocketMode=0600"} <= set(lines)
