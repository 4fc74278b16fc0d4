"""
Drift: objects that have to be put back although what is wanted has not changed, and back-off where another program
keeps reverting them.

Damage is repaired at once. But another program that wants the opposite reverts each repair, and the two would go on at
full speed for ever. So what was repaired again and again is repaired ever more slowly, and reported.

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
"""After so long without another repair there is no conflict any more."""


class Conflict(NamedTuple):
    """The number of times an operation had to be repeated, and the time before which it is not repeated."""

    times: int
    due_s: float

    @property
    def persistent(self) -> bool:
        """Whether another program seems to want the opposite."""
        return self.times >= _PERSISTENT


Conflicts: TypeAlias = Mapping[Op, Conflict]


def repairs_in(before: Desired | None, pending: Collection[Op], ops: Iterable[Op]) -> tuple[Op, ...]:
    """The repairs among `ops`: they restore what was in place when `before` was wanted and `pending` was planned."""
    if before is None:
        return ()
    known = frozenset(pending)
    return tuple(op for op in ops if op not in known and _was_in_place(op, before))


def _was_in_place(op: Op, before: Desired) -> bool:
    if isinstance(op, Put):
        return op.thing in before.dataplane
    return not before.prune_holds and key_of(op.thing) not in before.reasons


def tracked(conflicts: Conflicts, new: Iterable[Op], desired: Desired, at_s: float) -> Conflicts:
    """The conflicts that still matter, and those that begin with the repairs in `new`."""
    kept = {
        op: conflict
        for op, conflict in conflicts.items()
        if at_s <= conflict.due_s + _FORGOTTEN_S and _is_wanted(op, desired)
    }
    return {**{op: Conflict(0, at_s) for op in new}, **kept}


def _is_wanted(op: Op, desired: Desired) -> bool:
    if isinstance(op, Put):
        return op.thing in desired.dataplane
    return key_of(op.thing) not in desired.reasons


def backing_off(conflicts: Conflicts, ops: Iterable[Op], at_s: float) -> frozenset[Op]:
    """The operations among `ops` that have to wait."""
    return frozenset(op for op in ops if op in conflicts and conflicts[op].due_s > at_s) if conflicts else frozenset()


def applied(conflicts: Conflicts, ops: Iterable[Op], at_s: float) -> Conflicts:
    """The conflicts once `ops` are done."""
    again = {op: conflicts[op].times + 1 for op in ops if op in conflicts}
    return {**conflicts, **{op: Conflict(times, at_s + _pause_s(times)) for op, times in again.items()}}


def _pause_s(times: int) -> float:
    return _BACKOFF_S[min(times, len(_BACKOFF_S) - 1)]


def next_due_s(conflicts: Conflicts, ops: Iterable[Op]) -> float | None:
    """When the first of `ops` that wait is due; None if none of them is in conflict."""
    return min((conflicts[op].due_s for op in ops if op in conflicts), default=None)


def persistent(conflicts: Conflicts) -> Conflicts:
    """The conflicts with a program that seems to want the opposite."""
    return {op: conflict for op, conflict in conflicts.items() if conflict.persistent}
