"""
A decision made again without anything that was taken over: incremental equals whole, checked in a running agent.

Tests check it on generated stories (docs/decisions/0018). An agent lives through others, and a stage that took over
what it should not have would go on doing so: the next decision starts from its result.

Refuses to know: when there is time for it, and what follows from a difference.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Final, NamedTuple

from bgpctl.core.agent.events import Command, Observed
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.state import State
from bgpctl.core.agent.step import step

_FOLLOWING: Final = frozenset({"phase", "since_s"})
"""Fields of the state that follow from the others."""


class Decision(NamedTuple):
    """An observation at `at_s` (seconds of the agent's clock): the states before and after it, and its commands."""

    before: State
    observed: Observed
    at_s: float
    after: State
    commands: tuple[Command, ...]


def differences(made: Decision) -> tuple[str, ...]:
    """The parts of the state, and `commands`, that the same decision has otherwise when it takes nothing over."""
    after, commands = step(replace(made.before, memo=Memo()), made.observed, made.at_s)
    found = [
        f"{part.name}{inner}"
        for part in fields(State)
        if part.compare and part.name not in _FOLLOWING
        for inner in _different(getattr(made.after, part.name), getattr(after, part.name))
    ]
    return (*found, *(["commands"] if commands != made.commands else []))


def _different(one: object, other: object) -> list[str]:
    """The fields of a part that differ, as `.field`; an empty name where the part has none, or they do not say."""
    if one == other:
        return []
    if not is_dataclass(one) or not is_dataclass(other) or type(one) is not type(other):
        return [""]
    named = [part.name for part in fields(one) if part.compare]
    return [f".{name}" for name in named if getattr(one, name) != getattr(other, name)]
