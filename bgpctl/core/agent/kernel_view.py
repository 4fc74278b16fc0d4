"""
The kernel as the agent knows it, one part of its state: the last observation, and the objects still missing.

Refuses to know: how the kernel is read and changed, and how often an operation was attempted.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpctl.core.cluster.reasons import PruneHoldCode, Unmet
from bgpctl.core.dataplane.plan import Plan
from bgpctl.core.fabric import Desired
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.replacing import replace
from bgpctl.core.trace.shadows import Shadow

_NOTHING_TO_DO = Plan(())


@dataclass(frozen=True, slots=True)
class KernelView:
    """
    Attributes:
        observed: the last observation; None before the first.
        error: why the kernel cannot be read or changed now; empty when it can.
        observing: an observation was requested and is not here yet.
        desired: derived at the last observation.
        pending: the operations that the last observation still called for.
        shadows: routes of ours that packets do not take, because of something foreign.
        mismatches: how often a dump of the kernel differed from the mirror that follows its notifications.
    """

    observed: Dataplane | None = None
    error: str = ""
    observing: bool = False
    desired: Desired | None = None
    pending: Plan = _NOTHING_TO_DO
    shadows: tuple[Shadow, ...] = ()
    mismatches: int = 0

    @property
    def unmet(self) -> tuple[Unmet, ...]:
        """The wanted objects that cannot be had."""
        return (*(self.desired.unmet if self.desired else ()), *self.pending.blocked)

    @property
    def is_pruning_held(self) -> bool:
        """True if something is unknown, so that nothing is removed only because it is not wanted."""
        return bool(self.desired and self.desired.prune_holds)

    @property
    def misses_own_address(self) -> bool:
        """True if the node's address is on no link: more than ignorance, since the link was there before."""
        prune_holds = self.desired.prune_holds if self.desired else ()
        return any(item.code is PruneHoldCode.FACTS_UNKNOWN for item in prune_holds)

    def observation_requested(self) -> KernelView:
        """An observation is under way; until it is here no second one is requested."""
        return replace(self, observing=True)

    def lost(self, reason: str) -> KernelView:
        """The last observation stays, and may be wrong by now."""
        return replace(self, error=reason, observing=False)

    def mismatched(self) -> KernelView:
        """One more dump that differed from the mirror."""
        return replace(self, mismatches=self.mismatches + 1)

    def seen(self, observed: Dataplane) -> KernelView:
        """A whole observation replaces the one before."""
        return replace(self, observed=observed, error="", observing=False)

    def planned(self, desired: Desired, pending: Plan, shadows: tuple[Shadow, ...] = ()) -> KernelView:
        """The wanted objects that the observation was compared with, the difference, and what is in the way."""
        return replace(self, desired=desired, pending=pending, shadows=shadows)
