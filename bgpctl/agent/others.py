"""
An agent among the others: the channel, the members' configurations, and the generations of its own.

The channel and TLS, some megabytes, are imported once the configuration has a port for them.

Refuses to know: how members are served and asked (channel.py, members.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bgpctl.agent import views
from bgpctl.agent.errors import Unknown
from bgpctl.agent.members import Configurations, Members
from bgpctl.agent.recent import Recent
from bgpctl.agent.runner import Runner
from bgpctl.agent.snapshot import Cluster
from bgpctl.agent.watches import WATCHING, Watches
from bgpctl.core.agent.state import State
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.trace.sightings import Mark
from bgpctl.ports import Watching

if TYPE_CHECKING:
    from bgpctl import channel as asking
    from bgpctl.agent.channel import Answer, Channel

log = logging.getLogger("bgpctl.agent")

_KERNEL_S: Final = 1.0
"""So old may the answer about the kernel be that a member gets, however many ask."""


class Others:
    """
    Args:
        keys: the directory of this node's keys.
        now_s: seconds since 1970.
        clock_s: seconds of a clock that cannot be set.
        watch: begins to see the packets of a member's trace. Raises Unavailable.
        resolver: how the one of names is.
    """

    def __init__(
        self,
        runner: Callable[[], Runner],
        keys: Path,
        now_s: Callable[[], float],
        clock_s: Callable[[], float],
        watch: Callable[[Mark], Watching],
        resolver: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._runner = runner
        self._keys = keys
        self._now_s = now_s
        self._resolver = resolver
        self._configurations = Configurations()
        self._answer: Answer = _nothing
        self._recent = Recent(_KERNEL_S, clock_s)
        self._watches = Watches(clock_s, watch)
        self._channel: Channel | None = None
        self._members: Members | None = None
        self._failures: tuple[str, ...] = ()

    def serve(self, answer: Answer) -> None:
        """Answer members' questions by this."""
        self._answer = answer

    def beat(self, state: State) -> None:
        """Called by the loop again and again. Without a thread or a descriptor for it, the channel begins later."""
        self._recent.expire()
        self._watches.expire()
        intent = state.intent.in_force
        if self._channel or not intent or not intent.channel_port:
            return
        try:
            self._begin(state.node)
            self._failures = ()
        except Exception as error:
            failures = (f"the channel between agents cannot begin: {error}",)
            if failures != self._failures:  # once, however often it is tried
                log.exception("the channel between agents cannot begin")
            self._failures = failures

    def _begin(self, node: str) -> None:
        """Both, or none."""
        from bgpctl.agent.channel import Channel  # noqa: PLC0415 (most clusters have no port for it)

        channel = Channel(lambda: self._runner().state, self._view, self._keys, self._now_s)
        try:
            members = Members(node, self._intent, self._configurations, self._ask)
        except BaseException:
            channel.close()
            raise
        self._channel, self._members = channel, members

    def close(self) -> None:
        """End the threads."""
        self._watches.close()
        if self._members:
            self._members.close()
        if self._channel:
            self._channel.close()

    def cluster(self) -> Cluster:
        """To be called before the state is read, which then is at least as new."""
        runner = self._runner()
        generation, settled = runner.generation, runner.settled
        own = self._configurations
        return Cluster(own.digest, own.outline, self._problems, self._explained, generation, settled, self._resolver)

    def _explained(self) -> Collection[str]:
        return self._members.differing() if self._members else ()

    def _problems(self) -> tuple[str, ...]:
        return (
            *self._failures,
            *(self._channel.problems() if self._channel else ()),
            *(self._members.problems() if self._members else ()),
        )

    def _intent(self) -> Intent | None:
        return self._runner().state.intent.in_force

    def _view(self, view: str, query: Mapping[str, str]) -> dict[str, Any]:
        if view in WATCHING:
            return self._watches.answer(view, query)
        if view not in views.FOR_MEMBERS:
            raise Unknown(view)
        if view == views.KERNEL:  # which takes a process and a dump; no member asks for less than all of it
            return self._recent.get(lambda: self._answer(view, {}))
        return self._answer(view, query)

    def _ask(self, member: Node, request: str, within_s: float, longest_bytes: int) -> asking.Answer | None:
        from bgpctl import channel as asking  # noqa: PLC0415 (as above)

        tls, intent = self._channel.tls if self._channel else None, self._intent()
        here = intent.node(self._runner().state.node) if intent else None
        if tls is None or intent is None or here is None:
            return None
        version = member.address.address.version
        source = here.underlay(version)
        if source is None:
            return asking.NoAnswer(f"{member.name} has an IPv{version} address alone, and this node has none")
        at = asking.Member(member.name, str(member.address.address), intent.channel_port, str(source.address))
        return asking.ask(at, request, within_s, tls, longest_bytes)


def _nothing(view: str, _query: Mapping[str, str]) -> dict[str, Any]:
    raise Unknown(view)
