"""
Plays: a story gives events to one agent and states which commands follow, exactly and in their order.

    play = Play()
    play.give(IntentLoaded(INTENT)).expect(Configure(speaker_config(INTENT, "a1")), Observe())
    play.settle("+ route 10.244.2.0/26 …", Speak(…))

A command that the story does not expect fails it, at the next event or when the test ends. Expected commands are
values, of which a Placeholder may be any part, or lines for operations (tests/kernel_text.py): `+ …` is put and
`- …` is removed.

Refuses to know: what the agent should do.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeAlias

import pytest

from bgpctl.core.agent.events import Applied, Apply, Command, Event, KernelChanged, Observe, Observed, WakeAt
from bgpctl.core.agent.reconcile import RESYNC_S
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.dataplane.effects import after
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import bare_kernel, member, two_racks
from tests.kernel_text import op_line, unified_diff

Expected: TypeAlias = Command | str

_UNBOUND: Final = object()
_TOLERANCE_S: Final = 0.05


class Placeholder:
    """Equals the first value that it is compared with and from then on only that; called, it is the value."""

    def __init__(self) -> None:
        self._value: object = _UNBOUND

    def __eq__(self, other: object) -> bool:
        if self._value is _UNBOUND:
            self._value = other
        return self._value == other

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> Any:
        assert self._value is not _UNBOUND, "the placeholder is bound to nothing"
        return self._value

    def __str__(self) -> str:
        return "…" if self._value is _UNBOUND else str(self._value)


def placeholder() -> Any:
    """One that takes the place of a value of any type."""
    return Placeholder()


class _FromNow:
    """Equals a time that is as far from the play's own as stated, give or take what a few events take."""

    def __init__(self, play: Play, seconds: float) -> None:
        self._play, self._seconds = play, seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self._play.now_s + self._seconds - other) < _TOLERANCE_S

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self._play.now_s + self._seconds:.3f}"


class Play:
    """One agent on node a1 with a kernel that does as ordered."""

    unfinished: ClassVar[list[Play]] = []
    """The plays that have unexpected commands left."""

    def __init__(self, kernel: Dataplane | None = None) -> None:
        self.state: State = begin("a1", 0.0)
        self.kernel = kernel or bare_kernel(member(two_racks(), "a1"))
        self.now_s = 0.0
        self._left: list[Command] = []
        self._left_by = ""

    # Statements of a story -------------------------------------------------------------------------------------------

    def give(self, *events: Event) -> Self:
        """The agent takes these events, a millisecond apart."""
        __tracebackhide__ = True
        self.end()
        self._left_by = f"{_line_of_the_story()}: after {', '.join(type(event).__name__ for event in events)}"
        for event in events:
            self._left += self._step(event)
        if self._left:
            Play.unfinished.append(self)
        return self

    def expect(self, *expected: Expected) -> None:
        """These commands follow from the events before, and no others."""
        __tracebackhide__ = True
        came, self._left = self._left, []
        if self in Play.unfinished:
            Play.unfinished.remove(self)
        _compare(came, expected, self._left_by)

    def settle(self, *expected: Expected) -> None:
        """
        The kernel is observed and changed until there is nothing more to do; then the agent sleeps until its next
        resync, unless the story expects another WakeAt. Observe is answered and not named by the story.
        """
        __tracebackhide__ = True
        self.end()
        line = _line_of_the_story()
        came = [*self._settled()]
        if not any(isinstance(item, WakeAt) for item in expected):
            resync = WakeAt(self.in_s(RESYNC_S))
            if resync not in came:
                pytest.fail(f"{line}: the agent does not sleep until its next resync, but: {list(map(_shown, came))}")
            came.remove(resync)
        _compare(came, expected, f"{line}: while it settled")

    def end(self) -> None:
        """Nothing is left over."""
        __tracebackhide__ = True
        if self._left:
            self.expect()

    def in_s(self, seconds: float) -> Any:
        """About this time from now."""
        return _FromNow(self, seconds)

    # What it knows -----------------------------------------------------------------------------------------------

    def unicast(self) -> set[str]:
        """The prefixes of the routes by next-hop object."""
        return {str(route.prefix) for route in self.kernel.routes if route.next_hop}

    def _step(self, event: Event) -> tuple[Command, ...]:
        self.now_s += 0.001
        self.state, commands = step(self.state, event, self.now_s)
        return commands

    def _settled(self) -> Iterator[Command]:
        """Every command but Observe."""
        commands = self._step(KernelChanged()) if not self.state.kernel.observing else (Observe(),)
        while commands:
            yield from (command for command in commands if not isinstance(command, Observe))
            commands = tuple(answer for command in commands for answer in self._answer(command))

    def _answer(self, command: Command) -> tuple[Command, ...]:
        match command:
            case Observe():
                return self._step(Observed(self.kernel))
            case Apply():
                for op in command.ops:
                    self.kernel = after(self.kernel, op)
                return self._step(Applied(()))
            case _:
                return ()


# Comparing -----------------------------------------------------------------------------------------------------


def _compare(came: Sequence[Command], expected: Sequence[Expected], where: str) -> None:
    __tracebackhide__ = True
    if not _agree(came, expected):
        actual, wanted = ([line for item in side for line in command_lines(item)] for side in (came, expected))
        pytest.fail(f"{where}\n{unified_diff(actual, wanted)}")


def _agree(came: Sequence[Command], expected: Sequence[Expected]) -> bool:
    """Lines stand for the operations of an Apply."""
    left = list(expected)
    for command in came:
        if isinstance(command, Apply) and left and isinstance(left[0], str):
            wanted: list[Expected] = list(map(op_line, command.ops))
        else:
            wanted = [command]
        if left[: len(wanted)] != wanted:
            return False
        left = left[len(wanted) :]
    return not left


def command_lines(item: Expected) -> list[str]:
    """A command as a failure shows it; each operation and each part of Speak has a line of its own."""
    if isinstance(item, str):
        return [item]
    if isinstance(item, Apply) and isinstance(item.ops, tuple):
        return list(map(op_line, item.ops))
    parts = getattr(item, "commands", None) or getattr(item, "probes", None)
    return [f"{type(item).__name__} {_shown(part)}" for part in parts] if isinstance(parts, tuple) else [_shown(item)]


def _shown(value: object) -> str:
    """Fields by name, without those that have their default; addresses and prefixes as they are written."""
    if not is_dataclass(value) or isinstance(value, type):
        return f"({', '.join(map(_shown, value))})" if type(value) is tuple else str(value)
    items = ((field.name, getattr(value, field.name), field.default) for field in fields(value))
    inner = ", ".join(f"{name}={_shown(item)}" for name, item, default in items if item != default)
    return f"{type(value).__name__}({inner})"


def _line_of_the_story() -> str:
    """Where the test called: the innermost line outside the modules that plays share."""
    frame = inspect.currentframe()
    shared = {__file__, str(Path(__file__).with_name("mesh.py"))}
    while frame and frame.f_back and frame.f_code.co_filename in shared:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else "somewhere"
