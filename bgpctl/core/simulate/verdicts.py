"""
The judgement on all pairs of a sample in one state of the cluster, each counted as often as it stands for others.

A state differs from the one before in a few kernels. So what was found of a pair is taken over as long as the kernels
that its packets came to are the same objects, and nothing has another address.

Refuses to know: how a state came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate.faults import Faults
from bgpctl.core.simulate.fleet import Fleet
from bgpctl.core.simulate.sample import BlockKind, Sample
from bgpctl.core.trace.announced import Obstacle, ObstacleCode, missing, owner_of
from bgpctl.core.trace.journey import Follower, Network
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.core.trace.steps import Broken
from bgpctl.core.trace.verify import Block, Failure, FailureClass, Finding, KeptBack, finding_of


class PairOfBlocks(NamedTuple):
    """An ordered pair of kinds of blocks, and how many pairs of blocks it stands for."""

    source: str
    destination: str
    source_kind: BlockKind
    destination_kind: BlockKind
    pairs: int


Findings: TypeAlias = Mapping[int, Finding | None]
"""By the place of the pair; None: all packets are delivered."""


def pairs_of(sample: Sample, faults: Faults, *, is_changed: bool) -> tuple[PairOfBlocks, ...]:
    """
    The pairs of blocks of one IP version that the files have, `is_changed`: those after the change. None with a node
    that is off.
    """
    blocks = {
        name: [item for item in kinds if (item.wanted if is_changed else item.before)]
        for name, kinds in sample.blocks.items()
    }
    return tuple(
        PairOfBlocks(item.source, item.destination, one, other, item.pairs * one.blocks * other.blocks)
        for item in sample.pairs
        if faults.nodes.isdisjoint((item.source, item.destination))
        for one in blocks[item.source]
        for other in blocks[item.destination]
        if one.prefix.version == other.prefix.version
    )


_Known: TypeAlias = tuple[Mapping[str, Snapshot | None], Finding | None]


class Judge:
    """Judges pairs of blocks in one state after the other. `kept_back` as in core/trace/verify.py."""

    def __init__(self, pairs: tuple[PairOfBlocks, ...]) -> None:
        self.pairs = pairs
        self._known: dict[tuple[int, int], list[_Known]] = {}
        self._around: Hashable = None
        self._follower: Follower | None = None

    def findings(self, network: Network, kept_back: KeptBack) -> Findings:
        """Of every pair."""
        around = network.down, network.cut, frozenset(_addresses(network))
        if around != self._around:
            self._around, self._known = around, {}
        self._follower = follower = Follower(network, self._follower)
        sizes = {name: _full_bytes(item) for name, item in network.snapshots.items()}
        return {
            index: self._finding(follower, network, index, min(sizes[pair.source], sizes[pair.destination]), kept_back)
            for index, pair in enumerate(self.pairs)
        }

    def _finding(
        self, follower: Follower, network: Network, index: int, full_bytes: int, kept_back: KeptBack
    ) -> Finding | None:
        known = self._known.setdefault((index, full_bytes), [])
        for kernels, finding in known:
            if all(network.snapshots.get(name) is item for name, item in kernels.items()):
                return finding
        pair = self.pairs[index]
        follower.passed.clear()
        found = finding_of(
            follower,
            _block(pair.source, pair.source_kind, full_bytes),
            _block(pair.destination, pair.destination_kind, full_bytes),
            kept_back,
        )
        known.append(({name: network.snapshots.get(name) for name in follower.passed}, found))
        return found


def _addresses(network: Network) -> Iterator[tuple[str, Address]]:
    for name, item in network.snapshots.items():
        yield from ((name, own.address.address) for own in (item.addresses if item else ()))


def _full_bytes(snapshot: Snapshot | None) -> int:
    return min((link.mtu_bytes for link in snapshot.dataplane.links), default=0) if snapshot else 0


def _block(node: str, kind: BlockKind, full_bytes: int) -> Block:
    return Block(node, kind.prefix, kind.address, full_bytes, kind.pool)


# Causes ----------------------------------------------------------------------------------------------------------


class Obstacles:
    """The obstacles that keep routes away: by the files, else, where there is none, a session that a fault ended."""

    def __init__(self, intent: Intent, faults: Faults, fleet: Fleet) -> None:
        self._intent, self._faults = intent, faults
        self._sessions, self._kernels = fleet.sessions, fleet.kernels
        self._policies: dict[str, Policy] = {}

    def __call__(self, name: str, prefix: Prefix) -> Obstacle | None:
        node = self._intent.node(name)
        pool = self._intent.pool_of(prefix)
        if node is None or pool is None:
            return None
        by_files = missing(self._intent, node, prefix, self._policies)
        owner = owner_of(self._intent, prefix)
        if by_files or owner is None or not pool.by_bgp or self._faults == Faults():
            return by_files
        if any(route.prefix == prefix for route in self._kernels[name].routes):
            return None
        is_down = frozenset((name, owner.name)) not in self._sessions and self._has_session(name, owner.name)
        return Obstacle(ObstacleCode.SESSION_DOWN if is_down else ObstacleCode.NOT_RECEIVED, name, owner.name)

    def _has_session(self, name: str, other: str) -> bool:
        policies = self._policies[name].session_policies.values() if name in self._policies else ()
        return any(item.member is not None and item.member.name == other for item in policies)


def by_cause(pairs: tuple[PairOfBlocks, ...], found: Iterable[tuple[int, Finding]]) -> tuple[FailureClass, ...]:
    """Failures with one first cause together, wherever it is: nodes that are alike fail alike."""
    numbers: Counter[Hashable] = Counter()
    first: dict[Hashable, Finding] = {}
    for index, finding in found:
        key = cause_of(finding)
        numbers[key] += pairs[index].pairs
        first.setdefault(key, finding)
    return tuple(FailureClass(first[key], number) for key, number in numbers.items())


def cause_of(found: Finding) -> Hashable:
    """The cause without the names of nodes."""
    if found.obstacle:
        kept = found.obstacle
        reason = kept.rejection.reason if kept.rejection else None
        return found.failure, kept.code, kept.detail, kept.place, reason
    end = found.journey.end
    return (found.failure, end.cause.code, end.cause.numbers) if isinstance(end, Broken) else (found.failure,)


def is_loss(finding: Finding) -> bool:
    """False for what costs no packet: two tunnels, one for each direction."""
    return finding.failure is not Failure.ASYMMETRIC
