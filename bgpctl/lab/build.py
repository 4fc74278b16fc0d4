"""
A topology as network namespaces: one per node, router and workload, and one that holds all bridges.

No link ends in the host's own namespace, so nothing can leak to it and deleting the namespaces deletes everything.

Refuses to know: agents, packets.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpctl.lab import space
from bgpctl.lab.topology import FABRIC, Topology, Workload

_GATEWAY: Final = "169.254.1.1"
"""Every workload's default gateway; the node answers for it at the MAC below. Calico's way."""
_HOST_MAC: Final = "ee:ee:ee:ee:ee:ee"
_LONGEST_LAB: Final = 60
_LAB_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_LONGEST_LAB - 1}}}")
_QUIET: Final = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a bridge: who is behind it, on which segment."""

    owner: str
    segment: str


@dataclass(frozen=True, slots=True)
class Names:
    """
    What the namespaces of one lab are called: `bgpctl-LAB.PART`.

    The name of a lab has no dot, so that `bgpctl-LAB.` begins those of this lab and of no other, such as LAB-2.

    Raises:
        ValueError: it is no name for a lab; among others, one that would be a path.
    """

    lab: str

    def __post_init__(self) -> None:
        if not _LAB_NAME.fullmatch(self.lab):
            raise ValueError(f"{self.lab!r} is no name for a lab: letters, digits, - and _, {_LONGEST_LAB} at most")

    @classmethod
    def of_file(cls, file: Path, suffix: str = "") -> Names:
        """The names of a lab that is called as its file is, as far as it can be."""
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", file.stem).lstrip("-_")
        return cls((stem or "lab")[: _LONGEST_LAB - len(suffix)] + suffix)

    @property
    def prefix(self) -> str:
        return f"bgpctl-{self.lab}."

    @property
    def fabric(self) -> str:
        return self.of(FABRIC)

    def of(self, part: str) -> str:
        """The namespace of a node, router or workload."""
        return f"{self.prefix}{part}"


@dataclass(slots=True)
class _Plan:
    """ip(8) commands, collected per namespace."""

    names: Names
    root: list[str] = field(default_factory=list)
    per: dict[str, list[str]] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)

    def within(self, part: str, *lines: str) -> None:
        self.per.setdefault(part, []).extend(lines)

    def attach(self, part: str, device: str, segment: str, bridge: str) -> None:
        """A cable from a device of `part` to a bridge."""
        port = f"p{len(self.ports)}"
        self.ports[port] = Port(part, segment)
        peer = f"peer name {port} netns {self.names.fabric}"
        self.root.append(f"link add {device} netns {self.names.of(part)} type veth {peer}")
        self.within(FABRIC, f"link set {port} master {bridge} up")
        self.within(part, f"link set {device} up")


def build(topology: Topology, names: Names) -> dict[str, Port]:
    """
    Make all namespaces, links, addresses and routes. Returns who is behind each port in the fabric's namespace.

    Raises:
        RuntimeError: ip(8) refused; what was made so far stays for `tear_down`.
    """
    parts = [
        FABRIC,
        *(router.name for router in topology.routers),
        *(node.name for node in topology.intent.nodes),
        *(workload.name for workload in topology.workloads),
    ]
    space.ip([f"netns add {names.of(part)}" for part in parts])
    for part in parts:
        space.set_sysctls(names.of(part), _QUIET)
    plan = _Plan(names)
    for part in parts:
        plan.within(part, "link set lo up")
    bridges = {segment.name: f"br{index}" for index, segment in enumerate(topology.segments)}
    for bridge in bridges.values():
        plan.within(FABRIC, f"link add {bridge} type bridge", f"link set {bridge} up")
    _routers(topology, plan, bridges)
    _nodes(topology, plan, bridges)
    for workload in topology.workloads:
        _workload(topology, plan, workload)
    space.ip(plan.root)
    for part, lines in plan.per.items():
        space.ip(lines, names.of(part))
    for router in topology.routers:
        space.set_sysctls(names.of(router.name), {"net/ipv4/ip_forward": "1"})
    return plan.ports


def _routers(topology: Topology, plan: _Plan, bridges: dict[str, str]) -> None:
    for router in topology.routers:
        for index, address in enumerate(router.addresses):
            segment = topology.segment_of(address.address)
            if segment:
                plan.attach(router.name, f"eth{index}", segment.name, bridges[segment.name])
                plan.within(router.name, f"address add {address} dev eth{index}")


def _nodes(topology: Topology, plan: _Plan, bridges: dict[str, str]) -> None:
    for node in topology.intent.nodes:
        segment = topology.segment_of(node.address.address)
        if segment is None:
            continue
        plan.attach(node.name, "eth0", segment.name, bridges[segment.name])
        plan.within(node.name, f"address add {node.address} dev eth0")
        gateway = topology.gateway_of(node)
        if gateway:
            plan.within(node.name, f"route add default via {gateway} dev eth0")


def _workload(topology: Topology, plan: _Plan, workload: Workload) -> None:
    device = host_device(workload.name)
    mtu_bytes = topology.mtu_bytes(workload)
    end = f"netns {plan.names.of(workload.name)}"
    peer = f"peer name {device} netns {plan.names.of(workload.node)}"
    plan.root.append(f"link add eth0 mtu {mtu_bytes} {end} type veth {peer} mtu {mtu_bytes}")
    plan.within(
        workload.node,
        f"link set {device} address {_HOST_MAC} up",
        f"route add {workload.address}/32 dev {device} scope link proto static",
    )
    plan.within(
        workload.name,
        f"address add {workload.address}/32 dev eth0",
        "link set eth0 up",
        f"route add {_GATEWAY} dev eth0 scope link",
        f"route add default via {_GATEWAY} dev eth0",
        # Nobody needs to answer ARP for the gateway then; proxy ARP would delay the first packet.
        f"neighbour replace {_GATEWAY} lladdr {_HOST_MAC} dev eth0 nud permanent",
    )


def host_device(workload: str) -> str:
    """The node's end of a workload's cable; at most 15 characters."""
    return "cali" + hashlib.sha256(workload.encode()).hexdigest()[:11]


def tear_down(names: Names) -> None:
    """Delete every namespace of the lab and end what runs inside, however far it was built."""
    for name in space.names(names.prefix):
        space.delete(name)


def dropped(names: Names, router: str) -> int:
    """How many packets the router had no route for (InNoRoutes of IpExt, /proc/net/netstat)."""
    text = space.inside(names.of(router), lambda: Path("/proc/thread-self/net/netstat").read_text())
    keys, values = (line.split() for line in text.splitlines() if line.startswith("IpExt:"))
    return int(values[keys.index("InNoRoutes")])
