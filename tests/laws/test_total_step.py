"""Every event is answered in every phase: each of the one against each of the other, nothing left to chance."""

from __future__ import annotations

from typing import get_args

import pytest

from bgpctl.core.agent.events import (
    Apply,
    Command,
    Event,
    Observe,
    Woken,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.agent.step import step
from tests.laws.events import EVENTS
from tests.laws.states import STATES


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_answered_in_every_phase(state: str, event: Event) -> None:
    phase, make = STATES[state]
    play = make()
    assert play.state.phase is phase
    reached, commands = step(play.state, event, play.now_s)
    assert all(isinstance(command, get_args(Command)) for command in commands)
    assert sum(isinstance(command, Observe | Apply) for command in commands) <= 1
    # Whatever it was, the loop is still alive: once what is under way is answered, time makes it observe.
    after, woken = step(reached, Woken(), play.now_s + 100)
    assert after.intent.in_force is None or reached.kernel.observing or Observe() in woken


def test_no_kind_of_event_and_no_phase_is_left_out() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    assert {phase for phase, _ in STATES.values()} == set(Phase)
