"""An agent in each of its phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgpctl.core.agent.events import (
    Event,
    IntentLoaded,
    IntentRejected,
    KernelLost,
    Observed,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.bgp import speaker
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import bare_kernel, member
from tests.laws.events import BLOCK, WITHOUT_BGP
from tests.stories.mesh import B1, INTENT, converged, undo
from tests.stories.play import Play


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
