"""The agent's memory of events, and that it can be replayed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.agent import event_words
from bgpctl.core.agent.events import Event, KernelChanged, Observed, Woken
from bgpctl.core.agent.state import begin
from bgpctl.core.bgp.speaker import Update
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route
from tests.cluster import path
from tests.journals import is_faithful, lived
from tests.laws.events import EVENTS, events
from tests.stories.mesh import A2, B1, converged


@given(st.lists(events, max_size=30))
def test_the_same_events_from_the_same_start_give_the_same_commands(story: list[Event]) -> None:
    record = lived(*story).record()
    assert [entry.event for entry in record.entries] == story
    assert is_faithful(record)


def test_a_changed_loop_shows_in_the_commands() -> None:
    record = lived(*EVENTS, start=converged().state).record()
    assert not is_faithful(replace(record, start=begin("a1", 0.0)))


def test_a_record_starts_from_knowledge_without_former_results() -> None:
    start = converged().state
    record = lived(Woken(), start=start).record()
    assert record.start == start
    assert start.memo.decision
    memo = record.start.memo
    assert (memo.surroundings, memo.decision, memo.derivation, memo.comparison) == (None, None, None, None)


def test_of_many_events_the_last_ones_are_kept_and_can_be_played() -> None:
    story: list[Event] = [Woken(), *(Update(A2, (path(f"10.244.2.{number % 200}/32", A2),)) for number in range(1300))]
    record = lived(*story, start=converged().state).record()
    assert 500 <= len(record.entries) <= 1000
    assert [entry.event for entry in record.entries] == story[-len(record.entries) :]
    assert is_faithful(record)


def test_large_observations_are_not_kept_for_long() -> None:
    routes = [Route(Prefix(4, (10 << 24) + number, 32)) for number in range(60_000)]
    record = lived(*(Observed(Dataplane.of(routes)) for _ in range(10)), KernelChanged()).record()
    assert len(record.entries) <= 4
    assert record.entries[-1].event == KernelChanged()


def test_observations_that_share_what_did_not_change_are_kept() -> None:
    large = Dataplane.of(Route(Prefix(4, (10 << 24) + number, 32)) for number in range(60_000))
    other = replace(large, routes=large.route_set.changed(new=[Route(Prefix(4, 0, 0))], gone=[]))
    record = lived(*[Observed(large), Observed(other)] * 10, KernelChanged()).record()
    assert len(record.entries) == 21


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_and_its_commands_have_a_text(event: Event) -> None:
    (entry,) = lived(event, start=converged().state).record().entries
    lines = [event_words.event(event, {B1: "b1"}), *(event_words.command(c, entry.at_s) for c in entry.commands)]
    assert all(lines)
    assert not any("object at 0x" in line or ("(" in line and "=" in line) for line in lines)
