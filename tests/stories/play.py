"""Plays: events in, commands out, one state after the other."""

from __future__ import annotations

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Event,
    KernelChanged,
    Observe,
    Observed,
)
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.dataplane.effects import after
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import bare_kernel, member, two_racks


class Play:
    """One agent on node a1 with a pretended kernel that does what it is told."""

    def __init__(self, kernel: Dataplane | None = None) -> None:
        self.state: State = begin("a1", 0.0)
        self.kernel = kernel or bare_kernel(member(two_racks(), "a1"))
        self.now_s = 0.0
        self.applied = 0
        self.said: list[Command] = []

    def tell(self, *events: Event) -> tuple[Command, ...]:
        said: tuple[Command, ...] = ()
        for event in events:
            self.now_s += 0.001
            self.state, commands = step(self.state, event, self.now_s)
            said += commands
        self.said += said
        return said

    def rest(self) -> None:
        """Answer Observe and Apply until there is nothing more to do."""
        commands = self.tell(KernelChanged()) if not self.state.kernel.observing else (Observe(),)
        while command := next((c for c in commands if isinstance(c, Observe | Apply)), None):
            match command:
                case Observe():
                    commands = self.tell(Observed(self.kernel))
                case Apply():
                    for op in command.ops:
                        self.kernel = after(self.kernel, op)
                        self.applied += 1
                    commands = self.tell(Applied(()))

    def unicast(self) -> set[str]:
        return {str(route.prefix) for route in self.kernel.routes if route.next_hop}
