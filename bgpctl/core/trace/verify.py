"""
Every pair of blocks: whether packets pass both ways, small ones and full ones, and failures together by first cause.

A pair fails by one cause: the small packet is lost, its answer is, the full packet or its answer is, another program
gives it another source on its way, or the two ways use different encapsulations. Pairs with the same cause at the same
node are one class, so that one mistake in a file is one line and not one for each pair.

Refuses to know: where kernels and blocks come from, words.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import PROTOCOL, Route
from bgpctl.core.trace.announced import Obstacle, ObstacleCode
from bgpctl.core.trace.journey import Exchange, Follower, Journey, Network, Origin, exchange
from bgpctl.core.trace.likeness import Likeness
from bgpctl.core.trace.packet import Packet, echo_protocol
from bgpctl.core.trace.steps import Break, Broken, Cause, Delivered, Step, StepCode, Unknown

Obstacles: TypeAlias = Mapping[tuple[str, Prefix], Obstacle]
"""By node and block: what keeps its route away."""

KeptBack: TypeAlias = Callable[[str, Prefix], Obstacle | None]
"""The same as a question."""


class Failure(enum.Enum):
    """The kind of a finding."""

    UNREACHABLE = "unreachable"
    LOOP = "loop"
    UNKNOWN = "unknown"
    TOO_BIG = "too-big"
    TRANSLATED = "translated"
    ASYMMETRIC = "asymmetric"


class Block(NamedTuple):
    """
    A block of a node.

    Attributes:
        address: one of the block's, that stands for all of them.
        full_bytes: the largest packet that its workloads send.
        pool: its name.
        link: by which the node gets packets from the address; empty where that is not known.
    """

    node: str
    prefix: Prefix
    address: Address
    full_bytes: int
    pool: str
    link: str = ""


class Finding(NamedTuple):
    """
    The failure of one pair.

    Attributes:
        at: the node where it shows.
        journey: the one that fails; for ASYMMETRIC that there.
        obstacle: what keeps the route away, if that is why.
        size_bytes: of the packet that was sent.
        shadow: the route of another program that led it astray, in place of ours, or its rule that translates it.
    """

    failure: Failure
    at: str
    source: Block
    destination: Block
    size_bytes: int
    journey: Journey
    obstacle: Obstacle | None = None
    shadow: Cause | None = None


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Pairs that fail by the same first cause. `example`: the first of them."""

    example: Finding
    pairs: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many ordered pairs were followed, and the classes of those that fail, in the order in which they were met."""

    pairs: int
    classes: tuple[FailureClass, ...] = ()


def verify(network: Network, blocks: Iterable[Block], obstacles: Obstacles) -> Verdict:
    """Every ordered pair of blocks of one IP version on two nodes."""
    by_node: dict[str, list[Block]] = {}
    for block in blocks:
        by_node.setdefault(block.node, []).append(block)
    one = _Whole(network, by_node, obstacles)
    for pair in combinations(by_node, 2):
        one.ask(*pair)
    return Verdict(one.pairs, by_cause((finding, 1) for _, finding in sorted(one.findings, key=itemgetter(0))))


class _Whole:
    """All pairs of blocks, of which those that are like others that pass are counted alone (likeness.py)."""

    def __init__(self, network: Network, by_node: Mapping[str, Sequence[Block]], obstacles: Obstacles) -> None:
        self.pairs = 0
        self.findings: list[tuple[tuple[int, int], Finding]] = []
        """Each with its place in the order of the blocks."""
        self._follower, self._by_node, self._obstacles = Follower(network), by_node, obstacles
        every = [block for blocks in by_node.values() for block in blocks]
        self._places = {id(block): place for place, block in enumerate(every)}
        self._likeness = Likeness(network, every)
        self._passing: dict[Hashable, int] = {}

    def ask(self, one: str, other: str) -> None:
        """About both directions between two nodes."""
        keys = self._likeness.keys(one, other)
        for ends, key in zip(((one, other), (other, one)), keys or (None, None), strict=True):
            self.pairs += self._passing.get(key) or self._followed(*ends, key)

    def _followed(self, source: str, destination: str, key: Hashable | None) -> int:
        """The number of pairs; remembered by the key if all pass."""
        pairs = [
            (a, b)
            for a, b in product(self._by_node[source], self._by_node[destination])
            if a.prefix.version == b.prefix.version
        ]
        found = [
            ((self._places[id(a)], self._places[id(b)]), finding)
            for a, b in pairs
            if (finding := finding_of(self._follower, a, b, lambda *of: self._obstacles.get(of)))
        ]
        self.findings += found
        if key and not found:
            self._passing[key] = len(pairs)
        return len(pairs)


def by_cause(findings: Iterable[tuple[Finding, int]]) -> tuple[FailureClass, ...]:
    """Findings with the number of pairs that each stands for, those with one first cause together."""
    classes: dict[Hashable, FailureClass] = {}
    for finding, pairs in findings:
        key = _cause_of(finding)
        known = classes.get(key)
        classes[key] = FailureClass(known.example, known.pairs + pairs) if known else FailureClass(finding, pairs)
    return tuple(classes.values())


def finding_of(follower: Follower, source: Block, destination: Block, kept_back: KeptBack) -> Finding | None:
    """
    The failure of one pair; None if packets of all sizes and their answers are delivered, by one encapsulation.

    `kept_back` is asked only about a packet that is not delivered.
    """
    for found, size_bytes in _exchanges(follower, source, destination):
        journey = found.first
        if isinstance(journey.end, Delivered):
            continue
        ends = (source.node, destination.prefix) if journey is found.there else (destination.node, source.prefix)
        kept = kept_back(*ends)
        shadow = None if kept else _shadow(journey, destination.node if journey is found.there else source.node)
        at = kept.at if kept else shadow.node if shadow else journey.node
        led_astray = shadow.suspect if shadow else None
        return Finding(_failure(journey, kept), at, source, destination, size_bytes, journey, kept, led_astray)
    changed = _translated(found)
    if changed:
        return Finding(
            *(Failure.TRANSLATED, changed.node, source, destination, size_bytes, found.there), shadow=changed.suspect
        )
    if source.pool == destination.pool and _carriers(found.there) != _carriers(found.back):
        return Finding(Failure.ASYMMETRIC, source.node, source, destination, size_bytes, found.there)
    return None


def _exchanges(follower: Follower, source: Block, destination: Block) -> Iterator[tuple[Exchange, int]]:
    """The small packet, then the full one as far as the path MTUs of our routes allow, each with its answer."""
    origin = Origin(source.node, source.link)
    small = Packet(source.address, destination.address, protocol=echo_protocol(source.prefix.version))
    found = exchange(follower, small, origin, destination.node)
    yield found, small.size_bytes
    full = small._replace(size_bytes=min((source.full_bytes, *_answered_sizes(found))))
    yield exchange(follower, full, origin, destination.node), full.size_bytes


def _answered_sizes(found: Exchange) -> Iterator[int]:
    """The path MTUs that our routes on the way have, in bytes: larger packets are answered."""
    for journey in filter(None, (found.there, found.back)):
        for step in journey.steps:
            route = step.subject
            if isinstance(route, Route) and route.protocol == PROTOCOL and route.mtu_bytes:
                yield route.mtu_bytes


def _shadow(journey: Journey, target: str) -> Step | None:
    """The step in which a foreign route was used in place of ours, of a packet that never came to the target."""
    if any(step.node == target for step in journey.steps):
        return None
    return next((item for item in journey.steps if item.suspect and item.suspect.code is Break.SHADOWED), None)


def _translated(found: Exchange) -> Step | None:
    steps = (step for journey in (found.there, found.back) if journey for step in journey.steps)
    return next((item for item in steps if item.suspect and item.suspect.code is Break.FOREIGN_MASQUERADE), None)


def _failure(journey: Journey, kept: Obstacle | None) -> Failure:
    if kept:
        return Failure.UNKNOWN if kept.code is ObstacleCode.ROUTER else Failure.UNREACHABLE
    match journey.end:
        case Broken(cause=Cause(code=Break.LOOP)):
            return Failure.LOOP
        case Broken(cause=Cause(code=Break.TOO_BIG | Break.OUTER_TOO_BIG | Break.NARROW_PATH)):
            return Failure.TOO_BIG
        case Broken():
            return Failure.UNREACHABLE
        case _:
            return Failure.UNKNOWN


def _carriers(journey: Journey | None) -> frozenset[int]:
    """The protocols of the tunnels that the packet went through."""
    steps = journey.steps if journey else ()
    return frozenset(step.packet.protocol for step in steps if step.code is StepCode.ENCAPSULATED)


def _cause_of(found: Finding) -> Hashable:
    """Equal for pairs of one class: without the pair's own addresses, and without the other end of a session."""
    if found.obstacle:
        kept = found.obstacle
        reason = kept.rejection.reason if kept.rejection else None
        return found.failure, found.at, kept.code, kept.detail, kept.place, reason
    if found.shadow:
        return found.failure, found.at, found.shadow.code, found.shadow.subject
    match found.journey.end:
        case Broken(cause=cause):
            ends = (found.source.address, found.destination.address)
            return found.failure, found.at, cause.code, None if cause.subject in ends else cause.subject
        case Unknown(unread=unread):
            return found.failure, found.at, unread.subject, unread.reason
        case _:
            return found.failure, found.at
