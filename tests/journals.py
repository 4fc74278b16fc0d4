"""Journals of an agent, and that they can be replayed."""

from __future__ import annotations

from bgpctl.agent.journal import Entry, Journal, Record
from bgpctl.core.agent.events import Event
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step


def lived(*story: Event, start: State | None = None) -> Journal:
    """The journal of an agent to which all this happened, a second apart."""
    state = start or begin("a1", 0.0)
    kept = Journal(state)
    for number, event in enumerate(story):
        after, commands = step(state, event, 1000.0 + number)
        kept.write(state, Entry(1000.0 + number, event, commands))
        state = after
    return kept


def is_faithful(record: Record) -> bool:
    return list(record.replayed()) == [entry.commands for entry in record.entries]
