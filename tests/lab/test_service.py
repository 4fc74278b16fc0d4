"""The wheel, installed and run as in the systemd unit: its privileges, and an upgrade without loss."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.lab import netns, probe
from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load, both_directions
from bgpctl.lab.switch import switch
from tests import service
from tests.lab.rig import CONVERGE_S
from tests.lab.traffic import Silent
from tests.service import Service, Unit
from tests.waiting import SLOWNESS, wait_until

UNIT = Unit.read(service.UNIT)
PPS = int(200 / SLOWNESS)
NEXT = "0.1.1"
NUMBERS = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13, "bpf": 39}
"""linux/capability.h"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of what bgpctl requires."""
    house = tmp_path_factory.mktemp("wheels")
    service.wheelhouse(house)
    return house


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return service.wheel(tmp_path_factory.mktemp("now"), "0.1.0")


@pytest.fixture(scope="module")
def installed(made: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("opt") / "bgpctl"
    service.install(prefix, made, wheels)
    return prefix


@pytest.fixture
def node(installed: Path, lab_of: Callable[[str], Lab]) -> Iterator[tuple[Lab, Service]]:
    """A lab whose node a1 is run by the service, from nothing."""
    lab = lab_of("cross-subnet")
    lab.agents["a1"].terminate()
    assert lab.agents["a1"].wait(timeout=20) == 0
    bgpctl(lab, installed, "cleanup", "--run-dir", str(lab.run_dir("a1")))
    shutil.rmtree(lab.run_dir("a1"))
    lab.run_dir("a1").mkdir()
    settings = {
        "BGPCTL_AGENT_RUN_NODE": "a1",
        "BGPCTL_AGENT_RUN_FILES": str(lab.topology.file),
        "BGPCTL_RUN_DIR": str(lab.run_dir("a1")),
    }
    a1 = Service(UNIT, lab.names.of("a1"), installed, lab.run_dir("a1"), settings)
    a1.start(CONVERGE_S)
    assert lab.wait(CONVERGE_S), lab.log("a1").read_text()
    yield lab, a1
    a1.running.kill()
    a1.running.wait()


def bgpctl(lab: Lab, prefix: Path, *words: str) -> str:
    command = ("ip", "netns", "exec", lab.names.of("a1"), str(prefix / "bin" / "bgpctl"), *words)
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout


def held(pid: int) -> set[int]:
    """The capabilities that a process has and can get."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = {key: int(value, 16) for key, value in re.findall(r"^(Cap\w+):\s+(\w+)$", status, re.MULTILINE)}
    assert masks["CapEff"] == masks["CapPrm"] == masks["CapBnd"]
    return {bit for bit in range(64) if masks["CapEff"] >> bit & 1}


def processes(lab: Lab) -> dict[str, int]:
    found = {}
    for pid in netns.processes(lab.names.of("a1")):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        for name in ("bgpctl", "patches.py", "bridge.py"):
            if any(Path(word).name == name for word in words):
                found[name] = pid
    return found


def can_write(running: Service, directory: Path) -> bool:
    command = ("nsenter", "--mount", f"--target={running.running.pid}", "touch", str(directory / "written"))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def memory_mb(pid: int) -> float:
    """Proportional set size: shared pages counted in part."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def test_the_wheel_has_every_file_of_the_package_and_the_unit(installed: Path) -> None:
    def files(tree: Path) -> set[Path]:
        return {
            path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        }

    (packages,) = (installed / "lib").glob("python3*/site-packages")
    assert files(packages / "bgpctl") == files(service.ROOT / "bgpctl")
    shared = {path.name for path in (installed / "share" / "bgpctl").iterdir()}
    units = {path.name for path in (service.ROOT / "packaging").glob("bgpctl-*.s*")}
    assert shared == {*units, "agent.env", "topologies", "prometheus", "grafana"}
    topologies = {path.name for path in (service.ROOT / "topologies").glob("*.yaml")}
    assert {path.name for path in files(installed / "share" / "bgpctl" / "topologies")} == topologies
    pages = {path.name for path in (service.ROOT / "packaging" / "man").glob("*.1")}
    assert {path.name for path in files(installed / "share" / "man" / "man1")} >= pages


def test_a_host_with_only_the_wheel_runs_a_node_by_the_units_command_line_with_exactly_its_capabilities(
    node: tuple[Lab, Service], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lab, a1 = node
    found = processes(lab)
    assert found["bgpctl"] == a1.running.pid
    assert [held(pid) for pid in found.values()] == [{NUMBERS[name] for name in UNIT.capabilities}] * 3
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    assert lab.read("a1", "summary")["problems"] == []
    assert not can_write(a1, tmp_path)
    assert not can_write(a1, a1.prefix)
    assert can_write(a1, a1.run_dir)
    assert not can_write(a1, a1.run_dir.parents[2])
    # Probes take a capability of their own.
    report = switch(lab, "blue", "VXLANCrossSubnet", PPS, Silent(), within_s=CONVERGE_S)
    assert report.ok, report
    # The file can be anywhere, also where the service sees nothing.
    before, file = lab.topology.file.read_text(), tmp_path / "next.yaml"
    file.write_text(before + "mtu: 1400\n")
    bgpctl(lab, a1.prefix, "apply", "-f", str(file), "--run-dir", str(a1.run_dir))
    assert lab.topology.file.read_text() == file.read_text()
    bgpctl(lab, a1.prefix, "undo", "--run-dir", str(a1.run_dir))
    assert lab.topology.file.read_text() == before
    memory = {name: memory_mb(pid) for name, pid in found.items()}
    with capfd.disabled():
        each = ", ".join(f"{name} {amount:.0f}" for name, amount in memory.items())
        print(f"\nmemory of a node with 3 peers: {sum(memory.values()):.0f} MB ({each})")


def test_an_upgrade_under_load_loses_no_packet_and_keeps_the_sessions(
    node: tuple[Lab, Service], made: Path, wheels: Path, tmp_path: Path
) -> None:
    lab, a1 = node
    later = service.renumbered(made, NEXT, tmp_path)
    before, uptime_s = processes(lab), lab.read("b1", "peers")["peers"][0]["uptime_s"]
    load = Load(lab.names, both_directions(lab.topology.workloads), PPS)
    load.start()
    wait_until(lambda: all(flow.arrived for flow in load.flows))
    service.install(a1.prefix, later, wheels)
    a1.stop()
    a1.start(CONVERGE_S)
    assert lab.wait(CONVERGE_S)
    flows = load.stop()
    assert [flow for flow in flows if flow.lost] == []
    assert f", version {NEXT}" in bgpctl(lab, a1.prefix, "--version")
    after = processes(lab)
    assert after["bgpctl"] != before["bgpctl"]
    assert after["patches.py"] == before["patches.py"]
    assert lab.read("b1", "peers")["peers"][0]["uptime_s"] > uptime_s
