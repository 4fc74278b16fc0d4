"""
A Speaker without a process: its user plays the peers.

Refuses to know: time, and what a real peer would answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from bgpctl.core.bgp.speaker import (
    SessionDown,
    SessionUp,
    SpeakerAttached,
    SpeakerCommand,
    SpeakerConfig,
    SpeakerDetached,
    SpeakerEvent,
)
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.ports import Speaker


class FakeSpeaker(Speaker):
    """
    Attaches as soon as it is configured; everything else is caused by `inject` and `crash`.

    Args:
        on_send: called with every batch of commands that a real speaker would not drop.

    Attributes:
        configs: every configuration that was asked for, oldest first.
        commands: every command that was not dropped, oldest first.
        withdrawn: the prefixes that were withdrawn at its end.
        instance: grows with every crash.
    """

    def __init__(self, on_send: Callable[[tuple[SpeakerCommand, ...]], None] = lambda _: None) -> None:
        self._on_send = on_send
        self._deliver: Callable[[SpeakerEvent], None] | None = None
        self._established: frozenset[Address] = frozenset()
        self.configs: list[SpeakerConfig] = []
        self.commands: list[SpeakerCommand] = []
        self.withdrawn: tuple[Prefix, ...] = ()
        self.instance = 1
        self.attached = False

    def start(self, deliver: Callable[[SpeakerEvent], None]) -> None:
        self._deliver = deliver

    def configure(self, config: SpeakerConfig) -> None:
        self.configs.append(config)
        self._established &= {session.peer for session in config.sessions}
        self.attach()

    def send(self, commands: Sequence[SpeakerCommand]) -> None:
        if self.attached:
            self.commands += commands
            self._on_send(tuple(commands))

    def shutdown(self, withdrawing: Collection[Prefix] = ()) -> None:
        self.withdrawn += tuple(withdrawing)
        self._established = frozenset()
        self.close()

    def close(self) -> None:
        self._deliver = None
        self.attached = False

    def attach(self) -> None:
        """The channel opens."""
        self.attached = True
        self.inject(SpeakerAttached(self.instance, tuple((peer, 0.0) for peer in sorted(self._established))))

    def crash(self) -> None:
        """The speaker dies with all its sessions. Call `attach` for the one that follows it."""
        self.attached = False
        self._established = frozenset()
        self.instance += 1
        self.inject(SpeakerDetached("the speaker has ended"))

    def inject(self, event: SpeakerEvent) -> None:
        """Deliver an event as if a peer had caused it; nothing is delivered once closed."""
        match event:
            case SessionUp(peer):
                self._established |= {peer}
            case SessionDown(peer):
                self._established -= {peer}
            case _:
                pass
        if self._deliver is not None:
            self._deliver(event)
