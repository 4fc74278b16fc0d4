"""
The progress of long work on a lab.

Refuses to know: how it is shown.
"""

from __future__ import annotations

from typing import Final, Protocol


class Progress(Protocol):
    """The display of the progress of long work."""

    def stage(self, text: str) -> None:
        """A new stage has begun."""

    def count(self, done: int, total: int) -> None:
        """`done` of `total` within the stage."""


class _NoProgress:
    def stage(self, text: str) -> None:
        pass

    def count(self, done: int, total: int) -> None:
        pass


UNSEEN: Final[Progress] = _NoProgress()
"""For a caller that shows none."""
