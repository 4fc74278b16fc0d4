"""
A topology as network namespaces: one per node, router, host and workload, and one that holds all bridges.

No link ends in the host's own namespace, so nothing can leak to it and deleting the namespaces deletes everything.

Refuses to know: agents, packets, how a workload is wired (attach/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpctl.attach.connect import Cable, connect
from bgpctl.attach.wiring import Wiring, device_of
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.lab import netns
from bgpctl.lab.runtime import Namespaces, Runtime
from bgpctl.lab.topology import FABRIC, Topology, Workload

_NAMESPACES: Final = Namespaces()
_EVERYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}
_LONGEST_LAB: Final = 60
_LAB_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_LONGEST_LAB - 1}}}")
_QUIET: Final = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
_WITH_IPV6: Final = {
    f"net/ipv6/conf/{which}/{key}": "0"
    for which in ("all", "default")
    for key in ("disable_ipv6", "accept_dad", "accept_ra")
}
"""Addresses are usable at once, and no router solicitation is sent."""
_FORWARDING: Final = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a bridge: the part behind it, and its segment."""

    owner: str
    segment: str


@dataclass(frozen=True, slots=True)
class Names:
    """
    Names of the namespaces of one lab: `bgpctl-LAB.PART`.

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


def build(topology: Topology, names: Names, runtime: Runtime = _NAMESPACES) -> dict[str, Port]:
    """
    Make all parts, links, addresses and routes. Returns the part behind each port in the fabric's namespace.

    Raises:
        RuntimeError: ip(8) or the runtime failed; the parts made so far stay for `tear_down`.
    """
    parts = [
        FABRIC,
        *(router.name for router in topology.routers),
        *(node.name for node in topology.intent.nodes),
        *(host.name for host in topology.hosts),
        *(workload.name for workload in topology.workloads),
    ]
    runtime.make(topology, names.prefix, parts)
    with_ipv6 = _with_ipv6(topology)
    for part in parts:
        netns.set_sysctls(names.of(part), _QUIET | _WITH_IPV6 if part in with_ipv6 else _QUIET)
    plan = _Plan(names)
    for part in parts:
        plan.within(part, "link set lo up")
    bridges = {segment.name: f"br{index}" for index, segment in enumerate(topology.segments)}
    for bridge in bridges.values():
        plan.within(FABRIC, f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up")
    _routers(topology, plan, bridges)
    for node in topology.intent.nodes:
        _station(topology, plan, bridges, node.name, [own for own in (node.address, node.address6) if own])
    for host in topology.hosts:
        _station(topology, plan, bridges, host.name, host.addresses)
    netns.ip(plan.root)
    for part, lines in plan.per.items():
        netns.ip(lines, names.of(part))
    connect([_cable(topology, names, workload) for workload in topology.workloads])
    # An agent sees to that for itself.
    for name in {*topology.runs, *(router.name for router in topology.routers)}:
        netns.set_sysctls(names.of(name), _FORWARDING)
    return plan.ports


def _with_ipv6(topology: Topology) -> set[str]:
    """The parts that have an IPv6 address."""
    stations = [(node.name, [own for own in (node.address, node.address6) if own]) for node in topology.intent.nodes]
    stations += [(router.name, list(router.addresses)) for router in topology.routers]
    stations += [(host.name, list(host.addresses)) for host in topology.hosts]
    found = {name for name, addresses in stations if any(own.address.version == 6 for own in addresses)}
    return found | {workload.name for workload in topology.workloads if workload.address_of(6)}


def _routers(topology: Topology, plan: _Plan, bridges: dict[str, str]) -> None:
    for router in topology.routers:
        devices: dict[str, str] = {}
        for address in router.addresses:
            segment = topology.segment_of(address.address)
            if segment is None:
                continue
            if segment.name not in devices:
                devices[segment.name] = f"eth{len(devices)}"
                plan.attach(router.name, devices[segment.name], segment.name, bridges[segment.name])
            plan.within(router.name, _address(address, devices[segment.name]))
        plan.within(router.name, *(f"route add {prefix} via {gateway}" for prefix, gateway in router.routes))


def _station(
    topology: Topology, plan: _Plan, bridges: dict[str, str], name: str, addresses: Sequence[InterfaceAddress]
) -> None:
    """A node or host on one segment, whose default gateway is the router there."""
    segment = topology.segment_of(addresses[0].address) if addresses else None
    if segment is None:
        return
    plan.attach(name, "eth0", segment.name, bridges[segment.name])
    plan.within(name, *(_address(address, "eth0") for address in addresses))
    for address in addresses:
        gateway = topology.gateway_of(address.address)
        if gateway:
            plan.within(name, f"route add {_EVERYWHERE[gateway.version]} via {gateway} dev eth0")


def _address(address: InterfaceAddress, device: str) -> str:
    unasked = " nodad" if address.address.version == 6 else ""
    return f"address add {address} dev {device}{unasked}"


def _cable(topology: Topology, names: Names, workload: Workload) -> Cable:
    wiring = Wiring(device_of(workload.name), tuple(workload.addresses), topology.mtu_bytes(workload))
    return Cable(wiring, names.of(workload.node), names.of(workload.name))


def tear_down(names: Names, counted: Callable[[int, int], None] = lambda _done, _total: None) -> None:
    """
    Delete every namespace of the lab and end what runs inside, however far it was built. `counted` is called with the
    number of those that are gone, and with their total.
    """
    found = netns.names(names.prefix)
    for done, name in enumerate(found):
        counted(done, len(found))
        netns.delete(name)


def dropped(names: Names, router: str) -> int:
    """How many packets of either IP version the router had no route for (InNoRoutes of IpExt, Ip6InNoRoutes)."""
    return netns.inside(names.of(router), lambda: _dropped4() + _dropped6())


def _dropped4() -> int:
    text = Path("/proc/thread-self/net/netstat").read_text()
    keys, values = (line.split() for line in text.splitlines() if line.startswith("IpExt:"))
    return int(values[keys.index("InNoRoutes")])


def _dropped6() -> int:
    try:
        text = Path("/proc/thread-self/net/snmp6").read_text()
    except FileNotFoundError:
        return 0  # no IPv6 here
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Ip6InNoRoutes"))
