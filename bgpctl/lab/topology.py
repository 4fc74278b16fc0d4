"""
Lab files: a cluster file with `segments`, `routers`, `workloads`, `checks` and `ipip-drivers` beside the cluster.

Refuses to know: how a topology is built.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpctl.core.fabric import ipip, vxlan
from bgpctl.core.intent import read
from bgpctl.core.intent.draft import Located, located
from bgpctl.core.intent.fields import Fields, Problems, parse_interface, scalar
from bgpctl.core.intent.tree import Mapping as MappingTree
from bgpctl.core.intent.tree import Tree
from bgpctl.core.model import (
    Address,
    Encapsulation,
    Intent,
    InterfaceAddress,
    Node,
    Place,
    Prefix,
    Problem,
)
from bgpctl.kernel.ipip import DRIVERS
from bgpctl.store.yaml import BadYaml, documents

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


@dataclass(frozen=True, slots=True)
class Router:
    """Forwards between segments and knows nothing else: what it has no route for it drops."""

    name: str
    addresses: tuple[InterfaceAddress, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """A network namespace behind a node, with one /32."""

    name: str
    node: str
    address: Address


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
        """What fits the encapsulation of the workload's pool."""
        pool = self.intent.pool_of(workload.address.host_prefix)
        return UNDERLAY_MTU_BYTES - (_OVERHEAD_BYTES[pool.encapsulation] if pool else 0)


def load(path: Path) -> Topology | tuple[Problem, ...]:
    """The topology in one file, or all that is wrong with it, cluster part included."""
    try:
        trees = documents(path.read_text(encoding="utf-8"), str(path))
    except BadYaml as bad:
        return (bad.problem,)
    except (OSError, UnicodeDecodeError) as error:
        return (Problem(Place(str(path), 1, 1), "", f"cannot be read: {error}", "unreadable"),)
    intent = read(trees)
    if isinstance(intent, tuple):
        return intent
    problems = Problems()
    topology = _Reader(path, intent, problems).read(trees)
    return problems.sorted() or topology


class _Reader:
    def __init__(self, path: Path, intent: Intent, problems: Problems) -> None:
        self._path = path
        self._intent = intent
        self._problems = problems

    def read(self, trees: Sequence[Tree]) -> Topology:
        merged = [Fields(tree, "", self._problems) for tree in trees if isinstance(tree, MappingTree)]
        segments = tuple(segment for fields in merged for segment in self._segments(fields))
        routers = tuple(router for fields in merged for router in self._routers(fields))
        workloads = tuple(workload for fields in merged for workload in self._workloads(fields))
        checks = tuple(check for fields in merged for check in self._checks(fields, segments, routers))
        drivers = dict(driver for fields in merged for driver in self._ipip_drivers(fields))
        topology = Topology(self._path.stem, self._path, self._intent, segments, routers, workloads, checks, drivers)
        self._whole(topology, merged)
        return topology

    def _segments(self, fields: Fields) -> Iterator[Segment]:
        group = fields.fields("segments")
        for name in group.names() if group else ():
            subnet = group.prefix(name) if group else None
            if subnet:
                yield Segment(name, subnet)

    def _routers(self, fields: Fields) -> Iterator[Router]:
        for name, router in fields.entries("routers"):
            found = [
                scalar(item, path, self._problems, lambda leaf: parse_interface(leaf.text), "address")
                for path, item in router.items("addresses")
            ]
            router.finish()
            yield Router(name, tuple(address for address in found if address))

    def _workloads(self, fields: Fields) -> Iterator[Workload]:
        taken: set[Address] = set()
        for name, workload in fields.entries("workloads"):
            node_name, address = workload.text("node"), workload.address("address")
            workload.finish()
            node = self._intent.node(node_name or "")
            if node is None:
                workload.wrong("node", f"{node_name or 'nothing'} is not a node of this file", "unknown-node")
                continue
            address = address or _free(node, taken)
            if address is None or not any(block.holds(address) for block in node.blocks):
                workload.wrong(
                    "address", f"{address or 'no address'} is in no block of node {node.name}", "not-in-block"
                )
                continue
            taken.add(address)
            yield Workload(name, node.name, address)

    def _checks(self, fields: Fields, segments: Sequence[Segment], routers: Sequence[Router]) -> Iterator[Check]:
        router_names = [router.name for router in routers]
        places = [*(segment.name for segment in segments), *router_names]
        for name, check in fields.entries("checks"):
            found = _check(name, check, places, router_names)
            check.finish()
            if found:
                yield found

    def _ipip_drivers(self, fields: Fields) -> Iterator[tuple[str, str]]:
        group = fields.fields("ipip-drivers")
        for node in group.names() if group else ():
            driver = group.one_of(node, DRIVERS) if group else None
            if group and self._intent.node(node) is None:
                group.wrong(node, f"{node} is not a node of this file", "unknown-node")
            elif driver:
                yield node, driver

    def _whole(self, topology: Topology, merged: Sequence[Fields]) -> None:
        at = located(merged[0]) if merged else Located(Place(str(self._path), 1, 1), "")
        if not topology.segments:
            self._problems.add(at.place, "segments", "a lab needs segments, such as rack-a: 10.0.0.0/24", "missing")
        for node in topology.intent.nodes:
            if topology.segment_of(node.address.address) is None and topology.segments:
                place = node.place or at.place
                message = f"{node.address} is on none of the segments"
                self._problems.add(place, f"nodes.{node.name}.address", message, "no-segment")


def _free(node: Node, taken: set[Address]) -> Address | None:
    """The first address of the node's blocks that no other workload has; the very first is the tunnel's."""
    candidates = (block.nth(index) for block in node.blocks for index in range(1, min(block.size, 256)))
    return next((address for address in candidates if address not in taken), None)


def _check(name: str, fields: Fields, places: Sequence[str], routers: Sequence[str]) -> Check | None:
    if fields.has("absent"):
        found = [
            scalar(item, path, fields.problems, lambda leaf: leaf.text, "type") for path, item in fields.items("absent")
        ]
        for word in found:
            if word not in {"tcp-179", "exabgp"}:
                fields.wrong("absent", f"{word} cannot be looked for; known: tcp-179, exabgp", "choice")
        return AbsenceCheck(name, tuple(word for word in found if word))
    if fields.has("drops"):
        drops, router = fields.integer("drops", 0, 1 << 31), fields.one_of("at", routers)
        return DropCheck(name, router, drops) if router and drops is not None else None
    at = fields.one_of("at", places)
    scope = fields.choice("packets", Scope)
    shape = fields.choice("are", Shape)
    if at is None or scope is None or shape is None:
        if not fields.problems.found:
            message = "a check is {at, packets, are}, {at, drops} or {absent}"
            fields.problems.add(fields.place, fields.path, message, "missing")
        return None
    return PacketCheck(name, at, scope, shape)
