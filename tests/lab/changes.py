"""What else can change about a running cluster, beside the encapsulation of a pool: edits of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bgpctl import client
from bgpctl.lab import space
from bgpctl.lab.lab import Lab

_ADDRESS: Final = (("a1: {address: 10.0.0.1/24", "a1: {address: 10.0.0.11/24"),)


class Change(NamedTuple):
    """What to replace by what in a topology's file: regular expressions. `beforehand` is for ip(8) on node a1."""

    topology: str
    edits: Sequence[tuple[str, str]]
    beforehand: str = ""


CHANGES: Final = {
    "VNI": Change("vxlan", (("^calico_backend", "vxlanVNI: 4097\ncalico_backend"),)),
    "VXLAN port": Change("vxlan", (("^calico_backend", "vxlanPort: 4790\ncalico_backend"),)),
    "VNI and port": Change(
        "vxlan-cross-subnet", (("^calico_backend", "vxlanVNI: 1\nvxlanPort: 8472\ncalico_backend"),)
    ),
    "backend": Change("cross-subnet", (("backend: bird", "backend: vxlan"), ("IPIPCrossSubnet", "VXLANCrossSubnet"))),
    "masks": Change("one-rack", (("IPIP}", "IPIPCrossSubnet}"), (r"(address: 10\.0\.0\.\d)/24", r"\1/31"))),
    "IPIP tunnel addresses": Change(
        "cross-subnet", ((r"blocks: \[10.244.(\d)", r"ipipTunnelAddress: 10.244.\1.9, blocks: [10.244.\1"),)
    ),
    "VXLAN tunnel addresses": Change(
        "vxlan", ((r"blocks: \[10.244.(\d)", r"vxlanTunnelAddress: 10.244.\1.9, blocks: [10.244.\1"),)
    ),
    "MTU": Change("vxlan", (("^calico_backend", "mtu: 1400\ncalico_backend"),)),
    # The node has both addresses while the others change.
    "address with VXLAN": Change("vxlan", _ADDRESS, "address add 10.0.0.11/24 dev eth0"),
    "address with both": Change("vxlan-cross-subnet", _ADDRESS, "address add 10.0.0.11/24 dev eth0"),
    "address with IPIP": Change("ipip-always", _ADDRESS, "address add 10.0.0.11/24 dev eth0"),
}


def changed(text: str, edits: Sequence[tuple[str, str]]) -> str:
    """The file with all edits; each has to find something."""
    for old, new in edits:
        text, count = re.subn(old, new, text, flags=re.MULTILINE)
        assert count, old
    return text


def prepared(lab: Lab, change: Change) -> None:
    """Do what has to be done by hand first."""
    if change.beforehand:
        space.ip([change.beforehand], lab.names.of("a1"))


def left_to_do(lab: Lab, node: str, text: str) -> dict[str, Any]:
    """The node's operations, by stage, for what the file shall say."""
    plan = client.read(lab.run_dir(node) / client.SOCKET, "plan", content=json.dumps([text]))["nodes"][0]
    return {step["stage"]: step["ops"] for step in plan["steps"]}


def concerned(lab: Lab, text: str) -> list[str]:
    """Who has something to do for it."""
    return [node.name for node in lab.topology.intent.nodes if left_to_do(lab, node.name, text)]


def nothing_left_to_do(lab: Lab) -> bool:
    """Whether every node has what the lab's file says, and waits for nobody."""
    return not concerned(lab, lab.topology.file.read_text()) and all(s["converged"] for s in lab.summaries())
