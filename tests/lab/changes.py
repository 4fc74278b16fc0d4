"""Changes of a running cluster: the encapsulation of a pool, and other edits of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from bgpctl import client
from bgpctl.core.fabric.ipip import LINK as IPIP_LINK
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from bgpctl.lab.rewrite import with_encapsulation
from bgpctl.lab.switch import tour

_FORMER, _NEW, _NETWORK = "10.0.0.1", "10.0.0.11", "10.0.0.0/24"
_ADDRESS: Final = ((f"a1: {{address: {_FORMER}/24", f"a1: {{address: {_NEW}/24"),)


class Change(NamedTuple):
    """Replacements in a topology's file: regular expressions. Node a1 may have its address to change too."""

    topology: str
    edits: Sequence[tuple[str, str]]
    addressed: bool = False


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
    "address with VXLAN": Change("vxlan", _ADDRESS, addressed=True),
    "address with both": Change("vxlan-cross-subnet", _ADDRESS, addressed=True),
    "address with IPIP": Change("ipip-always", _ADDRESS, addressed=True),
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
    """True if these nodes have sessions with just these, all of them up, and every node has what it wants."""
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
"""Together they make every ordered pair, and end with IP in IP; None needs an underlay with routes to the blocks."""


def changed(text: str, edits: Sequence[tuple[str, str]]) -> str:
    """The file with all edits; each has to find something."""
    for old, new in edits:
        text, count = re.subn(old, new, text, flags=re.MULTILINE)
        assert count, old
    return text


def prepared(lab: Lab, change: Change, *, back: bool = False) -> None:
    """
    The steps by hand before: the node has both addresses for as long as others use either. The new one is no secondary
    address of the former, or the kernel would remove it, or take it away for a moment, together with that.
    """
    if change.addressed:
        netns.ip([f"address add {_FORMER if back else _NEW}/32 dev eth0"], lab.names.of("a1"))


def may_be_finished(lab: Lab, change: Change, *, back: bool = False) -> bool:
    """
    True if it is time for `finished`. With the ipip module the kernel sends from the former address until then, and
    that is what the others wait for, and for nothing else.
    """
    if nothing_left_to_do(lab):
        return True
    if not change.addressed or driver(lab) != "kernel":
        return False
    waited = f"source {_NEW if back else _FORMER} of tunl0 is kept until packets from a1 arrive by its replacement"
    return {problem for summary in lab.summaries() for problem in summary["problems"]} == {waited}


def finished(lab: Lab, change: Change, *, back: bool = False) -> None:
    """The steps by hand after: nothing is sent from the former address any more, and it goes."""
    if change.addressed:
        former, new = (_NEW, _FORMER) if back else (_FORMER, _NEW)
        commands = (
            f"route change {_NETWORK} dev eth0 proto kernel scope link src {new}",
            f"address del {former}/24 dev eth0",
            f"address add {new}/24 dev eth0",
            f"address del {new}/32 dev eth0",
        )
        netns.ip(commands, lab.names.of("a1"))


def driver(lab: Lab) -> str:
    """The driver of IP in IP on node a1; empty where there is none."""
    tunnels = lab.read("a1", "tunnels")["tunnels"]
    return next((item["driver"] for item in tunnels if item["name"] == IPIP_LINK), "")


def left_to_do(lab: Lab, node: str, text: str) -> dict[str, Any]:
    """The node's operations, by stage, for this content of the file."""
    plan = client.read(lab.run_dir(node) / client.SOCKET, "plan", content=json.dumps([text]))["nodes"][0]
    return {step["stage"]: step["ops"] for step in plan["steps"]}


def concerned(lab: Lab, text: str) -> list[str]:
    """The nodes that have operations for it."""
    return [node.name for node in lab.topology.intent.nodes if left_to_do(lab, node.name, text)]


def nothing_left_to_do(lab: Lab) -> bool:
    """True if every node has applied the lab's file, and waits for no other node."""
    return not concerned(lab, lab.topology.file.read_text()) and all(s["converged"] for s in lab.summaries())


def change(lab: Lab, encapsulation: str, pool: str = "blue") -> None:
    file = lab.topology.file
    file.write_text(with_encapsulation(file.read_text(), str(file), pool, encapsulation))


def problems(lab: Lab, node: str) -> list[str]:
    return list(lab.read(node, "summary")["problems"])


def encapsulations(lab: Lab, *nodes: str) -> set[str]:
    """Of the routes between the racks, as they are installed."""
    rows = [row for node in nodes for row in lab.read(node, "routes")["routes"] if row["dev"]]
    return {row["dev"] for row in rows if row["dev"] != "eth0"}


def over(lab: Lab, link: str) -> bool:
    return all(s["converged"] for s in lab.summaries()) and encapsulations(lab, "a1", "b2") == {link}
