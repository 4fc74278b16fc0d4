"""A number with its noun, for messages: `1 pool`, `2 pools`.

Refuses to know: which things are counted.
"""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """`number` of `noun`; `plural` where an s is not enough."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
