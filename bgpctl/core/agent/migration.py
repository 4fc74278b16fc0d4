"""
A change of encapsulation in progress, one part of the agent's state: probe results and the members waited for.

Refuses to know: how a step of a migration is selected (core/migration), how a probe is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bgpctl.core.migration.next_step import MigrationStep
from bgpctl.core.migration.probes import NO_RESULTS, PROBE_EVERY_S, Probe, ProbeReply, ProbeResults, with_replies
from bgpctl.core.migration.situation import PendingMember
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.replacing import replace


@dataclass(frozen=True, slots=True)
class Migration:
    """
    Attributes:
        probe_results: the results of probes of new paths.
        cutovers: members that this node does not send to by the new encapsulation yet.
        drains: members that are not known to have left a link that is to go.
        waiting_since: when the wait for each of both began.
        probing: probes were sent and their replies are not here yet.
        next_probe_s: the next ones are due then.
    """

    probe_results: ProbeResults = NO_RESULTS
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()
    waiting_since: Mapping[PendingMember, float] = field(default_factory=dict)
    probing: bool = False
    next_probe_s: float = 0.0

    @property
    def in_progress(self) -> bool:
        """True while a member is waited for."""
        return bool(self.cutovers or self.drains)

    @property
    def timers_s(self) -> tuple[float, ...]:
        """When the next probes are due, unless replies are awaited."""
        return (self.next_probe_s,) if self.in_progress and not self.probing else ()

    def without_results(self) -> Migration:
        """Probe results count for one intent: another node may have a newer one already."""
        return self if self.probe_results is NO_RESULTS else replace(self, probe_results=NO_RESULTS)

    def probed(self, replies: Iterable[ProbeReply], observed: Dataplane, at_s: float) -> Migration:
        """The replies to the probes under way."""
        results = with_replies(self.probe_results, replies, observed, at_s)
        return replace(self, probe_results=results, probing=False, next_probe_s=at_s + PROBE_EVERY_S)

    def waiting_for(self, step: MigrationStep, at_s: float) -> Migration:
        """The members that this step waits for, each since it was first waited for."""
        if not self.in_progress and step.settled:
            return self
        since = {item: self.waiting_since.get(item, at_s) for item in (*step.cutovers, *step.drains)}
        return replace(self, cutovers=step.cutovers, drains=step.drains, waiting_since=since)

    def due_probes(self, probes: tuple[Probe, ...], at_s: float) -> tuple[Probe, ...]:
        """All of them or none: a round of probes shows the state at one time."""
        return () if self.probing or at_s < self.next_probe_s else probes

    def probes_sent(self) -> Migration:
        """Replies are awaited."""
        return replace(self, probing=True)
