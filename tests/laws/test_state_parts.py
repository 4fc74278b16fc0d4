"""An event leaves the parts of the state that it does not concern the very same objects: they can be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.agent import events as agent
from bgpctl.core.agent.reconcile import RESYNC_S
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp import speaker
from bgpctl.core.net.addresses import Address
from tests.laws.events import EVENTS, events
from tests.laws.states import STATES
from tests.stories.mesh import converged

PARTS: Final = frozenset(field.name for field in fields(State)) - {
    "node",
    "phase",
    "since_s",
    "selfcheck_mismatches",
    "memo",
}
"""A memo is no knowledge."""
ALL: Final = PARTS

CONCERNED: Final[Mapping[type[agent.Event], frozenset[str]]] = {
    agent.IntentLoaded: frozenset({"intent", "bgp", "kernel", "migration"}),
    agent.IntentRejected: frozenset({"intent"}),
    agent.DrainRequested: frozenset({"bgp", "kernel"}),
    agent.PeerRequested: frozenset({"intent", "bgp", "kernel"}),
    agent.RefreshRequested: frozenset({"bgp", "kernel"}),
    agent.KernelChanged: frozenset({"kernel"}),
    agent.Observed: ALL,
    agent.MirrorMismatch: frozenset({"kernel"}),
    agent.KernelLost: frozenset({"kernel", "attempts"}),
    agent.Applied: frozenset({"kernel", "attempts"}),
    agent.Probed: frozenset({"kernel", "migration"}),
    agent.PathsJudged: frozenset({"kernel", "proofs"}),
    agent.ConfigurationsCompared: frozenset({"proofs"}),
    agent.ForwardingJudged: frozenset({"proofs"}),
    agent.Woken: frozenset({"bgp", "kernel"}),
    agent.SelfCheckMismatch: frozenset({"kernel"}),
    agent.ServicesJudged: frozenset({"bgp", "services"}),
    speaker.SpeakerConfigRejected: frozenset({"bgp"}),
    speaker.PeerConnecting: frozenset({"intent", "bgp"}),
    **dict.fromkeys(
        (speaker.SpeakerAttached, speaker.SpeakerDetached, *get_args(speaker.PeerEvent)), frozenset({"bgp", "kernel"})
    ),
}


def changed(before: State, after: State) -> set[str]:
    return {part for part in PARTS if getattr(after, part) is not getattr(before, part)}


def test_no_kind_of_event_is_left_out() -> None:
    assert set(CONCERNED) == set(get_args(agent.Event))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_in_every_phase_an_event_replaces_only_the_parts_that_it_concerns(state: str, event: agent.Event) -> None:
    _, make = STATES[state]
    play = make()
    after, _ = step(play.state, event, play.now_s + 1)
    assert changed(play.state, after) <= CONCERNED[type(event)]


@given(st.lists(events, max_size=25))
def test_in_every_story_an_event_replaces_only_the_parts_that_it_concerns(story: list[agent.Event]) -> None:
    state = begin("a1", 0.0, proving=True)
    for number, event in enumerate(story):
        after, _ = step(state, event, float(number))
        assert changed(state, after) <= CONCERNED[type(event)]
        state = after


def test_an_observation_that_shows_nothing_new_replaces_bgp_and_kernel_alone() -> None:
    play = converged()
    play.give(agent.Observed(play.kernel)).expect(agent.WakeAt(play.in_s(RESYNC_S)))
    before = play.state
    play.give(agent.Observed(play.kernel)).expect(agent.WakeAt(play.in_s(RESYNC_S)))
    assert changed(before, play.state) <= {"bgp", "kernel"}


def test_an_edit_that_changes_nothing_leaves_a_migration_alone() -> None:
    play = converged()
    before = play.state
    assert before.intent.in_force is not None
    play.give(agent.IntentLoaded(before.intent.in_force)).expect(agent.Observe())
    assert changed(before, play.state) == {"intent", "kernel", "bgp"}


def test_an_event_of_a_peer_without_a_session_replaces_nothing() -> None:
    play = converged()
    before = play.state
    play.give(speaker.SessionUp(Address.parse("192.0.2.1"))).expect()
    assert changed(before, play.state) == set()


def test_while_an_observation_is_under_way_a_second_notification_replaces_nothing() -> None:
    play = converged()
    play.give(agent.KernelChanged()).expect(agent.Observe())
    before = play.state
    play.give(agent.KernelChanged()).expect()
    assert changed(before, play.state) == set()
