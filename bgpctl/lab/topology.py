"""
What a lab consists of: segments, routers, workloads and checks, around a cluster.

Refuses to know: files, and how a topology is built.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpctl.core.cluster import Encapsulation, Intent, Node, Place
from bgpctl.core.fabric import ipip, vxlan
from bgpctl.core.model import Address, InterfaceAddress, Prefix

FABRIC: Final = "fabric"
"""What the namespace of all bridges is called; no node, router or workload can be."""
UNDERLAY_MTU_BYTES: Final = 1500
_OVERHEAD_BYTES: Final = {
    Encapsulation.DIRECT: 0,
    Encapsulation.IPIP: ipip.OVERHEAD_BYTES,
    Encapsulation.VXLAN: vxlan.OVERHEAD_BYTES,
}


@dataclass(frozen=True, slots=True)
class Segment:
    """An L2 segment: nodes and routers with an address inside `subnet` are on it."""

    name: str
    subnet: Prefix
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Router:
    """Forwards between segments and knows nothing else: what it has no route for it drops."""

    name: str
    addresses: tuple[InterfaceAddress, ...]
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Workload:
    """A network namespace behind a node, with one /32."""

    name: str
    node: str
    address: Address
    place: Place = field(compare=False)


class Shape(enum.Enum):
    """What a workload packet looks like on the wire."""

    BARE = "bare"
    IPIP = "ipip"
    VXLAN = "vxlan"


class Scope(enum.Enum):
    """Workload packets whose two nodes are on one segment, or on different ones."""

    INSIDE = "inside"
    ACROSS = "across"


@dataclass(frozen=True, slots=True)
class PacketCheck:
    """All workload packets of `scope` seen at a segment or router have this shape, and there is at least one."""

    name: str
    at: str
    scope: Scope
    shape: Shape


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


Check = PacketCheck | DropCheck | AbsenceCheck


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab as it is described. `ipip_drivers`: what a node's agent is told to do IP in IP with, where not `auto`."""

    name: str
    file: Path
    intent: Intent
    segments: tuple[Segment, ...]
    routers: tuple[Router, ...]
    workloads: tuple[Workload, ...]
    checks: tuple[Check, ...]
    ipip_drivers: Mapping[str, str]

    def segment_of(self, address: Address) -> Segment | None:
        """The segment that the address is on."""
        return next((segment for segment in self.segments if segment.subnet.holds(address)), None)

    def gateway_of(self, node: Node) -> Address | None:
        """The address of the first router on the node's segment."""
        segment = self.segment_of(node.address.address)
        routers = (item.address for router in self.routers for item in router.addresses)
        return next((address for address in routers if segment and segment.subnet.holds(address)), None)

    def mtu_bytes(self, workload: Workload) -> int:
        """What the file says, or what fits the encapsulation of the workload's pool."""
        pool = self.intent.pool_of(workload.address.host_prefix)
        return self.intent.workload_mtu or UNDERLAY_MTU_BYTES - (_OVERHEAD_BYTES[pool.encapsulation] if pool else 0)
