"""Every event is answered in every phase: each of the one against each of the other, nothing left to chance."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Final, get_args

import pytest

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    DrainRequested,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    Observe,
    Observed,
    PeerRequested,
    Probed,
    RefreshRequested,
    Woken,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.agent.step import step
from bgpctl.core.bgp import speaker
from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.dataplane.effects import Failure, Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import NextHop
from tests.cluster import bare_kernel, member, path, two_racks
from tests.stories.test_agent_stories import B1, INTENT, Play, converged, undo

WITHOUT_BGP: Final = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
HOP: Final = NextHop(0x42000009, "eth0", B1, onlink=True)
BLOCK: Final = Prefix.parse("10.244.3.0/26")


def _told(*events: Event, to: Callable[[], Play] = Play) -> Play:
    play = to()
    play.tell(*events)
    return play


def _switching() -> Play:
    play = _told(IntentLoaded(WITHOUT_BGP), to=converged)
    play.rest()
    return play


def _fought() -> Play:
    play = converged()
    for _ in range(4):
        undo(play, str(BLOCK))
        play.rest()
    return play


STATES: Final[dict[str, tuple[Phase, Callable[[], Play]]]] = {
    "nothing known": (Phase.STARTING, Play),
    "no good file": (Phase.STARTING, lambda: _told(IntentRejected((Problem(Place("c", 1, 1), "", "bad", "bad"),)))),
    "not looked yet": (Phase.STARTING, lambda: _told(IntentLoaded(INTENT))),
    "nobody heard": (Phase.LEARNING, lambda: _told(IntentLoaded(INTENT), Observed(bare_kernel(member(INTENT, "a1"))))),
    "operations under way": (
        Phase.CONVERGING,
        lambda: _told(IntentLoaded(WITHOUT_BGP), Observed(bare_kernel(member(INTENT, "a1")))),
    ),
    "a new encapsulation": (Phase.SWITCHING, _switching),
    "a dead peer": (Phase.DEGRADED, lambda: _told(speaker.SessionDown(B1, "closed", notified=False), to=converged)),
    "no speaker": (Phase.DEGRADED, lambda: _told(speaker.SpeakerDetached("end of file"), to=converged)),
    "no kernel": (Phase.DEGRADED, lambda: _told(KernelLost("gone"), to=converged)),
    "no link": (Phase.DEGRADED, lambda: _told(Observed(Dataplane()), to=converged)),
    "a contest": (Phase.DEGRADED, _fought),
    "all well": (Phase.CONVERGED, converged),
}

EVENTS: Final[tuple[Event, ...]] = (
    IntentLoaded(INTENT),
    IntentLoaded(WITHOUT_BGP),
    IntentLoaded(replace(INTENT, mesh=False)),
    IntentLoaded(replace(INTENT, nodes=INTENT.nodes[1:])),
    IntentRejected((Problem(Place("cluster.yaml", 1, 1), "pools", "wrong", "rule"),)),
    KernelChanged(),
    KernelLost("the netlink socket is gone"),
    Observed(Dataplane()),
    Observed(bare_kernel(member(INTENT, "a1"))),
    Applied(()),
    Applied((Failure(Put(HOP, NOT_WANTED), errno.EPERM),)),
    Probed(()),
    Woken(),
    DrainRequested(on=True),
    DrainRequested(on=False),
    PeerRequested(B1, up=False),
    PeerRequested(B1, up=True),
    PeerRequested(HOP.gateway or B1, up=False),
    RefreshRequested(B1),
    speaker.SpeakerAttached(1, ()),
    speaker.SpeakerAttached(2, ((B1, 7.0),)),
    speaker.SpeakerDetached("end of file"),
    speaker.SpeakerConfigRejected("no password"),
    speaker.SessionOpened(B1, Asn(64512), B1, 30, None, forwarding_preserved=False),
    speaker.SessionUp(B1),
    speaker.SessionDown(B1, "notification", notified=True),
    speaker.Update(B1, (path(BLOCK, B1),)),
    speaker.Update(B1, withdrawn=(BLOCK,)),
    speaker.EndOfRib(B1, 4),
    speaker.RefreshBegun(B1, 4),
    speaker.RefreshEnded(B1, 4),
)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_answered_in_every_phase(state: str, event: Event) -> None:
    phase, make = STATES[state]
    play = make()
    assert play.state.phase is phase
    commands = play.tell(event)
    assert all(isinstance(command, get_args(Command)) for command in commands)
    assert sum(isinstance(command, Observe | Apply) for command in commands) <= 1
    # Whatever it was, the loop is still alive: once what is under way is answered, time makes it look.
    play.now_s += 100
    looking = play.state.kernel.observing
    after, woken = step(play.state, Woken(), play.now_s)
    assert after.intent.in_force is None or looking or Observe() in woken


def test_no_kind_of_event_and_no_phase_is_left_out() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    assert {phase for phase, _ in STATES.values()} == set(Phase)
