"""
The rate of checks that go through everything to find a difference that should never be.

Refuses to know: the clock, and what is checked.
"""

from __future__ import annotations

from typing import Final

_EVERY_S: Final = 60.0


class RecheckThrottle:
    """
    Times are seconds of one clock that never goes back.

    Args:
        begun_s: when there was nothing to find.
        pause: the least time between two checks, as a multiple of what the last one took. A pause of 500 is 0.2 % of
            one CPU, however large the tables are.
    """

    def __init__(self, begun_s: float, pause: int) -> None:
        self._pause = pause
        self._due_s = begun_s + _EVERY_S

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def rechecked(self, ended_s: float, took_s: float) -> None:
        """A check has ended; the pause begins."""
        self._due_s = ended_s + max(_EVERY_S, self._pause * took_s)
