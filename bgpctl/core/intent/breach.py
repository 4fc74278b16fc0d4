"""
Rules that are broken, before their place is known.

Refuses to know: the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import Draft, Stated
from bgpctl.core.intent.tree import shown

T = TypeVar("T")

_MOST_NAMED: Final = 5


class Breach(NamedTuple):
    """A rule that is broken; `part` names the part of the object that breaks it."""

    part: str
    message: str
    rule: str
    severity: Severity = Severity.ERROR


def note(draft: Draft, stated: Stated[T], breaches: Iterable[Breach]) -> None:
    """Note each where the part that breaks it stands."""
    for part, message, rule, severity in breaches:
        draft.wrong(stated.part(part), message, rule, severity)


def some(names: Sequence[str]) -> str:
    """The first few, and how many there are more."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(shown, names[:_MOST_NAMED])) + more if names else "there is none"
