"""
The rate of resynchronisations: dumps of the whole kernel, which find changes without a notification.

Refuses to know: the clock, and what a dump finds.
"""

from __future__ import annotations

from typing import Final

_EVERY_S: Final = 60.0
_PAUSE: Final = 500
"""A pause is so many times as long as the dump took: 0.2 % of one CPU, however large the tables are."""


class ResyncThrottle:
    """Times are seconds of one clock that never goes back. At `opened_s` everything is dumped anyway."""

    def __init__(self, opened_s: float) -> None:
        self._due_s = opened_s + _EVERY_S

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def resynced(self, began_s: float, ended_s: float) -> None:
        """Everything was dumped from `began_s` to `ended_s`."""
        self._due_s = ended_s + max(_EVERY_S, _PAUSE * (ended_s - began_s))
