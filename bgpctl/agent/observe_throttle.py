"""
How often somebody else's changes may make us look at the kernel.

The first one is looked at at once, and so is the next one after damage. But a look that found nothing for us to do is
followed by a rest: a look at a large table is dear, and whoever rewrites other routes all day must not cost a CPU.

Refuses to know: what was changed, and what the clock is.
"""

from __future__ import annotations

from typing import Final

_REST: Final = 20
"""Rest so many times as long as it took: five percent of one CPU."""
_LONGEST_REST_S: Final = 2.0
"""At 100,000 routes a look takes 0.3 s; damage is not to wait longer than this for it."""


class ObserveThrottle:
    """Times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._free_s = 0.0

    def looked_in_vain(self, began_s: float, ended_s: float) -> None:
        """A look, and whatever followed from it, took from `began_s` to `ended_s`, and there was nothing to do."""
        self._free_s = ended_s + min(_REST * (ended_s - began_s), _LONGEST_REST_S)

    def wait_s(self, now_s: float) -> float:
        """How long a change that is told now has to wait; 0 if it need not."""
        return max(0.0, self._free_s - now_s)
