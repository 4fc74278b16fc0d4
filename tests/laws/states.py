"""An agent in each of its phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgpctl.core.agent.events import (
    Event,
    IntentLoaded,
    IntentRejected,
    KernelLost,
    Observe,
    Observed,
    SendProbes,
    WakeAt,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.agent.step import step
from bgpctl.core.bgp import speaker
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import bare_kernel, member
from tests.laws.events import BLOCK, WITHOUT_BGP
from tests.stories.mesh import B1, INTENT, ROUTE, VXLAN_DEVICE, VXLAN_MEMBERS, converged, undo
from tests.stories.play import Play, placeholder


def _after(*events: Event, to: Callable[[], Play] = Play) -> Play:
    """A play that goes on with these events, whatever follows from them."""
    play = to()
    for event in events:
        play.state, _ = step(play.state, event, play.now_s)
    return play


def _switching() -> Play:
    play = converged()
    play.give(IntentLoaded(WITHOUT_BGP)).expect(Observe())
    play.settle(SendProbes(placeholder()), *VXLAN_DEVICE, *VXLAN_MEMBERS)
    return play


def _fought() -> Play:
    play = converged()
    for _ in range(3):
        undo(play, str(BLOCK))
        play.settle(f"+ {ROUTE[B1]}")
    undo(play, str(BLOCK))
    play.settle(WakeAt(play.in_s(0.5)))
    return play


STATES: Final[dict[str, tuple[Phase, Callable[[], Play]]]] = {
    "nothing known": (Phase.STARTING, Play),
    "no good file": (Phase.STARTING, lambda: _after(IntentRejected((Problem(Place("c", 1, 1), "", "bad", "bad"),)))),
    "not observed yet": (Phase.STARTING, lambda: _after(IntentLoaded(INTENT))),
    "no peer up": (Phase.LEARNING, lambda: _after(IntentLoaded(INTENT), Observed(bare_kernel(member(INTENT, "a1"))))),
    "operations under way": (
        Phase.CONVERGING,
        lambda: _after(IntentLoaded(WITHOUT_BGP), Observed(bare_kernel(member(INTENT, "a1")))),
    ),
    "a new encapsulation": (Phase.MIGRATING, _switching),
    "a dead peer": (Phase.DEGRADED, lambda: _after(speaker.SessionDown(B1, "closed", notified=False), to=converged)),
    "no speaker": (Phase.DEGRADED, lambda: _after(speaker.SpeakerDetached("end of file"), to=converged)),
    "no kernel": (Phase.DEGRADED, lambda: _after(KernelLost("gone"), to=converged)),
    "no link": (Phase.DEGRADED, lambda: _after(Observed(Dataplane()), to=converged)),
    "a contest": (Phase.DEGRADED, _fought),
    "all well": (Phase.CONVERGED, converged),
}
