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
from bgpctl.core.trace.journey import Follower, Journey, Origin, exchange
from bgpctl.core.trace.packet import Packet, echo_protocol
from bgpctl.core.trace.steps import Delivered


class Failure(NamedTuple):
    """Where a packet, or its answer, is not delivered. `obstacle`: what keeps the route back, by the files."""

    journey: Journey
    obstacle: Obstacle | None
    destination: Address

    @property
    def known(self) -> bool:
        """False if a router that the files do not describe may have a route."""
        return self.obstacle is None or self.obstacle.code is not ObstacleCode.ROUTER


def failure(parts: Parts, start: Address, end: Address, source: str, destination: str) -> Failure | None:
    """Where the packet or its answer ends by the files, if it is not delivered."""
    part = parts.of(source, destination)
    announced = partial(obstacle, part, announcing=parts.announcing, policies=parts.policies)
    packet = Packet(start, end, protocol=echo_protocol(end.version))
    follower = Follower(network(part, (start, end), {}, announced=announced))
    found = exchange(follower, packet, Origin(source, ""), destination)
    if found.back and isinstance(found.back.end, Delivered):
        return None
    answers = found.first is found.back
    name, target = (destination, start) if answers else (source, end)
    return Failure(found.first, announced(name, target), target)
