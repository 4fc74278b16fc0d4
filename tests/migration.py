"""One node of a small cluster on its way from one intent to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bgpctl.core.bgp.encap_community import AdvertisedTunnels, nothing_advertised
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import derive
from bgpctl.core.migration.next_step import MigrationStep, next_step
from bgpctl.core.migration.probes import NO_RESULTS, ProbeReply, ProbeResults
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.simulate.preview import assumed_kernel, converged
from tests.cluster import learned_from_all, member


@dataclass(frozen=True)
class Migrating:
    """Node a1 with the kernel of one intent, once it wants another; it has no path from the nodes in `silent`."""

    wanted: Intent
    kernel: Dataplane
    silent: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Intent, wanted: Intent, *, silent: tuple[str, ...] = ()) -> Migrating:
        here = member(before, "a1")
        return cls(wanted, converged(before, here, assumed_kernel(here)), silent)

    def step(
        self,
        results: ProbeResults = NO_RESULTS,
        at_s: float = 0.0,
        advertised: AdvertisedTunnels = nothing_advertised,
    ) -> MigrationStep:
        here = member(self.wanted, "a1")
        choices = learned_from_all(self.wanted, here, without=self.silent)
        desired = derive(self.wanted, here, {}, choices, self.kernel)
        return next_step(desired, self.kernel, self.wanted, here, results, at_s, advertised)

    def on(self, kernel: Dataplane) -> Migrating:
        return replace(self, kernel=kernel)


def answered(step: MigrationStep) -> ProbeResults:
    """Every probe has been."""
    return ProbeResults({probe.path: 0.0 for probe in step.probes}, {})


def names(step: MigrationStep) -> tuple[set[str], set[str]]:
    """The members that cutovers and drains wait for."""
    return {pending.member for pending in step.cutovers}, {pending.member for pending in step.drains}


def replies(step: MigrationStep, link: str) -> Iterable[ProbeReply]:
    """Every return probe was answered by `link`."""
    return [ProbeReply(probe, link) for probe in step.probes if probe.shows_return_path]
