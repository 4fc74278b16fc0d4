"""Probers for tests without packets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.netfilter import Chain
from bgpctl.ports import Closing, Prober


class NoListener:
    def close(self) -> None:
        pass


class NoProber(Prober):
    """Nothing is answered, and nothing is heard."""

    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        del probes
        return ()

    def packets_sent(self) -> int:
        return 0

    def chains(self) -> tuple[Chain, ...] | None:
        return None

    def carry(self, note: bytes) -> None:
        del note

    def listen(self, heard: Callable[[Address, bytes], None]) -> Closing:
        del heard
        return NoListener()
