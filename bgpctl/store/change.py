"""
A change of the cluster files as a value: its standing, and its next step.

Refuses to know: files, clocks, the meaning of contents.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

Contents: TypeAlias = tuple[str, ...]
"""Of each file."""


class Standing(enum.StrEnum):
    """The standing of a change."""

    WRITING = "writing"
    """The files are being written, forth or back: if their lock is free, it was interrupted."""
    WAITS = "waits"
    """To be confirmed."""
    STAYS = "stays"
    RETURNED = "returned"
    """Not confirmed in time, or interrupted: the files have their former contents."""
    OVERTAKEN = "overtaken"
    """The files were edited before it was confirmed."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    The last change.

    Attributes:
        before, after: the contents of the files.
        boot: names the boot of the host in which it was made.
        confirm_by_s: until when it has to be confirmed, in seconds since that boot; None: it need not be.
    """

    before: Contents
    after: Contents
    boot: str
    confirm_by_s: float | None = None
    standing: Standing = Standing.WRITING


class Verdict(enum.Enum):
    """The verdict on a change."""

    NOTHING = "nothing"
    RETURN = "return"
    GIVE_UP = "give up"
    """The files differ from the change: they were edited since, and the edit is kept."""


def verdict_on(change: Change, contents: Contents, boot: str, now_s: float) -> Verdict:
    """The verdict on `change` when the files have `contents` and no process writes them, `now_s` after `boot`."""
    match change.standing:
        case Standing.WRITING:
            return Verdict.RETURN if _is_between(change, contents) else Verdict.GIVE_UP
        case Standing.WAITS if contents != change.after:
            return Verdict.GIVE_UP
        case Standing.WAITS if boot != change.boot or left_s(change, now_s) == 0:
            return Verdict.RETURN
        case Standing.WAITS | Standing.STAYS | Standing.RETURNED | Standing.OVERTAKEN:
            return Verdict.NOTHING
        case _:
            assert_never(change.standing)


def _is_between(change: Change, contents: Contents) -> bool:
    """True if each file is as it was or as it was to be; an agent may be started again with other files."""
    states = zip(contents, change.before, change.after, strict=False)
    return len(contents) == len(change.after) and all(content in ends for content, *ends in states)


def left_s(change: Change, now_s: float) -> float:
    """The seconds in which it can still be confirmed; never less than 0."""
    return max(0.0, (change.confirm_by_s or 0.0) - now_s)


def written(change: Change) -> Change:
    """The change after its contents were written."""
    return replace(change, standing=Standing.STAYS if change.confirm_by_s is None else Standing.WAITS)


def undone(change: Change, boot: str, standing: Standing) -> Change:
    """The change that restored the former contents."""
    return Change(change.after, change.before, boot, standing=standing)
