"""
Records from a source that knows which of them changed: only these are read, and checked, again.

Refuses to know: where records are kept, the keys of a document (core/intent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.intent import fragment
from bgpctl.core.intent.draft import Draft
from bgpctl.core.intent.edit import Basis, edited
from bgpctl.core.intent.load import whole
from bgpctl.core.intent.tree import is_nothing
from bgpctl.ports import Loaded, Records, RecordSource
from bgpctl.store.yaml import BadYaml, documents


class OutOfStep(Exception):
    """Records follow a generation that is not the last one: all of them are needed."""


class _Read(NamedTuple):
    """The meaning of one record, or the problem because of which it has none."""

    fragments: tuple[Draft, ...] = ()
    bad: Problem | None = None


class RecordReader:
    """Understands what a source gives, one time after the other. One thread calls."""

    def __init__(self) -> None:
        self._generation: int | None = None
        self._known: dict[str, _Read] = {}
        self._bad: set[str] = set()
        self._basis: Basis | None = None
        self._good: Intent | None = None

    def understand(self, records: Records) -> Loaded:
        """
        The intent of all records together, or all their problems.

        Raises:
            OutOfStep: something is missing in between.
        """
        if records.since is not None and records.since != self._generation:
            raise OutOfStep
        gone_keys = self._known.keys() if records.since is None else records.changed.keys() | records.removed
        read = {key: _read(key, text) for key, text in records.changed.items()}
        gone = [part for key in gone_keys if key in self._known for part in self._known[key].fragments]
        self._replace(frozenset(gone_keys), read)
        self._generation = records.generation
        return self._answer(gone, [part for item in read.values() for part in item.fragments])

    def _replace(self, gone: Iterable[str], read: Mapping[str, _Read]) -> None:
        for key in gone:
            self._known.pop(key, None)
            self._bad.discard(key)
        self._known.update(read)
        self._bad |= {key for key, item in read.items() if item.bad}

    def _answer(self, gone: list[Draft], new: list[Draft]) -> Loaded:
        if self._bad:
            # Without the records that cannot be read the rest would only look wrong.
            self._basis = None
            return tuple(sorted(bad for key in self._bad if (bad := self._known[key].bad)))
        after = edited(self._basis, gone, new) if self._basis else None
        if after:
            self._basis, self._good = after, after.intent
            return after.intent
        parts = chain.from_iterable(item.fragments for _, item in sorted(self._known.items()))
        loaded, self._basis = whole(parts, self._good)
        self._good = loaded if isinstance(loaded, Intent) else self._good
        return loaded


def _read(key: str, text: str) -> _Read:
    try:
        return _Read(tuple(fragment(tree) for tree in documents(text, key) if not is_nothing(tree)))
    except BadYaml as bad:
        return _Read(bad=bad.problem)


class MemoryRecords(RecordSource):
    """Records in memory. Watchers are called by the thread that changes something."""

    def __init__(self, records: Mapping[str, str]) -> None:
        self._records = dict(records)
        self._generation = 0
        self._watchers: list[Callable[[Records], None]] = []

    def read(self) -> Records:
        return Records(self._generation, None, dict(self._records))

    def watch(self, changed: Callable[[Records], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()

    def edit(self, changed: Mapping[str, str], removed: Iterable[str] = ()) -> None:
        """Put some records in place of those with their keys, and remove others, in one generation."""
        gone = frozenset(removed)
        self._records.update(changed)
        for key in gone:
            self._records.pop(key, None)
        since, self._generation = self._generation, self._generation + 1
        for notify in tuple(self._watchers):
            notify(Records(self._generation, since, changed, gone))
