"""
The pauses between attempts: one value for all that is tried again, and one table of how long each cause waits.

An attempt without lasting success is repeated, soon at first because most faults pass by themselves, then ever more
slowly because the rest need an operator and each attempt costs something.

Refuses to know: what is attempted, and how it ended.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Final, NamedTuple


class Cause(enum.Enum):
    """Why something is attempted again."""

    OPERATION_FAILED = "operation failed"
    """The kernel refused an operation, or reported success and does not show the result."""
    REVERTED = "reverted"
    """Another program undid what was in place."""
    KERNEL_LOST = "kernel lost"
    """The netlink socket is gone, or cannot be opened."""
    CONFIG_REJECTED = "configuration rejected"
    """The BGP speaker does not accept its configuration, or a password file cannot be read."""
    SPEAKER_ENDED = "speaker ended"
    """The BGP speaker's process ended or could not be started."""


_EVER_SLOWER_S: Final = (0.1, 0.5, 2.0, 10.0, 30.0)

PAUSES_S: Final[Mapping[Cause, tuple[float, ...]]] = {
    # A link that another program is still creating exists a moment later. What fails for a minute needs the operator,
    # who should not have to wait longer than half a minute once the reason is gone.
    Cause.OPERATION_FAILED: _EVER_SLOWER_S,
    # Damage is repaired at once, the second and third time too: another program may be cleaning up. From then on it
    # wants the opposite and never tires, and traffic suffers less from a route that stays away for a while
    # than from one that comes and goes.
    Cause.REVERTED: (0.0, 0.0, *_EVER_SLOWER_S[1:]),
    # Nothing can be repaired meanwhile, and an attempt is one system call.
    Cause.KERNEL_LOST: (1.0,),
    # The operator corrects a file and waits for the effect; an attempt may start ExaBGP once, to validate.
    Cause.CONFIG_REJECTED: (3.0,),
    # A process that ends at once will most likely end again: a taken port, a broken installation.
    Cause.SPEAKER_ENDED: _EVER_SLOWER_S,
}
"""The pause after the first attempt, after the second, and so on; the last one repeats."""


class Backoff(NamedTuple):
    """The attempts made so far, and when the next one is due, in seconds of the agent's clock."""

    cause: Cause
    attempts: int = 0
    due_s: float = -math.inf

    def is_due(self, at_s: float) -> bool:
        """True if the next attempt need not wait."""
        return at_s >= self.due_s

    def after_attempt(self, at_s: float) -> Backoff:
        """The pause that begins with an attempt at `at_s`."""
        pauses_s = PAUSES_S[self.cause]
        pause_s = pauses_s[min(self.attempts, len(pauses_s) - 1)]
        return Backoff(self.cause, self.attempts + 1, at_s + pause_s)
