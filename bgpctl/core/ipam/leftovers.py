"""
Leftovers, which a runtime has not removed: what it was observed not to have twice, AGE_S apart or more.

One observation proves little: an address is given before its endpoint is made, and an endpoint before the runtime shows
it. While the runtime does not answer there is no observation. An item that is there again is new.

Refuses to know: the runtime.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from bgpctl.core.ipam.ledger import Moment

T = TypeVar("T")

AGE_S: Final = 60.0


class Observed(NamedTuple, Generic[T]):
    """Items that the runtime does not have, each with the first moment of that; and those that are to be collected."""

    absent: Mapping[T, Moment]
    leftovers: Collection[T]


def observed(before: Mapping[T, Moment], absent: Collection[T], now: Moment) -> Observed[T]:
    """One more observation: what is held for the runtime, which does not have it."""
    first = {item: before.get(item, now) for item in absent}
    old = [item for item, since in first.items() if now.since_boot_s - since.since_boot_s >= AGE_S]
    return Observed(first, old)
