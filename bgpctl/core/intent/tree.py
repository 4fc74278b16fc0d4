"""
Documents as located trees: what a YAML reader makes, and all that the intent room sees of a file.

Refuses to know: YAML.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import TypeAlias

from bgpctl.core.model import Place


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf. `value` is typed as YAML types it; `text` is how it was written."""

    place: Place
    value: str | int | float | bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping with text keys, in the order of the file; `keys` says where each key stands."""

    place: Place
    items: AnyMapping[str, Tree]
    keys: AnyMapping[str, Place]


Tree: TypeAlias = Scalar | Sequence | Mapping


def kind_of(tree: Tree) -> str:
    """What a person would call it."""
    match tree:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(text=text):
            return text
