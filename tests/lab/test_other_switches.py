"""Whatever else can change about a tunnel changes under traffic too, there and back, and nothing is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from bgpctl import client
from bgpctl.lab import space
from bgpctl.lab.lab import Lab
from tests.lab.test_switch import nothing_lost
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


def nothing_left_to_do(lab: Lab) -> bool:
    text = json.dumps([lab.topology.file.read_text()])
    sockets = [lab.run_dir(node.name) / client.SOCKET for node in lab.topology.intent.nodes]
    plans = [client.read(socket, "plan", content=text)["nodes"][0] for socket in sockets]
    return not any(plan["steps"] for plan in plans) and all(summary["converged"] for summary in lab.summaries())


def follows(lab: Lab, text: str) -> None:
    """Have the file say so, and wait until every node does."""
    lab.topology.file.write_text(text)
    wait_until(lambda: nothing_left_to_do(lab), within_s=30 * SLOWNESS)


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
    topology, edits = CHANGES[what]
    lab = lab_of(topology)
    before = after = lab.topology.file.read_text()
    for old, new in edits:
        after, count = re.subn(old, new, after, flags=re.MULTILINE)
        assert count
    with nothing_lost(lab):
        follows(lab, after)
        follows(lab, before)
