"""
Reports about sessions that come before the agent is attached to ExaBGP, kept until it is.

The answer to the agent's question has which sessions are up, and paths are asked for again. What cannot be asked for
is a peer's OPEN and why a session ended: a peer with another AS ends the first attempt, and the next one may be a
minute away.

Refuses to know: lines, channels, ExaBGP.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bgpctl.core.bgp.speaker import SessionDown, SessionOpened, SpeakerEvent
from bgpctl.core.net.addresses import Address


class EarlyReports:
    """Of each peer its last OPEN, and each different end since; not the same end of every attempt."""

    def __init__(self) -> None:
        self._opened: dict[Address, SessionOpened] = {}
        self._ended: dict[Address, list[SessionDown]] = {}

    def note(self, event: SpeakerEvent) -> None:
        """Keep the event if it cannot be asked for again."""
        match event:
            case SessionOpened(peer):
                self._opened[peer] = event
                self._ended.pop(peer, None)
            case SessionDown(peer):
                self._opened.pop(peer, None)
                ends = self._ended.setdefault(peer, [])
                if event not in ends:
                    ends.append(event)
            case _:
                pass

    def take(self, established: Collection[Address]) -> Iterator[SpeakerEvent]:
        """Reports for after SpeakerAttached with these sessions; it is kept no longer."""
        opened, self._opened = self._opened, {}
        ended, self._ended = self._ended, {}
        yield from opened.values()
        for peer, ends in ended.items():
            if peer not in established:
                yield from ends
