"""Probers for tests without packets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.netfilter import Chain
from bgpctl.core.trace.sightings import Mark
from bgpctl.ports import Closing, Prober, Unavailable, Watching


class NoListener:
    def close(self) -> None:
        pass


class NoProber(Prober):
    """Nothing is answered, and nothing is heard."""

    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        del probes
        return ()

    def silent(self) -> frozenset[Address]:
        return frozenset()

    def packets_sent(self) -> int:
        return 0

    def chains(self) -> tuple[Chain, ...] | None:
        return None

    def watch(self, mark: Mark) -> Watching:
        del mark
        raise Unavailable("nothing is watched")

    def carry(self, note: bytes) -> None:
        del note

    def listen(self, heard: Callable[[Address, bytes], None]) -> Closing:
        del heard
        return NoListener()
