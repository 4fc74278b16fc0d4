"""
The course of a cluster through faults and a change of its files: each state that its kernels are in, and what becomes
of packets between all blocks.

A state is verified after each turn in which a kernel changes. Nodes do not change at the same moment, though a turn has
them do so: so before the state after the turn come those in which one node alone has changed. A packet between two
nodes meets each pair of their states in one of these, in whatever order the nodes act.

Refuses to know: words, how agents decide, which nodes stand for which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bgpctl.core.simulate.faults import Faults
from bgpctl.core.simulate.fleet import Fleet
from bgpctl.core.simulate.sample import Sample
from bgpctl.core.simulate.verdicts import Findings, Judge, Obstacles, by_cause, is_loss, pairs_of
from bgpctl.core.trace.journey import Network
from bgpctl.core.trace.verify import FailureClass, Finding


class Failing(NamedTuple):
    """An event: from now on there are these faults too. `name`: as the operator has it."""

    name: str
    faults: Faults


class Changing(NamedTuple):
    """An event: all agents read the other files."""

    name: str


class Moment(NamedTuple):
    """
    One state of the cluster.

    Attributes:
        event: the last one, by its name.
        after_s: seconds since then.
        settled: nothing more happens by itself.
        changed: nodes of the sample whose kernels are others than in the state before.
        pairs: of blocks, those with nodes that are off not counted.
        gone: pairs of blocks with a node that is off.
        failing: what fails in this state.
        between: what fails while only some of the nodes have changed, and neither before nor after that.
    """

    event: str
    after_s: float
    settled: bool
    changed: tuple[str, ...]
    pairs: int
    gone: int
    failing: tuple[FailureClass, ...]
    between: tuple[FailureClass, ...] = ()


def course(sample: Sample, events: Sequence[Failing | Changing], start: str = "start") -> Iterator[Moment]:
    """The settled state with the first files; then, for each event, all states up to the settled one."""
    one = _Course(sample)
    yield from one.begun(start)
    for event in events:
        yield from one.after(event)


class _Course:
    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._fleet = Fleet()
        self._is_changed = False
        self._event = ""
        self._began_s = 0.0
        self._judge = Judge(())

    def begun(self, name: str) -> Iterator[Moment]:
        """With nothing to compare: how a cluster comes up is not verified."""
        self._fleet.settle(self._sample.before)
        self._open(name)
        yield self._moment((), settled=True)

    def after(self, event: Failing | Changing) -> Iterator[Moment]:
        """All states after an event."""
        if isinstance(event, Failing):
            self._fleet.fail(event.faults)
        else:
            self._is_changed = True
            self._fleet.load(self._sample.wanted)
        self._open(event.name)
        last = self._moment((), settled=False)
        if isinstance(event, Failing):
            yield last
        was = self._fleet.network
        for changed in self._fleet.turns():
            between = self._between(was, changed)
            yield self._moment(tuple(sorted(changed)), settled=False, between=between)
            was = self._fleet.network
        yield self._moment((), settled=True)

    def _open(self, name: str) -> None:
        self._event, self._began_s = name, self._fleet.now_s
        self._judge = Judge(pairs_of(self._sample, self._fleet.faults, is_changed=self._is_changed))
        with_all = pairs_of(self._sample, Faults(), is_changed=self._is_changed)
        self._pairs = sum(pair.pairs for pair in self._judge.pairs)
        self._gone = sum(pair.pairs for pair in with_all) - self._pairs

    def _moment(
        self, changed: tuple[str, ...], *, settled: bool, between: Iterable[tuple[int, Finding]] = ()
    ) -> Moment:
        found = self._findings(self._fleet.network)
        counted = [(index, item) for index, item in _failures(found) if settled or is_loss(item)]
        failing = {index for index, _ in counted}
        return Moment(
            self._event,
            self._fleet.now_s - self._began_s,
            settled,
            changed,
            self._pairs,
            self._gone,
            by_cause(self._judge.pairs, counted),
            by_cause(self._judge.pairs, (item for item in between if item[0] not in failing)),
        )

    def _findings(self, network: Network) -> Findings:
        intent = self._sample.wanted if self._is_changed else self._sample.before
        return self._judge.findings(network, Obstacles(intent, self._fleet.faults, self._fleet))

    def _between(self, was: Network, changed: frozenset[str]) -> list[tuple[int, Finding]]:
        """Losses while one node alone has changed, of pairs that lost nothing before."""
        found: dict[int, Finding] = {}
        before = dict(_failures(self._findings(was)))
        for name in sorted(changed) if len(changed) > 1 else ():
            mixed = replace(was, snapshots={**was.snapshots, name: self._fleet.network.snapshots[name]})
            for index, finding in _failures(self._findings(mixed)):
                if is_loss(finding) and index not in before:
                    found.setdefault(index, finding)
        return [*found.items()]


def _failures(found: Findings) -> Iterator[tuple[int, Finding]]:
    return ((index, item) for index, item in found.items() if item)
