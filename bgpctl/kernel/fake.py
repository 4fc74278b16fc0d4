"""
A kernel in memory: the law book with a door in front.

Refuses to know: anything that the law book does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bgpctl.core.dataplane.effects import Failure, KernelError, Op, Remove, after
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Dataplane, Sysctl, Traffic
from bgpctl.ports import Host, Kernel

_EMPTY: Final = Dataplane()


class FakeKernel(Kernel):
    """Starts with the given dataplane, which others can tamper with."""

    def __init__(self, start: Dataplane = _EMPTY) -> None:
        self._dataplane = start
        self._watchers: list[Callable[[], None]] = []
        self._sysctls_before: dict[str, Sysctl] = {}

    def observe(self) -> Dataplane:
        return self._dataplane

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        return tuple(failure for op in ops if (failure := self._apply(op)))

    def changed_sysctls(self) -> tuple[Sysctl, ...]:
        return tuple(before for _, before in sorted(self._sysctls_before.items()))

    def _apply(self, op: Op) -> Failure | None:
        if not isinstance(op.thing, Sysctl):
            return self._try(op)
        name = op.thing.name
        present = next((item for item in self._dataplane.sysctls if item.name == name), None)
        failure = self._try(op)
        if not failure and isinstance(op, Remove):
            self._sysctls_before.pop(name, None)
        elif not failure and present and present != op.thing:
            self._sysctls_before.setdefault(name, present)
        return failure

    def _try(self, op: Op) -> Failure | None:
        try:
            self._dataplane = after(self._dataplane, op)
        except KernelError as refused:
            return Failure(op, refused.errno)
        return None

    def tamper(self, *ops: Op) -> None:
        """Change the dataplane as somebody else would."""
        for op in ops:
            self._try(op)
        for changed in self._watchers:
            changed()

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()


class FakeHost(Host):
    """Connections and counters that a test sets."""

    def __init__(self) -> None:
        self.peers: frozenset[Address] = frozenset()
        self.counters: Mapping[str, Traffic] = {}

    def connected(self) -> frozenset[Address]:
        return self.peers

    def traffic(self) -> Mapping[str, Traffic]:
        return self.counters
