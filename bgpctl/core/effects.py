"""The law book: what each operation does to a dataplane. Shared by the plan's tests, simulation and the fake kernel.

Kernel facts were measured on Linux 6.1 and 6.18; the contract tests hold this file to the running kernel.

Refuses to know: why an operation was planned and in what order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from bgpctl.core.model import Thing
from bgpctl.core.why import Why


@dataclass(frozen=True, slots=True)
class Put:
    """Create the object, or change the one with the same key in place, atomically for traffic."""

    thing: Thing
    why: Why


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the object; removing what is absent is no error."""

    thing: Thing
    why: Why


Op: TypeAlias = Put | Remove
