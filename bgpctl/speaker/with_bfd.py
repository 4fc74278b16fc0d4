"""
The Speaker port as two processes: ExaBGP, and one for BFD beside it.

Refuses to know: either of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from bgpctl.core.bgp.speaker import SpeakerCommand, SpeakerConfig, SpeakerEvent
from bgpctl.core.net.addresses import Prefix
from bgpctl.ports import Speaker
from bgpctl.speaker.bfd.supervisor import BfdSupervisor


class SpeakerWithBfd(Speaker):
    """A speaker of BGP, and BFD (RFC 5880) for those of its sessions that ask for it."""

    def __init__(self, bgp: Speaker, bfd: BfdSupervisor) -> None:
        self._bgp = bgp
        self._bfd = bfd

    def start(self, deliver: Callable[[SpeakerEvent], None]) -> None:
        self._bgp.start(deliver)
        self._bfd.start(deliver)

    def configure(self, config: SpeakerConfig) -> None:
        self._bgp.configure(config)
        self._bfd.configure(config.sessions)

    def send(self, commands: Sequence[SpeakerCommand]) -> None:
        self._bgp.send(commands)

    def shutdown(self, withdrawing: Collection[Prefix] = ()) -> None:
        try:
            self._bfd.shutdown()
        finally:
            self._bgp.shutdown(withdrawing)

    def close(self) -> None:
        self._bfd.close()
        self._bgp.close()
