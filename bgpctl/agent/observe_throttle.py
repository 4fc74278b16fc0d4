"""
The rate at which changes by other programs lead to observations of the kernel.

The first change is observed at once, and so is the next one after a repair. An observation that called for nothing is
followed by a pause: dumping a large table is expensive, and a program that rewrites foreign routes all day must not
cost a CPU.

Refuses to know: the changes, and the clock.
"""

from __future__ import annotations

from typing import Final

_PAUSE: Final = 20
"""A pause is so many times as long as the observation took: five percent of one CPU."""
_LONGEST_PAUSE_S: Final = 2.0
"""To dump 100,000 routes takes 0.1 s; no repair waits longer than this for it."""


class ObserveThrottle:
    """Times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._free_s = 0.0

    def observed_in_vain(self, began_s: float, ended_s: float) -> None:
        """An observation and its step took from `began_s` to `ended_s` and called for no operation."""
        self._free_s = ended_s + min(_PAUSE * (ended_s - began_s), _LONGEST_PAUSE_S)

    def wait_s(self, now_s: float) -> float:
        """The time that a change reported now has to wait; 0 if it need not."""
        return max(0.0, self._free_s - now_s)
