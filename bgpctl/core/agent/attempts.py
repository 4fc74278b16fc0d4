"""
The operations attempted so far and their results, one part of the agent's state.

Two questions are kept apart. An operation that was attempted and is still called for has failed, whatever the kernel
replied: all such operations share one back-off, so that 100,000 refused routes cost one number. An operation that has
to be done again although it held is a repair: another program undid it, and each object has a back-off of its own.

Refuses to know: why an operation is called for, and what it does to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bgpctl.core.agent.backoff import Backoff, Cause
from bgpctl.core.dataplane import drift
from bgpctl.core.dataplane.effects import Failure, Op
from bgpctl.core.fabric import Desired
from bgpctl.core.net.replacing import replace

Conflicts: TypeAlias = Mapping[Op, Backoff]
"""Per repair how often it was done, and when it may be done once more."""

_FIRST: Final = Backoff(Cause.OPERATION_FAILED)
_PERSISTENT: Final = 3
"""After so many repairs of the same object another program seems to want the opposite."""
_FORGOTTEN_S: Final = 60.0
"""An object that stayed in place for so long is in no conflict."""
_REPAIRS_KEPT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Attempts:
    """
    Attributes:
        applying: operations whose outcome is not known yet.
        failures: the last one of each operation that is still called for.
        tried: operations already attempted and still called for; they wait until `retry` is due.
        retry: the back-off that `tried` share.
        conflicts: repairs that had to be repeated, or may have to be.
        repairs: times within the last hour at which objects were restored although nothing else was wanted.
    """

    applying: frozenset[Op] = frozenset()
    failures: tuple[Failure, ...] = ()
    tried: frozenset[Op] = frozenset()
    retry: Backoff = _FIRST
    conflicts: Conflicts = field(default_factory=dict)
    repairs: tuple[float, ...] = ()

    @property
    def persistent_conflicts(self) -> Conflicts:
        """The repairs that another program keeps reverting."""
        return {op: conflict for op, conflict in self.conflicts.items() if conflict.attempts >= _PERSISTENT}

    # Results from the kernel -----------------------------------------------------------------------------------

    def applied(self, failures: tuple[Failure, ...]) -> Attempts:
        """The operations under way were done but for these. Failures of others stay: they were not tried again."""
        older = tuple(failure for failure in self.failures if failure.op not in self.applying)
        return replace(self, failures=(*older, *failures), applying=frozenset())

    def interrupted(self) -> Attempts:
        """Of the operations under way any may have been done; the next observation shows which."""
        return replace(self, applying=frozenset()) if self.applying else self

    # Operations that an observation calls for ------------------------------------------------------------------

    def called_for(self, ops: Iterable[Op]) -> Attempts:
        """Operations that are not in `ops` any more held; once all do, the next failure begins with a first pause."""
        if not self.tried and not self.failures:
            return self
        pending = frozenset(ops)
        tried = self.tried & pending
        failures = tuple(failure for failure in self.failures if failure.op in pending)
        return replace(self, tried=tried, failures=failures, retry=self.retry if tried else _FIRST)

    def repaired(self, repairs: tuple[Op, ...], desired: Desired, at_s: float) -> Attempts:
        """Objects to be restored although nothing else is wanted. Conflicts about what is obsolete by now are over."""
        if not repairs and not self.conflicts:
            return self
        known = {
            op: conflict
            for op, conflict in self.conflicts.items()
            if at_s <= conflict.due_s + _FORGOTTEN_S and drift.is_wanted(op, desired)
        }
        begun = dict.fromkeys(repairs, Backoff(Cause.REVERTED, due_s=at_s))
        return replace(self, conflicts={**begun, **known}, repairs=self._repairs_at(at_s) if repairs else self.repairs)

    def _repairs_at(self, at_s: float) -> tuple[float, ...]:
        return (*(then_s for then_s in self.repairs if then_s > at_s - _REPAIRS_KEPT_S), at_s)

    # Present attempts ------------------------------------------------------------------------------------------

    def ready(self, ops: Sequence[Op], at_s: float) -> Sequence[Op]:
        """The `ops` that need not wait: new ones at once, the others as their back-off has it."""
        waiting = self._waiting(at_s)
        return tuple(op for op in ops if op not in waiting) if waiting else ops

    def _waiting(self, at_s: float) -> frozenset[Op]:
        tried = frozenset[Op]() if self.retry.is_due(at_s) else self.tried
        return tried.union(op for op, conflict in self.conflicts.items() if not conflict.is_due(at_s))

    def begun(self, ops: Iterable[Op], at_s: float) -> Attempts:
        """These are under way. Those that joined between two attempts of the others wait for the next with them."""
        applying = frozenset(ops)
        again = {op: conflict.after_attempt(at_s) for op, conflict in self.conflicts.items() if op in applying}
        return replace(
            self,
            applying=applying,
            tried=self.tried | applying,
            retry=self.retry.after_attempt(at_s) if self.retry.is_due(at_s) else self.retry,
            conflicts={**self.conflicts, **again} if again else self.conflicts,
        )

    def timers_s(self, ops: Iterable[Op]) -> tuple[float, ...]:
        """When the back-off of each of `ops` ends."""
        conflicts_s = (self.conflicts[op].due_s for op in ops if op in self.conflicts) if self.conflicts else ()
        return (*conflicts_s, *([self.retry.due_s] if self.tried else []))
