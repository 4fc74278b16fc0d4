"""A failure that BFD reports ends the session in time, whatever else happens in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpctl.core.agent.events import Applied, Apply, Command, Event, IntentLoaded, KernelChanged, Observed, Speak, Woken
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bfd.packet import Diagnostic, SessionState
from bgpctl.core.bgp.bfd import BfdChanged, BfdReport
from bgpctl.core.bgp.speaker import EndOfRib, EndSession, SessionOpened, SessionUp, SpeakerAttached
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.core.net.dataplane import Dataplane
from tests.documents import good

PEER = Address.parse("10.0.0.9")
INTENT = good("nodes: {a: {address: 10.0.0.1/24}}\npeers: {r: {ip: 10.0.0.9, asNumber: 65001, bfd: {}}}\n")
FAILED = BfdReport(SessionState.DOWN, Diagnostic.NEIGHBOR_DOWN, SessionState.DOWN, Diagnostic.NONE, False, 10.0, 10.0)


class Agent:
    """The core alone, with a kernel that has nothing and refuses nothing."""

    def __init__(self) -> None:
        self.state: State = begin("a", 0.0)
        self.said: list[Command] = []

    def give(self, event: Event, at_s: float) -> None:
        self.state, commands = step(self.state, event, at_s)
        self.said += commands
        if any(isinstance(command, Apply) for command in commands):
            self.give(Applied(()), at_s)

    def observe(self, at_s: float) -> None:
        for _ in range(4):
            if self.state.kernel.observing:
                self.give(Observed(Dataplane()), at_s)

    def ended(self) -> bool:
        return any(isinstance(item, EndSession) for item in self._to_peers())

    def _to_peers(self) -> Iterator[object]:
        for command in self.said:
            if isinstance(command, Speak):
                yield from command.commands


@pytest.mark.parametrize("event", [KernelChanged(), Woken()])
def test_a_failure_ends_the_session_after_its_second_although_an_observation_comes_first(event: Event) -> None:
    agent = Agent()
    opened = SessionOpened(PEER, Asn(65001), PEER, 90, 120, forwarding_preserved=True)
    begun: tuple[Event, ...] = (
        IntentLoaded(INTENT),
        SpeakerAttached(1, ()),
        opened,
        SessionUp(PEER),
        EndOfRib(PEER, 4),
    )
    for happened in (*begun, BfdChanged(PEER, BfdReport(SessionState.UP))):
        agent.give(happened, 5.0)
    agent.observe(5.0)
    agent.give(BfdChanged(PEER, FAILED), 10.0)
    agent.observe(10.0)
    assert not agent.ended()
    agent.give(event, 10.999)
    agent.observe(11.001)
    assert agent.ended()
