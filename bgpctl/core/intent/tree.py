"""
Documents as located trees: the result of a YAML reader, and all that core/intent sees of a file.

Refuses to know: YAML.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from bgpctl.core.cluster.problems import Place

_LONGEST_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf. `value` is a number only if it is whole and decimal; `text` is how it was written."""

    place: Place
    value: str | int | bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """
    A mapping with text keys, in the order of the file; `keys` has the place of each key.

    `repeated` has the keys that were given again, with the place of the repetition; the first value stays.
    """

    place: Place
    items: AnyMapping[str, Tree]
    keys: AnyMapping[str, Place]
    repeated: tuple[tuple[str, Place], ...] = ()


Tree: TypeAlias = Scalar | Sequence | Mapping


def is_nothing(tree: Tree) -> bool:
    """True of an empty document, and of a key without a value."""
    return isinstance(tree, Scalar) and tree.value is None


def kind_of(tree: Tree) -> str:
    """The name that a person would use."""
    match tree:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(text=text):
            return shown(text)


def shown(text: str) -> str:
    """A value of the file for a message: on one line, not too long, visible even if empty."""
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    if not short:
        return "''"
    return short if short.isprintable() else short.encode("unicode_escape").decode("ascii")
