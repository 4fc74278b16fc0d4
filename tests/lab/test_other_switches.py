"""Whatever else can change about a tunnel changes under traffic too, there and back, and nothing is lost."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from bgpctl import client
from bgpctl.lab import space
from bgpctl.lab.lab import Lab
from tests.lab.conftest import CONVERGE_S
from tests.lab.test_resilience import kill
from tests.lab.test_switch import nothing_lost, problems
from tests.waiting import SLOWNESS, wait_until

CHANGES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "VNI": ("vxlan", (("^calico_backend", "vxlanVNI: 4097\ncalico_backend"),)),
    "VXLAN port": ("vxlan", (("^calico_backend", "vxlanPort: 4790\ncalico_backend"),)),
    "VNI and port": ("vxlan-cross-subnet", (("^calico_backend", "vxlanVNI: 1\nvxlanPort: 8472\ncalico_backend"),)),
    "backend": ("cross-subnet", (("backend: bird", "backend: vxlan"), ("IPIPCrossSubnet", "VXLANCrossSubnet"))),
    "masks": ("one-rack", (("IPIP}", "IPIPCrossSubnet}"), (r"(address: 10\.0\.0\.\d)/24", r"\1/31"))),
    "IPIP tunnel addresses": (
        "cross-subnet",
        ((r"blocks: \[10.244.(\d)", r"ipipTunnelAddress: 10.244.\1.9, blocks: [10.244.\1"),),
    ),
    "VXLAN tunnel addresses": (
        "vxlan",
        ((r"blocks: \[10.244.(\d)", r"vxlanTunnelAddress: 10.244.\1.9, blocks: [10.244.\1"),),
    ),
    "MTU": ("vxlan", (("^calico_backend", "mtu: 1400\ncalico_backend"),)),
}
"""The topology, and what to write for what."""


def left_to_do(lab: Lab, node: str, text: str) -> dict[str, Any]:
    """The node's operations, by stage, for what the file shall say."""
    plan = client.read(lab.run_dir(node) / client.SOCKET, "plan", content=json.dumps([text]))["nodes"][0]
    return {step["stage"]: step["ops"] for step in plan["steps"]}


def concerned(lab: Lab, text: str) -> list[str]:
    """Who has something to do for it."""
    return [node.name for node in lab.topology.intent.nodes if left_to_do(lab, node.name, text)]


def nothing_left_to_do(lab: Lab) -> bool:
    return not concerned(lab, lab.topology.file.read_text()) and all(s["converged"] for s in lab.summaries())


def follows(lab: Lab, text: str) -> None:
    """Have the file say so, and wait until every node does."""
    lab.topology.file.write_text(text)
    wait_until(lambda: nothing_left_to_do(lab), within_s=30 * SLOWNESS)


def follow_one_late(lab: Lab, text: str) -> None:
    """One node reads the file only once the others have done what they can without it."""
    *others, late = concerned(lab, text)
    untouched = {node: left_to_do(lab, node, text) for node in others}

    def has_done_what_it_can(node: str) -> bool:
        left, waiting = left_to_do(lab, node, text), problems(lab, node)
        begun = left != untouched[node] or bool(waiting)
        return begun and "prepare" not in left and all(late in p for p in waiting if p.startswith("traffic to"))

    lab.agents[late].send_signal(signal.SIGSTOP)
    try:
        lab.topology.file.write_text(text)
        wait_until(lambda: all(map(has_done_what_it_can, others)), within_s=30)
    finally:
        lab.agents[late].send_signal(signal.SIGCONT)
    follows(lab, text)


def follow_one_killed(lab: Lab, text: str) -> None:
    """The agent of one node ends once it has begun, and another one finds what it left."""
    node = concerned(lab, text)[0]
    untouched = left_to_do(lab, node, text)
    lab.topology.file.write_text(text)
    wait_until(lambda: left_to_do(lab, node, text) != untouched)
    kill(lab, node, signal.SIGKILL)
    lab.start_agent(node)
    assert lab.wait(CONVERGE_S)
    follows(lab, text)


@pytest.mark.parametrize("topology", ["vxlan", "vxlan-cross-subnet", "ipip-always"])
def test_a_node_gets_another_address_on_the_underlay_without_loss(lab_of: Callable[[str], Lab], topology: str) -> None:
    """The node has both while the others change."""
    lab = lab_of(topology)
    space.ip(["address add 10.0.0.11/24 dev eth0"], lab.names.of("a1"))
    before = lab.topology.file.read_text()
    with nothing_lost(lab):
        follows(lab, before.replace("a1: {address: 10.0.0.1/24", "a1: {address: 10.0.0.11/24"))
        follows(lab, before)


@pytest.mark.parametrize("what", CHANGES)
def test_it_changes_there_and_back_without_loss(lab_of: Callable[[str], Lab], what: str) -> None:
    """By all at once, with one that hears of it late, and with one whose agent is killed meanwhile."""
    topology, edits = CHANGES[what]
    lab = lab_of(topology)
    before = after = lab.topology.file.read_text()
    for old, new in edits:
        after, count = re.subn(old, new, after, flags=re.MULTILINE)
        assert count
    with nothing_lost(lab):
        follows(lab, after)
        follow_one_late(lab, before)
        follow_one_killed(lab, after)
