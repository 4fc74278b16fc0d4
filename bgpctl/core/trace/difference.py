"""
The first place where a packet leaves a node otherwise than it would if the kernels were those of the files.

Compared is how each node sends it on: by a tunnel and to which end, or without one and to which member. Underlays are
not compared, because the files do not describe them, and neither is how workloads are given what is theirs.

Refuses to know: which of the two is right.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from itertools import zip_longest
from typing import NamedTuple

from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.journey import Journey
from bgpctl.core.trace.steps import Step, StepCode


class Difference(NamedTuple):
    """The first step in which two journeys differ: as it is, and by the files."""

    live: Step
    declared: Step


def difference(live: Journey, declared: Journey, members: Collection[Address]) -> Difference | None:
    """None if all nodes that the packet reached send it on as they would by the files."""
    for one, other in zip_longest(_departures(live), _departures(declared)):
        if one is None or other is None:
            return None  # it was lost before, or was delivered: its end says so
        if _manner(one, members) != _manner(other, members):
            return Difference(one, other)
    return None


def _departures(journey: Journey) -> Iterator[Step]:
    for step in journey.steps:
        leaves = step.code is StepCode.LEAVES and step.packet.inner is None and step.gateway != step.packet.destination
        if leaves or step.code is StepCode.ENCAPSULATED:
            yield step


def _manner(step: Step, members: Collection[Address]) -> Hashable:
    return step.node, step.code, step.packet.protocol, step.gateway if step.gateway in members else None
