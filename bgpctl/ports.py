"""Every door to the world, on one page. If it is not here, it does not happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from bgpctl.core.bgp.speaker import SpeakerCommand, SpeakerConfig, SpeakerEvent
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.dataplane.effects import Failure, Op
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.objects import Dataplane


class Unavailable(Exception):
    """A door cannot be used now: the other side is gone or not there yet. Try again later."""


class Kernel(Protocol):
    """The dataplane of one network namespace: the one that the process (or the opener) was in at the start."""

    def observe(self) -> Dataplane:
        """
        Everything in the namespace that bgpctl understands, ours and others'.

        One dump per kind, so not an atomic snapshot: a route may name a link missing from the same observation.
        Only the sysctls that bgpctl may want are included.

        Raises:
            Unavailable: the netlink socket is gone.
        """

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """
        Do every op in the given order and return those that were refused; the rest are tried all the same.

        A success is not proof (some deletes report success and change nothing): observe again.

        Raises:
            Unavailable: the netlink socket is gone; anything may have been applied.
        """

    def watch(self, changed: Callable[[], None]) -> None:
        """
        Call `changed`, from a thread of the door's own, whenever somebody else changed the dataplane or events
        were lost. Own changes do not count. The first call may come at once.
        """

    def close(self) -> None:
        """Release sockets and end the watching thread. What is in the kernel stays."""


class Speaker(Protocol):
    """The BGP speaker of one node. It outlives this process."""

    def start(self, deliver: Callable[[SpeakerEvent], None]) -> None:
        """Deliver events, from a thread of the door's own, until closed. Reconnects by itself."""

    def configure(self, config: SpeakerConfig) -> None:
        """
        Make the speaker run with exactly this configuration, starting it if need be; sessions that stay the same
        are not disturbed. Returns at once; SpeakerAttached follows when the configuration is in force, even if it was
        before, and SpeakerRefused if it cannot be.
        """

    def send(self, commands: Sequence[SpeakerCommand]) -> None:
        """Queue commands in order. Dropped while detached: SpeakerAttached says when to begin anew."""

    def shutdown(self) -> None:
        """End the speaker and all its sessions."""

    def close(self) -> None:
        """Let go of the speaker, which keeps its sessions."""


Loaded: TypeAlias = Intent | tuple[Problem, ...]
"""A good cluster file, with warnings in its `remarks`, or everything there is to say about a bad one."""


class Store(Protocol):
    """Where the intent comes from."""

    def load(self) -> Loaded:
        """The intent as it stands now, or all its problems."""

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        """Call `changed`, from a thread of the store's own, after every change of the content."""

    def close(self) -> None:
        """Stop watching."""


class Prober(Protocol):
    """Packets that try a way before traffic takes it."""

    def probe(self, trials: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        """
        Send each request once and wait for the answers, for well under a second.

        Raises:
            Unavailable: no such socket can be had.
        """


class Clock(Protocol):
    """Monotonic time."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
