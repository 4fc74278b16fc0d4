"""
One text in memory as a store, for tests.

Refuses to know: files, and what the text means.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable
from contextlib import AbstractContextManager

from bgpctl.core.cluster.problems import Problem
from bgpctl.ports import Clock, Loaded, Proposal, Store
from bgpctl.store.change import Change, Contents
from bgpctl.store.changes import Changes, Medium


class Memory(Medium):
    """A text with the record of its last change: what outlives an agent that is killed."""

    names = ("memory",)

    def __init__(self, text: str = "") -> None:
        self._contents: Contents = (text,)
        self._last: Change | None = None
        self._lock = threading.RLock()

    def read(self) -> Contents:
        return self._contents

    def write(self, contents: Contents) -> None:
        self._contents = contents

    def last(self) -> Change | None:
        return self._last

    def remember(self, change: Change) -> None:
        self._last = change

    def record_identity(self) -> Hashable:
        return self._last

    def locked(self) -> AbstractContextManager[object]:
        return self._lock


class MemoryStore(Store):
    """Watchers are called by the thread that changes the text, or that calls `settle`."""

    def __init__(self, memory: Memory, clock: Clock, understand: Callable[[str], Loaded]) -> None:
        self.names = memory.names
        self._memory = memory
        self._understand = understand
        self._changes = Changes(memory, clock, lambda contents: understand(*contents))
        self._watchers: list[Callable[[Loaded], None]] = []
        self._known = memory.read()

    def load(self) -> Loaded:
        self._changes.settle()
        self._known = self._memory.read()
        return self._understand(*self._known)

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()

    def edit(self, text: str) -> None:
        """Replace the text, as an editor does with a file."""
        self._memory.write((text,))
        self.settle()

    def settle(self) -> None:
        """Undo what was not confirmed in time, and notify the watchers if the text changed."""
        self._changes.settle()
        contents = self._memory.read()
        if contents != self._known:
            self._known = contents
            loaded = self._understand(*contents)
            for changed in tuple(self._watchers):
                changed(loaded)

    def preview(self, proposal: Proposal) -> Loaded:
        return self._understand(proposal)

    def missing(self, proposal: Proposal, files: Collection[str]) -> tuple[Problem, ...]:
        del proposal, files
        return ()

    def propose(self, proposal: Proposal, confirm_within_s: float | None = None) -> None:
        self._changes.propose((proposal,), confirm_within_s)
        self.settle()

    def confirm(self) -> None:
        self._changes.confirm()

    def undo(self) -> None:
        self._changes.undo()
        self.settle()

    def unconfirmed_s(self) -> float | None:
        return self._changes.left_s()

    def status(self) -> None:
        return None
