"""
A packet between two nodes and its answer, through the kernels that a cluster file would make.

Refuses to know: other nodes than those that decide about it (part.py), words.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from bgpctl.core.net.addresses import Address
from bgpctl.core.simulate.declared import network, obstacle
from bgpctl.core.simulate.part import Parts
from bgpctl.core.trace.announced import Obstacle, ObstacleCode
from bgpctl.core.trace.journey import Follower, Journey
from bgpctl.core.trace.verify import Block, Finding, finding_of
from bgpctl.core.trace.verify import Failure as Finds


class Failure(NamedTuple):
    """Where a packet, or its answer, is not delivered. `obstacle`: what keeps the route back, by the files."""

    journey: Journey
    obstacle: Obstacle | None
    destination: Address

    @property
    def known(self) -> bool:
        """False if a router that the files do not describe may have a route."""
        return self.obstacle is None or self.obstacle.code is not ObstacleCode.ROUTER


def failure_of(finding: Finding) -> Failure:
    """A failure that was found (core/trace/verify.py)."""
    steps = finding.journey.steps
    sent_to = steps[0].packet.destination if steps else finding.destination.address
    return Failure(finding.journey, finding.obstacle, sent_to)


def failure(parts: Parts, start: Address, end: Address, source: str, destination: str) -> Failure | None:
    """The packet or its answer that is not delivered by the files, small or full."""
    part = parts.of(source, destination)
    announced = partial(obstacle, part, announcing=parts.announcing, policies=parts.policies)
    nodes = network(part, (start, end), {}, announced=announced)
    full_bytes = min(link.mtu_bytes for item in nodes.snapshots.values() if item for link in item.dataplane.links)
    first, last = (
        Block(name, at.host_prefix, at, full_bytes, "") for name, at in ((source, start), (destination, end))
    )
    found = finding_of(Follower(nodes), first, last, lambda name, prefix: announced(name, prefix.first))
    return failure_of(found) if found and found.failure is not Finds.ASYMMETRIC else None
