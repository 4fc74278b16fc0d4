"""Speakers to try, and counts what the differential walks did, for the last lines of the test run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.lab import netns
from tests.contract.hosts import ENDS
from tests.contract.kernel_rig import OPERATIONS
from tests.contract.speaker_rig import ExabgpRig, FakeRig, Rig, facing_exabgp


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, if the kernel model was compared with the running kernel."""
    reports = (report for report in terminalreporter.getreports("passed") if report.when == "call")
    number = sum(value for report in reports for key, value in report.user_properties if key == OPERATIONS)
    if number:
        terminalreporter.write_line(f"kernel model: {number} random operations on it and on the running kernel each")


@pytest.fixture
def exabgp(tmp_path: Path) -> Iterator[ExabgpRig]:
    """Two ExaBGP in two network namespaces, as bgpctl runs them."""
    if os.geteuid() != 0:
        pytest.skip("root: network namespaces and port 179")
    with facing_exabgp(tmp_path) as rig:
        yield rig


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[ExabgpRig]:
    """The same, but the one under test is ExaBGP as it is."""
    if os.geteuid() != 0:
        pytest.skip("root: network namespaces and port 179")
    with facing_exabgp(tmp_path, patched=False) as rig:
        yield rig


@pytest.fixture
def pair(exabgp: ExabgpRig) -> ExabgpRig:
    """The two with an established session."""
    exabgp.both_up()
    return exabgp


@pytest.fixture(params=["fake", *(pytest.param(name, marks=pytest.mark.kernel) for name in ("exabgp", "stock"))])
def rig(request: pytest.FixtureRequest) -> Rig:
    """Any speaker."""
    if request.param == "fake":
        return FakeRig()
    real: ExabgpRig = request.getfixturevalue(request.param)
    return real


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Their network namespaces; eth0 of the one is cabled to eth0 of the other."""
    if os.geteuid() != 0:
        pytest.skip("root: network namespaces")
    names = (f"h{os.getpid()}-here", f"h{os.getpid()}-there")
    netns.ip([f"netns add {name}" for name in names])
    try:
        netns.ip([f"link add eth0 netns {names[0]} type veth peer name eth0 netns {names[1]}"])
        for name, four, six in zip(names, ENDS[4], ENDS[6], strict=True):
            addresses = (f"address add {four}/24 dev eth0", f"address add {six}/64 dev eth0 nodad")
            netns.ip([*addresses, "link set lo up", "link set eth0 up"], name)
        yield names
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "delete", name), check=True)
