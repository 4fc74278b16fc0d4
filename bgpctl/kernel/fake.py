"""
A kernel in memory: the law book with a door in front.

Refuses to know: anything that the law book does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bgpctl.core.dataplane.effects import Failure, KernelError, Op, after
from bgpctl.core.net.objects import Dataplane
from bgpctl.ports import Kernel

_EMPTY: Final = Dataplane()


class FakeKernel(Kernel):
    """Starts with the given dataplane, which others can tamper with."""

    def __init__(self, start: Dataplane = _EMPTY) -> None:
        self._dataplane = start
        self._watchers: list[Callable[[], None]] = []

    def observe(self) -> Dataplane:
        return self._dataplane

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        return tuple(failure for op in ops if (failure := self._try(op)))

    def _try(self, op: Op) -> Failure | None:
        try:
            self._dataplane = after(self._dataplane, op)
        except KernelError as refused:
            return Failure(op, refused.errno)
        return None

    def tamper(self, *ops: Op) -> None:
        """Change the dataplane as somebody else would."""
        self.apply(ops)
        for changed in self._watchers:
            changed()

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()
