"""The ipip module where there is one, alone and beside BPF nodes. `make vm` brings a kernel that has it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from bgpctl.lab import netns, probe
from bgpctl.lab.lab import Lab
from tests.contract.kernel_rig import own_namespace
from tests.lab.changes import change, over
from tests.lab.rig import ip, kill, ping
from tests.lab.traffic import nothing_lost
from tests.waiting import SLOWNESS, wait_until

SMALL_BYTES = 84
FULL_BYTES = 1480
BULK = ("web-a1", "web-b2")
"""One on a node with the module, one on a node with BPF."""
MIXED = {"a1": "kernel", "a2": "bpf", "b1": "kernel", "b2": "bpf"}


def _module_brings() -> tuple[bool, bool]:
    """Two answers: the module works here, and it puts a tunl0 into every new namespace."""
    with own_namespace():
        by_itself = _kind_of_tunl0() == "ipip"
        made = subprocess.run(("ip", "link", "add", "probe", "type", "ipip"), capture_output=True, check=False)
        return made.returncode == 0 or _kind_of_tunl0() == "ipip", by_itself


def _kind_of_tunl0() -> str | None:
    shown = subprocess.run(("ip", "-j", "-d", "link", "show", "tunl0"), capture_output=True, text=True, check=False)
    return json.loads(shown.stdout)[0]["linkinfo"]["info_kind"] if shown.returncode == 0 else None


@pytest.fixture
def everywhere() -> None:
    """The module as a distribution loads it: a tunl0 in every namespace."""
    if _module_brings() != (True, True):
        pytest.skip("ipip: the module, with its tunl0 in every namespace")


@pytest.fixture
def on_request() -> None:
    if _module_brings() != (True, False):
        pytest.skip("ipip: the module, with net.core.fb_tunnels_only_for_init_net=1")


def drivers(lab: Lab) -> dict[str, str]:
    nodes = [node.name for node in lab.topology.intent.nodes]
    return {node: tunnel["driver"] for node in nodes for tunnel in lab.read(node, "tunnels")["tunnels"]}


def tunl0(lab: Lab, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ip(lab, node, "-j", "address", "show", "tunl0"))[0]
    return found


def everything(lab: Lab) -> tuple[dict[str, Any], str, str]:
    return tunl0(lab, "a1"), inside(lab, "ip", "route"), inside(lab, "nft", "list", "ruleset")


def inside(lab: Lab, *words: str) -> str:
    command = ("ip", "netns", "exec", lab.names.of("a1"), *words)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def bulk(lab: Lab, source: str, destination: str, address: str) -> str:
    """The rate that iperf3 measures in a second; a failure shows its report."""
    prefix = ("ip", "netns", "exec")
    server = ("iperf3", "--server", "--one-off", "--bind", address)
    client = ("iperf3", "--json", "--time", "1", "--client", address)
    with subprocess.Popen((*prefix, lab.names.of(destination), *server), stdout=subprocess.DEVNULL) as listening:
        try:
            command = (*prefix, lab.names.of(source), *client)
            deadline = time.monotonic() + 30
            while True:
                run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 * SLOWNESS)
                report = json.loads(run.stdout)
                if "Connection refused" not in report.get("error", "") or time.monotonic() > deadline:
                    break
        finally:
            listening.terminate()
    assert run.returncode == 0, report
    return f"{report['end']['sum_received']['bits_per_second'] / 1e6:.0f} Mbit/s"


DAMAGE = ("ip link set tunl0 down", "ip address flush dev tunl0", "nft flush ruleset")


@pytest.mark.usefixtures("everywhere")
def test_the_modules_device_is_used_mended_and_given_back_as_it_came(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    assert drivers(lab) == dict.fromkeys(MIXED, "kernel")
    healthy = everything(lab)
    for damage in DAMAGE:
        inside(lab, *damage.split())
        wait_until(lambda: everything(lab) == healthy)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=10))
    kill(lab, "a1", signal.SIGTERM)
    command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(lab.run_dir("a1")))
    process = netns.spawn(lab.names.of("a1"), command, lab.directory / "cleanup.log")
    assert process.wait(timeout=60) == 0, (lab.directory / "cleanup.log").read_text()
    device, routes, tables = everything(lab)
    assert ("UP" in device["flags"], device.get("ifalias"), device["addr_info"], tables) == (False, None, [], "")
    assert "179" not in routes + ip(lab, "a1", "nexthop")


@pytest.mark.usefixtures("on_request")
def test_through_vxlan_the_module_takes_over_from_bpf_without_loss(lab_of: Callable[[str, str], Lab]) -> None:
    lab = lab_of("cross-subnet", f"ipip-drivers: {dict.fromkeys(MIXED, 'bpf')}")
    assert drivers(lab) == dict.fromkeys(MIXED, "bpf")
    with nothing_lost(lab):
        change(lab, "VXLANCrossSubnet")
        wait_until(lambda: over(lab, "vxlan.bgpctl"), within_s=30 * SLOWNESS)
        lab.topology = replace(lab.topology, drivers={node: {"ipip": "kernel"} for node in MIXED})
        for node in MIXED:
            kill(lab, node, signal.SIGTERM)
            lab.start_agent(node)
        change(lab, "IPIPCrossSubnet")
        wait_until(lambda: over(lab, "tunl0"), within_s=60 * SLOWNESS)
    assert drivers(lab) == dict.fromkeys(MIXED, "kernel")


@pytest.mark.usefixtures("on_request")
def test_nodes_with_the_module_and_nodes_with_bpf_understand_each_other(
    lab_of: Callable[[str, str], Lab], capfd: pytest.CaptureFixture[str]
) -> None:
    lab = lab_of("ipip-always", f"ipip-drivers: {MIXED}")
    assert drivers(lab) == MIXED
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=10))
    workloads = {workload.name: str(workload.address) for workload in lab.topology.workloads}
    answers = {
        (source, destination, size_bytes): ping(lab, source, workloads[destination], size_bytes)
        for source, destination in permutations(workloads, 2)
        for size_bytes in (SMALL_BYTES, FULL_BYTES)
    }
    passed = [case for case, answer in answers.items() if answer.returncode == 0]
    rates = [f"{source} > {to} {bulk(lab, source, to, workloads[to])}" for source, to in permutations(BULK, 2)]
    with capfd.disabled():
        print(
            f"\nipip module and BPF: {len(passed)} of {len(answers)} pings, the half of them {FULL_BYTES} bytes with DF"
        )
        print(f"iperf3: {', '.join(rates)}")
    assert passed == list(answers)
    for node in MIXED:
        ip(lab, node, "link", "delete", "tunl0")
    wait_until(lambda: drivers(lab) == MIXED)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=10))
