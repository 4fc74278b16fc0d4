"""
Pairs of nodes whose packets reach each other by one cluster file and not by the next.

The nodes that stand for all (sample.py) run in memory by the file in force, and then anew by the other one (fleet.py).
Packets are followed once nothing happens any more. Only blocks that a node
has in both files are asked about: one that is moved or given up is listed itself (membership.py).

A cluster with too many kinds of nodes for that has its pairs followed through kernels that the files alone would make,
each pair for itself, and not all of them.

Refuses to know: words, steps of a plan, what is in any kernel now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.faults import Faults
from bgpctl.core.simulate.fleet import Fleet
from bgpctl.core.simulate.pair import Failure, failure_of
from bgpctl.core.simulate.part import Parts
from bgpctl.core.simulate.reach import concerned, lost
from bgpctl.core.simulate.sample import NodePairs, Sample, sample
from bgpctl.core.simulate.verdicts import Judge, Obstacles, PairOfBlocks, is_loss, pairs_of

MOST_AGENTS: Final = 60
"""
Each has sessions with all others. 50 in 25 ASes, each of which passes on the paths of all others, take 18 s of CPU, and
an agent that is asked for a plan has a minute.
"""
_MOST_EXCHANGES: Final = 250
"""Packets followed with their answers where there are more: each takes some ten milliseconds of CPU."""


class Loss(NamedTuple):
    """Pairs of one kind that lose each other: the first one's names, how many there are, and why."""

    source: str
    destination: str
    pairs: int
    failure: Failure


class Verdict(NamedTuple):
    """
    Attributes:
        losses: of all kinds that were followed.
        followed: pairs of kinds for which a packet was followed.
        kinds: pairs of kinds that the change concerns. With more than `followed`, others may lose each other, too.
    """

    losses: tuple[Loss, ...]
    followed: int
    kinds: int


def compared(before: Intent, wanted: Intent, node: str | None = None) -> Verdict:
    """The pairs that reach each other by `before` alone. `node`: only pairs with this one."""
    if before == wanted:
        return Verdict((), 0, 0)
    changed = concerned(before, wanted)
    few = sample(before, wanted, lambda name: (name == node, name in changed))
    pairs = [item for item in few.pairs if _is_asked(item, before, wanted, changed, node)]
    if len(few.blocks) > MOST_AGENTS:
        return _of_some(before, wanted, pairs)
    return Verdict(_losses(few, pairs), len(pairs), len(pairs))


def _is_asked(item: NodePairs, before: Intent, wanted: Intent, changed: Collection[str], node: str | None) -> bool:
    ends = item.source, item.destination
    is_in_both = all(before.node(name) and wanted.node(name) for name in ends)
    return is_in_both and any(name in changed for name in ends) and node in (None, *ends)


def _losses(few: Sample, asked: Sequence[NodePairs]) -> tuple[Loss, ...]:
    pairs = tuple(
        item
        for item in pairs_of(few._replace(pairs=tuple(asked)), Faults(), is_changed=True)
        if item.source_kind.before and item.destination_kind.before
    )
    judge = Judge(pairs)
    was = judge.findings(_settled(few.before).network, lambda *_: None)
    fleet = _settled(few.wanted)
    now = judge.findings(fleet.network, Obstacles(few.wanted, Faults(), fleet))
    numbers = {(item.source, item.destination): item.pairs for item in asked}
    found: list[Loss] = []
    for ends, of_ends in groupby(range(len(pairs)), lambda index: _ends(pairs[index])):
        losses = ((was[index], now[index]) for index in of_ends)
        finding = next((item for had, item in losses if item and is_loss(item) and not (had and is_loss(had))), None)
        if finding:
            found.append(Loss(*ends, numbers[ends], failure_of(finding)))
    return tuple(found)


def _settled(intent: Intent) -> Fleet:
    fleet = Fleet(proving=False)
    fleet.settle(intent)
    return fleet


def _ends(pair: PairOfBlocks) -> tuple[str, str]:
    return pair.source, pair.destination


def _of_some(before: Intent, wanted: Intent, pairs: Sequence[NodePairs]) -> Verdict:
    """Evenly spread, if they are too many."""
    followed = pairs[:: -(-len(pairs) // _MOST_EXCHANGES) or 1]
    names = {name for item in followed for name in (item.source, item.destination)}
    parts = Parts(before, names), Parts(wanted, names)
    losses = ((item, lost(*parts, item.source, item.destination)) for item in followed)
    return Verdict(tuple(Loss(*item, failure) for item, failure in losses if failure), len(followed), len(pairs))
