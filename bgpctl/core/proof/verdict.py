"""
The outcome for one path: whether a packet of full size reaches the member.

Refuses to know: how it was found out, and what follows from it.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Verdict(enum.Enum):
    """
    The knowledge of a path.

    ASKED: probes are on the way. PROVEN: a packet of full size was answered. NARROW: smaller ones only. UNREACHABLE:
    none, of a member that answered before, or that answers without encapsulation. UNPROVEN: none, of a host that may
    never answer probes: no claim about it is possible.
    """

    ASKED = "asked"
    PROVEN = "proven"
    NARROW = "narrow"
    UNREACHABLE = "unreachable"
    UNPROVEN = "unproven"


class Proof(NamedTuple):
    """
    Attributes:
        since_s: since when the verdict is this one; in seconds of the agent's clock.
        answers_bare: the member answers without encapsulation.
        passes_bytes: of a NARROW path, the size of the largest packet that was answered; 0 while that is searched.
    """

    verdict: Verdict
    since_s: float
    answers_bare: bool = False
    passes_bytes: int = 0


BROKEN = frozenset({Verdict.UNREACHABLE, Verdict.NARROW})
"""Packets are known to be lost."""
