"""
Repairs: what has to be put back although nobody's wish has changed, and patience with whoever keeps undoing it.

Damage is mended at once. But another program that wants the opposite never tires: so what was mended again and again
is mended ever more slowly, and told.

Refuses to know: how something is put back, and whether that succeeded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.dataplane.effects import Op, Put
from bgpctl.core.fabric import Desired
from bgpctl.core.net.objects import key_of

_BACKOFF_S: Final = (0.0, 0.0, 0.0, 0.5, 2.0, 10.0, 30.0)
"""How long to wait after so many repairs of the same."""
_PERSISTENT: Final = 3
_FORGOTTEN_S: Final = 60.0
"""What stayed as it should for so long was not fought about."""


class Conflict(NamedTuple):
    """How often an operation had to be done again, and before when it is not done once more."""

    times: int
    due_s: float

    @property
    def persistent(self) -> bool:
        """Whether somebody seems to want the opposite."""
        return self.times >= _PERSISTENT


Conflicts: TypeAlias = Mapping[Op, Conflict]


def repairs_in(before: Desired | None, pending: Collection[Op], ops: Iterable[Op]) -> tuple[Op, ...]:
    """Those of `ops` that put right what was right when `before` was wanted and `pending` was called for."""
    if before is None:
        return ()
    known = frozenset(pending)
    return tuple(op for op in ops if op not in known and _was_in_place(op, before))


def _was_in_place(op: Op, before: Desired) -> bool:
    if isinstance(op, Put):
        return op.thing in before.dataplane
    return not before.prune_holds and key_of(op.thing) not in before.reasons


def tracked(contests: Conflicts, new: Iterable[Op], desired: Desired, at_s: float) -> Conflicts:
    """The contests that still matter, and those that begin with the repairs in `new`."""
    kept = {
        op: contest
        for op, contest in contests.items()
        if at_s <= contest.due_s + _FORGOTTEN_S and _is_wanted(op, desired)
    }
    return {**{op: Conflict(0, at_s) for op in new}, **kept}


def _is_wanted(op: Op, desired: Desired) -> bool:
    if isinstance(op, Put):
        return op.thing in desired.dataplane
    return key_of(op.thing) not in desired.reasons


def backing_off(contests: Conflicts, ops: Iterable[Op], at_s: float) -> frozenset[Op]:
    """Those of `ops` that have to wait."""
    return frozenset(op for op in ops if op in contests and contests[op].due_s > at_s) if contests else frozenset()


def applied(contests: Conflicts, ops: Iterable[Op], at_s: float) -> Conflicts:
    """The contests once `ops` are done."""
    again = {op: contests[op].times + 1 for op in ops if op in contests}
    return {**contests, **{op: Conflict(times, at_s + _pause_s(times)) for op, times in again.items()}}


def _pause_s(times: int) -> float:
    return _BACKOFF_S[min(times, len(_BACKOFF_S) - 1)]


def next_due_s(contests: Conflicts, ops: Iterable[Op]) -> float | None:
    """When the first of `ops` that wait is done; None if none of them is contested."""
    return min((contests[op].due_s for op in ops if op in contests), default=None)


def persistent(contests: Conflicts) -> Conflicts:
    """Those about which somebody seems to disagree."""
    return {op: contest for op, contest in contests.items() if contest.persistent}
