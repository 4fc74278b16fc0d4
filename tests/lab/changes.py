"""What can change about a running cluster: the encapsulation of a pool, and other edits of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from bgpctl import client
from bgpctl.lab import space
from bgpctl.lab.lab import Lab
from bgpctl.lab.switch import tour

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
    # The first IP in IP of these nodes, and their first BGP.
    "backend to BGP": Change(
        "vxlan-cross-subnet", (("backend: vxlan", "backend: bird"), ("VXLANCrossSubnet", "IPIPCrossSubnet"))
    ),
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


REFLECTORS: Final = frozenset({"a2", "b2"})
_REFLECTED: Final = """
mesh: false
peers:
  reflectors: {nodes: all(), peerSelector: has(reflector)}
"""


def reflected(text: str) -> str:
    """The file of a mesh, with REFLECTORS instead; such a change leaves the kernel as it is."""
    for number, node in enumerate(sorted(REFLECTORS), start=1):
        text, count = re.subn(
            f"  {node}: {{", f"  {node}: {{clusterID: 10.255.0.{number}, labels: {{reflector: x}}, ", text
        )
        assert count, node
    return text + _REFLECTED


def sessions_are(lab: Lab, wanted: Mapping[str, AbstractSet[str]]) -> bool:
    """Whether these nodes have sessions with just these, all of them up, and every node has what it wants."""
    rows = {node: lab.read(node, "peers")["peers"] for node in wanted}
    established = {node: {row["name"] for row in rows[node] if row["established"]} for node in wanted}
    return all({row["name"] for row in rows[node]} == established[node] == wanted[node] for node in wanted) and all(
        summary["converged"] for summary in lab.summaries()
    )


TUNNELLED: Final = ("IPIP", "IPIPCrossSubnet", "VXLAN", "VXLANCrossSubnet")
TOURS: Final = {
    "cross-subnet": tuple(tour(TUNNELLED, start="IPIPCrossSubnet"))[1:],
    "one-rack": ("None", "IPIPCrossSubnet", "None", "VXLAN", "None", "VXLANCrossSubnet", "None", "IPIP"),
}
"""Together they make every ordered pair, and end with IP in IP; None needs an underlay that knows the way."""


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
