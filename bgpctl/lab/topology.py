"""
The parts of a lab: segments, routers, hosts, workloads and checks, around a cluster.

Refuses to know: files, and how a topology is built.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.crossing import same_subnet
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place
from bgpctl.core.fabric.workloads import mtu_bytes
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix

FABRIC: Final = "fabric"
"""The name of the namespace of all bridges; no node, router or workload can be."""
UNDERLAY_MTU_BYTES: Final = 1500
_MOST_NEIGHBOURS: Final = 500


@dataclass(frozen=True, slots=True)
class Segment:
    """An L2 segment: every address inside one of the `subnets` is on it."""

    name: str
    subnets: tuple[Prefix, ...]
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Router:
    """Forwards between segments and by its `routes`, each a prefix and its gateway; drops packets without a route."""

    name: str
    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[tuple[Prefix, Address], ...]
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Host:
    """A host outside the cluster, on one segment, whose default gateway is the router there."""

    name: str
    addresses: tuple[InterfaceAddress, ...]
    place: Place = field(compare=False)

    def address_of(self, version: int) -> Address | None:
        """Its address of one IP version."""
        return next((item.address for item in self.addresses if item.address.version == version), None)


@dataclass(frozen=True, slots=True)
class Workload:
    """A network namespace behind a node, with a host address of one IP version or of both, that of IPv4 first."""

    name: str
    node: str
    addresses: tuple[Address, ...]
    place: Place = field(compare=False)

    @property
    def address(self) -> Address:
        """The first of its addresses."""
        return self.addresses[0]

    def address_of(self, version: int) -> Address | None:
        """Its address of one IP version."""
        return next((address for address in self.addresses if address.version == version), None)


class Program(enum.Enum):
    """Another BGP daemon."""

    BIRD = "bird"
    FRR = "frr"


class SeenAs(enum.Enum):
    """Whose address a workload's packets come from, where they arrive."""

    NODE = "node"
    ITSELF = "itself"


class Scope(enum.Enum):
    """Workload packets whose two nodes are on one segment, or on different ones."""

    INSIDE = "inside"
    ACROSS = "across"


@dataclass(frozen=True, slots=True)
class PacketCheck:
    """
    All workload packets of `scope` seen at a segment or router have this shape, a word of `wire.shapes`, and there is
    at least one. With a `pool` only those to its addresses count.
    """

    name: str
    at: str
    scope: Scope
    shape: str
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class DropCheck:
    """The router dropped exactly so many packets for which it had no route."""

    name: str
    router: str
    drops: int


@dataclass(frozen=True, slots=True)
class AbsenceCheck:
    """None of these is to be seen anywhere: `tcp-179` on a segment, `exabgp` as a process on a node."""

    name: str
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """Packets of a workload to another or to a host arrive as from its node or from itself, and are answered."""

    name: str
    source: str
    destination: str
    seen_as: SeenAs


@dataclass(frozen=True, slots=True)
class SwitchCheck:
    """
    While every pair of workloads talks, the pool gets another encapsulation, and exactly so many packets are lost. It
    comes after the others, in the order of the file.
    """

    name: str
    pool: str
    encapsulation: str
    lost: int


Check = PacketCheck | DropCheck | AbsenceCheck | SourceCheck | SwitchCheck


@dataclass(frozen=True, slots=True)
class Topology:
    """
    A lab as it is described. `drivers`: by node, and by the name of an encapsulation, the driver that its agent is
    started with; `runs`: the nodes that have another BGP daemon instead of an agent, and the routers that have one;
    `stores`: the hosts with the members of an etcd that agents read instead of the file.
    """

    name: str
    file: Path
    intent: Intent
    segments: tuple[Segment, ...]
    routers: tuple[Router, ...]
    hosts: tuple[Host, ...]
    workloads: tuple[Workload, ...]
    checks: tuple[Check, ...]
    drivers: Mapping[str, Mapping[str, str]]
    runs: Mapping[str, Program] = field(default_factory=dict)
    stores: tuple[str, ...] = ()

    @property
    def agents(self) -> tuple[Node, ...]:
        """The nodes that are ours to run."""
        return tuple(node for node in self.intent.nodes if node.name not in self.runs)

    def driver_options(self, node: str) -> tuple[str, ...]:
        """The options of its agent: `--NAME-driver`, `DRIVER`."""
        drivers = self.drivers.get(node, {}).items()
        return tuple(word for name, driver in drivers for word in (f"--{name}-driver", driver))

    @property
    def prover_options(self) -> tuple[str, ...]:
        """
        The options of every agent that keep a large lab usable: its nodes share the kernel's one neighbour table, with
        room for 1,024 entries (gc_thresh3, arp(7)), and a node that probes its neighbours has an entry for each.
        """
        nodes = self.intent.nodes
        entries = sum(same_subnet(one, other.address.address) for one in nodes for other in nodes if one is not other)
        return ("--prove-every", "0") if entries > _MOST_NEIGHBOURS else ()

    def segment_of(self, address: Address) -> Segment | None:
        """The segment that the address is on."""
        holding = (s for s in self.segments if any(subnet.holds(address) for subnet in s.subnets))
        return next(holding, None)

    def gateway_of(self, address: Address) -> Address | None:
        """The address, of the same IP version, of the first router on the segment that `address` is on."""
        segment = self.segment_of(address)
        routers = (item.address for router in self.routers for item in router.addresses)
        nearby = (router for router in routers if segment is not None and self.segment_of(router) == segment)
        return next((router for router in nearby if router.version == address.version), None)

    def mtu_bytes(self, workload: Workload) -> int:
        """The addresses in the file, or those that fit the encapsulation of each of its addresses' pools."""
        return mtu_bytes(self.intent, workload.addresses, UNDERLAY_MTU_BYTES)
