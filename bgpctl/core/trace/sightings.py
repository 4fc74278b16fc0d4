"""
Real packets beside a journey: at which of its points they were seen.

A point is a link at a node, in one direction. Where a packet is seen later, an earlier point without it is no loss:
BPF passes packets from link to link without showing them on each. So the last point with a sighting is where the packet
came to; a journey that goes on behind it says otherwise.

Refuses to know: how packets are seen (kernel/sightings.py), words.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.steps import Step, StepCode

NONCE_BYTES: Final = 16


class Mark(NamedTuple):
    """By what the packets of one trace are known: their identifier, and the secret of NONCE_BYTES in their data."""

    version: int
    ident: int
    nonce: bytes


class Leg(enum.Enum):
    """The way of a packet: the request, its answer, or an ICMP error about either."""

    THERE = "there"
    BACK = "back"
    ERROR = "error"


class Direction(enum.Enum):
    """Of a packet at a link."""

    IN = "in"
    OUT = "out"


class Point(NamedTuple):
    """A link at a node, or at another part of a lab."""

    node: str
    link: str
    direction: Direction


class Sighting(NamedTuple):
    """
    A packet at a point.

    Attributes:
        number: of the request, which its answer and errors repeat.
        source: of the innermost packet; of an error its sender.
        detail: of an error its type and code.
    """

    point: Point
    leg: Leg
    number: int
    source: Address
    detail: tuple[int, int] | None = None


_DIRECTIONS: Final[Mapping[StepCode, Direction]] = {
    StepCode.ARRIVES: Direction.IN,
    StepCode.DECAPSULATED: Direction.IN,
    StepCode.ENCAPSULATED: Direction.OUT,
    StepCode.LEAVES: Direction.OUT,
}


def point_of(step: Step) -> Point | None:
    """Where packets of this step can be seen."""
    direction = _DIRECTIONS.get(step.code)
    return Point(step.node, step.link, direction) if direction and step.link else None


class Seen(NamedTuple):
    """
    How many packets of a leg were seen at each step of a journey; None where none can be seen, because the step has no
    point or its node was not watched, and where the packet was seen later.
    """

    counts: tuple[int | None, ...]

    @property
    def last(self) -> int | None:
        """The place of the last step at which a packet was seen."""
        return max((place for place, count in enumerate(self.counts) if count), default=None)


def seen_at(points: Sequence[Point | None], leg: Leg, sightings: Iterable[Sighting], watched: Iterable[str]) -> Seen:
    """The packets of a leg at the points of its journey's steps."""
    numbers: dict[Point, set[int]] = {}
    for item in sightings:
        if item.leg is leg:
            numbers.setdefault(item.point, set()).add(item.number)
    nodes = frozenset(watched)
    counts = [len(numbers.get(point, ())) if point and point.node in nodes else None for point in points]
    last = max((place for place, count in enumerate(counts) if count), default=-1)
    return Seen(tuple(None if count == 0 and place < last else count for place, count in enumerate(counts)))


def elsewhere(points: Iterable[Point | None], sightings: Iterable[Sighting]) -> tuple[tuple[Leg, Point], ...]:
    """The points at which packets were seen that are none of the journey's, in the order in which they were met."""
    known = frozenset(points)
    return tuple(dict.fromkeys((item.leg, item.point) for item in sightings if item.point not in known))
