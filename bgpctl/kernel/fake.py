"""
A kernel in memory: the kernel model (core/dataplane/effects.py) behind the Kernel port. Like the running one, it is
observed by its notifications: a change without one shows in a resynchronisation only.

Refuses to know: anything that the model does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, groupby
from typing import Final

from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op, Remove, after_each
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Drops, Key, Sysctl, Traffic, key_of
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.ports import Host, Kernel

_EMPTY: Final = Dataplane()


class FakeKernel(Kernel):
    """Starts with the given dataplane, which others can tamper with."""

    def __init__(self, start: Dataplane = _EMPTY) -> None:
        self._dataplane = start
        self._mirror = start
        self._watchers: list[Callable[[], None]] = []
        self._sysctls_before: dict[Key, Sysctl] = {}

    def observe(self) -> Dataplane:
        return self._mirror

    def resync(self) -> Mismatch | None:
        believed, self._mirror = self._mirror, self._dataplane
        if believed == self._dataplane:
            return None
        return Mismatch(believed.minus_all(self._dataplane), self._dataplane.minus_all(believed))

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        failures: list[Failure] = []
        for kind, group in groupby(ops, key=lambda op: type(op.object)):
            run = tuple(group)
            failures += chain.from_iterable(map(self._apply_sysctl, run)) if kind is Sysctl else self._do(run)
        return tuple(failures)

    def changed_sysctls(self) -> tuple[Sysctl, ...]:
        return tuple(before for _, before in sorted(self._sysctls_before.items()))

    def _apply_sysctl(self, op: Op) -> tuple[Failure, ...]:
        present = next((item for item in self._dataplane.sysctls if key_of(item) == key_of(op.object)), None)
        failures = self._do((op,))
        if not failures and isinstance(op, Remove):
            self._sysctls_before.pop(key_of(op.object), None)
        elif not failures and present and present != op.object:
            self._sysctls_before.setdefault(key_of(op.object), present)
        return failures

    def _do(self, ops: Iterable[Op]) -> tuple[Failure, ...]:
        before = self._dataplane
        self._dataplane, refused = after_each(before, ops)
        self._mirror = self._mirror.minus_all(before.minus_all(self._dataplane))
        self._mirror = self._mirror.plus_all(self._dataplane.minus_all(before))
        return tuple(Failure(refusal.op, refusal.errno) for refusal in refused)

    def tamper(self, *ops: Op) -> None:
        """Change the dataplane as another program would."""
        self._do(ops)
        for changed in self._watchers:
            changed()

    def tamper_unnotified(self, *ops: Op) -> None:
        """The same without a notification, as if it was lost and the loss not reported."""
        self._dataplane, _ = after_each(self._dataplane, ops)

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()


class FakeHost(Host):
    """Connections and counters that a test sets."""

    def __init__(self) -> None:
        self.peers: frozenset[Address] = frozenset()
        self.counters: Mapping[str, Traffic] = {}
        self.dropped: Mapping[str, tuple[Drops, ...]] = {}

    def connected(self) -> frozenset[Address]:
        return self.peers

    def traffic(self) -> Mapping[str, Traffic]:
        return self.counters

    def drops(self) -> Mapping[str, tuple[Drops, ...]]:
        return self.dropped

    def snapshot(self, observed: Dataplane) -> Snapshot:
        return Snapshot(observed)
