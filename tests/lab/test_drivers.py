"""The ipip module where there is one, alone and beside nodes that do IP in IP by BPF. `make vm` brings a kernel with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bgpctl.lab import build, probe, space
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.contract.kernel_rig import own_namespace
from tests.lab.conftest import CONVERGE_S, TOPOLOGIES, topology, wait_until
from tests.lab.test_ipip import ping
from tests.lab.test_resilience import ip, kill

MIXED = {"a1": "kernel", "a2": "bpf", "b1": "kernel", "b2": "bpf"}


def _module_brings() -> tuple[bool, bool]:
    """Whether the module works here, and whether it puts a tunl0 into every new namespace."""
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


@pytest.mark.usefixtures("everywhere")
def test_the_module_is_used_and_cleanup_gives_its_device_back_as_it_came(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    assert drivers(lab) == dict.fromkeys(MIXED, "kernel")
    kill(lab, "a1", signal.SIGTERM)
    command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(lab.run_dir("a1")))
    process = space.spawn(lab.names.of("a1"), command, lab.directory / "cleanup.log")
    assert process.wait(timeout=60) == 0, (lab.directory / "cleanup.log").read_text()
    left = tunl0(lab, "a1")
    assert ("UP" in left["flags"], left.get("ifalias"), left["addr_info"]) == (False, None, [])
    tables = subprocess.run(
        ("ip", "netns", "exec", lab.names.of("a1"), "nft", "list", "ruleset"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert tables.stdout == ""
    assert "179" not in ip(lab, "a1", "route") + ip(lab, "a1", "nexthop")


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("damage", [("link", "set", "tunl0", "down"), ("address", "flush", "dev", "tunl0")])
def test_damage_to_the_modules_device_is_repaired(lab_of: Callable[[str], Lab], damage: tuple[str, ...]) -> None:
    lab = lab_of("cross-subnet")
    healthy = (tunl0(lab, "a1"), ip(lab, "a1", "route"))
    ip(lab, "a1", *damage)
    wait_until(lambda: (tunl0(lab, "a1"), ip(lab, "a1", "route")) == healthy)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=10))


@pytest.mark.usefixtures("on_request")
def test_nodes_with_the_module_and_nodes_with_bpf_understand_each_other() -> None:
    file = TOPOLOGIES / "ipip-always.yaml"
