"""
How packets to a service address find this node's instance.

Where the node itself is the instance it has the address, on the loopback device, marked as ours: there it belongs to no
link that can go down. Where a workload is, a route leads to the workload's link, by the address that the workload has
anyway, whose neighbour entry is permanent.

Both are there as long as the configuration says so, and do not depend on checks: packets on their way find the instance
for as long as it answers, and the check itself needs the address. An operator's own address on this node is as good as
ours, and is left alone.

Refuses to know: whether the instance is well, and what is announced (core/agent/services.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Node, Service
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned, workload_hop_ids
from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, LinkAddress, NextHop, Route

LOOPBACK: Final = "lo"


def instances(intent: Intent, node: Node, observed: Dataplane) -> Iterator[Reasoned]:
    """The objects for the node's instances; of `observed` only what is not ours."""
    services = intent.services_of(node)
    for service in services:
        if not service.workloads:
            yield from _on_node(service, observed)
    by_workload = [(service, found) for service in services if (found := intent.workload_of(service, node))]
    yield from _on_workloads(by_workload, observed)


def _on_node(service: Service, observed: Dataplane) -> Iterator[Reasoned]:
    given = {item.address.address for item in observed.addresses if item.protocol != PROTOCOL}
    if service.address not in given:
        own = InterfaceAddress(service.address, service.prefix.length)
        yield LinkAddress(LOOPBACK, own, PROTOCOL), Reason(ReasonCode.SERVICE, source=service.name)


def _on_workloads(instances_: Iterable[tuple[Service, Address]], observed: Dataplane) -> Iterator[Reasoned]:
    """Nothing for a workload that is not attached: its address must not lead to the default route."""
    found = tuple(instances_)
    if not found:
        return
    ids = workload_hop_ids({workload for _, workload in found})
    links = {link.name for link in observed.links if link.workload and link.up}
    for service, workload in found:
        why = Reason(ReasonCode.SERVICE, source=service.name)
        routes = observed.route_set.at(workload.host_prefix)
        link = next((route.link for route in sorted(routes) if route.link in links), None)
        if link:
            yield NextHop(ids[workload], link, workload, onlink=True), why
            yield Route(service.prefix, next_hop=ids[workload]), why
