"""
The last events with the commands that answered them, and the state before the first: all of it can be replayed.

Refuses to know: what an event means, how a journal is written to a file.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bgpctl.core.agent.events import Apply, Command, Event, MirrorMismatch, Observed
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.state import State
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.speaker import Update
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.replacing import replace

_HALF: Final = 500
"""Events in each of two halves, of which the older one is dropped when the younger one is full."""
_HALF_WEIGHT: Final = 20_000
"""
Objects in them. Objects that are kept make Python search for cycles more often (see service.collect_seldom): with
100,000 one repair in a hundred, of one route of 1000, took 65 ms instead of 36 ms.
"""


class Entry(NamedTuple):
    """An event at `at_s` (seconds of the loop's clock), and the commands that answered it."""

    at_s: float
    event: Event
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A stretch of one agent's life: `entries` follow from `start`."""

    start: State
    entries: tuple[Entry, ...]

    def replayed(self) -> Iterator[tuple[Command, ...]]:
        """The commands that the loop answers the same events with now."""
        state = self.start
        for entry in self.entries:
            state, commands = step(state, entry.event, entry.at_s)
            yield commands


@dataclass(slots=True)
class _Half:
    start: State
    entries: list[Entry] = field(default_factory=list)
    weight: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= _HALF or self.weight >= _HALF_WEIGHT


class Journal:
    """Written by one thread, read by any."""

    def __init__(self, start: State) -> None:
        self._lock = threading.Lock()
        self._older = _Half(_without_memo(start))
        self._younger = self._older

    def write(self, before: State, entry: Entry) -> None:
        """`entry` happened in the state `before`."""
        with self._lock:
            if self._younger.is_full:
                self._older, self._younger = self._younger, _Half(_without_memo(before))
            self._younger.entries.append(entry)
            self._younger.weight += _weight(before, entry)

    def record(self) -> Record:
        """All there is."""
        with self._lock:
            younger = () if self._younger is self._older else tuple(self._younger.entries)
            return Record(self._older.start, (*self._older.entries, *younger))


def _without_memo(state: State) -> State:
    """The state to replay from: a replay derives everything anew, and former results would keep former tables."""
    return replace(state, memo=Memo())


def _weight(before: State, entry: Entry) -> int:
    """The objects that are kept for the entry alone: observations share what did not change."""
    done = sum(len(command.ops) for command in entry.commands if isinstance(command, Apply))
    match entry.event:
        case Observed(dataplane):
            return done + dataplane.unshared_size(before.kernel.observed or Dataplane())
        case MirrorMismatch(mismatch):
            return done + mismatch.absent.size + mismatch.unknown.size
        case Update(announced=announced, withdrawn=withdrawn):
            return done + len(announced) + len(withdrawn)
        case _:
            return done
