"""
Rules that make the parts of a topology consistent.

An error missed here shows much later: as a name that ip(8) rejects, or as packets that take an unexpected path.

Refuses to know: files.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent.fields import is_name, not_a_name
from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.lab import foreign
from bgpctl.lab.topology import FABRIC, Router, Topology, Workload

_LONGEST_PART: Final = 63
"""Of a name: with the lab's before it, it is the name of a file below /run/netns."""


def problems(topology: Topology, *, all_segments_known: bool) -> Iterator[Problem]:
    """
    Everything that would not build, or would not build as meant.

    While a segment could not be read, an address on none is not reported.
    """
    yield from _names(topology)
    yield from _segments(topology, all_segments_known=all_segments_known)
    yield from _underlay(topology, all_segments_known=all_segments_known)
    yield from _one_segment(topology)
    for router in topology.routers:
        yield from _router(topology, router)
        yield from _speaker(topology, router)
    yield from _workload_addresses(topology)
    for workload in topology.workloads:
        yield from _workload(topology, workload)


def _start(topology: Topology) -> Place:
    return Place(str(topology.file), 1, 1)


def _names(topology: Topology) -> Iterator[Problem]:
    """Nodes, routers, hosts and workloads share one set of namespace names; segments share theirs with routers."""
    nodes = [(f"nodes.{node.name}", node.name, node.place or _start(topology)) for node in topology.intent.nodes]
    others = [
        *((f"segments.{segment.name}", segment.name, segment.place) for segment in topology.segments),
        *((f"routers.{router.name}", router.name, router.place) for router in topology.routers),
        *((f"hosts.{host.name}", host.name, host.place) for host in topology.hosts),
        *((f"workloads.{workload.name}", workload.name, workload.place) for workload in topology.workloads),
    ]
    for path, name, place in others:
        if not is_name(name):
            yield Problem(place, path, not_a_name(name), "name")
    first: dict[str, str] = {FABRIC: "the namespace of the bridges"}
    for path, name, place in nodes + others:
        if len(name) > _LONGEST_PART:
            yield Problem(place, path, f"a name in a lab has {_LONGEST_PART} characters at most", "name")
        if name in first:
            yield Problem(place, path, f"the name {name} is taken by {first[name]}", "duplicate-name")
        first.setdefault(name, path)


def _segments(topology: Topology, *, all_segments_known: bool) -> Iterator[Problem]:
    if all_segments_known and not topology.segments:
        message = "a lab needs segments, such as rack-a: 10.0.0.0/24"
        yield Problem(_start(topology), "segments", message, "missing")
    subnets = [(segment, subnet) for segment in topology.segments for subnet in segment.subnets]
    for (one, first), (other, second) in combinations(subnets, 2):
        if first.overlaps(second):
            message = f"{second} overlaps {first} of segment {one.name}"
            yield Problem(other.place, f"segments.{other.name}", message, "overlap")


def _underlay(topology: Topology, *, all_segments_known: bool) -> Iterator[Problem]:
    """Nodes, routers and hosts are on segments, each with addresses of its own."""
    first: dict[Address, str] = {}
    for path, address, place in _stations(topology):
        if all_segments_known and topology.segment_of(address.address) is None:
            yield Problem(place, path, f"{address} is on none of the segments", "no-segment")
        if address.address in first:
            yield Problem(place, path, f"{address.address} is taken by {first[address.address]}", "duplicate-address")
        first.setdefault(address.address, path)


def _stations(topology: Topology) -> Iterator[tuple[str, InterfaceAddress, Place]]:
    for node in topology.intent.nodes:
        for own in (node.address, node.address6):
            if own:
                yield f"nodes.{node.name}", own, node.place or _start(topology)
    for router in topology.routers:
        yield from ((f"routers.{router.name}", address, router.place) for address in router.addresses)
    for host in topology.hosts:
        yield from ((f"hosts.{host.name}", address, host.place) for address in host.addresses)


def _one_segment(topology: Topology) -> Iterator[Problem]:
    """Nodes and hosts have one cable."""
    routers = {f"routers.{router.name}" for router in topology.routers}
    found: dict[str, set[str]] = {}
    for path, own, place in _stations(topology):
        segment = topology.segment_of(own.address)
        if path in routers or segment is None:
            continue
        found.setdefault(path, set()).add(segment.name)
        if len(found[path]) > 1:
            message = f"its addresses are on different segments: {', '.join(sorted(found[path]))}"
            yield Problem(place, path, message, "two-segments")


def _router(topology: Topology, router: Router) -> Iterator[Problem]:
    for address in router.addresses:
        segment = topology.segment_of(address.address)
        subnets = segment.subnets if segment else ()
        subnet = next((subnet for subnet in subnets if subnet.holds(address.address)), None)
        if segment and subnet and not address.network.covers(subnet):
            meant = InterfaceAddress(address.address, subnet.length)
            message = f"{address} does not reach all of {segment.name} ({subnet}); {meant} does"
            yield Problem(router.place, f"routers.{router.name}", message, "mask")


def _speaker(topology: Topology, router: Router) -> Iterator[Problem]:
    """The AS of a router that runs a daemon is that of the sessions that nodes have with it."""
    if router.name not in topology.runs:
        return
    asns = {session.peer_asn for session in foreign.sessions_with(topology, router)}
    if len(asns) != 1:
        found = ", ".join(map(str, sorted(asns)))
        message = f"sessions with it differ in its AS: {found}" if asns else "no node has a BGP session with it"
        yield Problem(router.place, f"runs.{router.name}", message, "no-session")


def _workload_addresses(topology: Topology) -> Iterator[Problem]:
    first: dict[Address, str] = {}
    for workload in topology.workloads:
        for address in workload.addresses:
            if address in first:
                message = f"{address} is taken by {first[address]}"
                yield Problem(workload.place, f"workloads.{workload.name}", message, "duplicate-address")
            first.setdefault(address, f"workloads.{workload.name}")


def _workload(topology: Topology, workload: Workload) -> Iterator[Problem]:
    node = topology.intent.node(workload.node)
    if node is None:
        return
    path = f"workloads.{workload.name}.address"
    allocated = topology.intent.allocations.of(node.name)
    for address in workload.addresses:
        if not any(prefix.holds(address) for prefix in (*allocated.blocks, *allocated.borrowed)):
            message = f"{address} is in no block of node {node.name}"
            yield Problem(workload.place, path, message, "not-in-block")
        if address in topology.intent.tunnel_addresses(node):
            message = f"{address} is the tunnel address of node {node.name}"
            yield Problem(workload.place, path, message, "duplicate-address")
