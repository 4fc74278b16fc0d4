"""Plays are strict: whatever a story does not expect fails it, and the failure can be read."""

from __future__ import annotations

import re

import pytest

from bgpctl.core.agent.events import Apply, IntentLoaded, KernelLost, Observe, Observed, Speak, WakeAt
from bgpctl.core.bgp.speaker import Announce, SendEndOfRib, SessionUp, SpeakerAttached
from tests.stories.mesh import A2, B1, CONFIGURATION, INTENT, OURS, OWN, ROUTE, converged, greeting, undo
from tests.stories.play import Play, placeholder


def failure(play: Play) -> str:
    """The failure at the end of the story; the play has no command left afterwards."""
    with pytest.raises(pytest.fail.Exception) as failed:
        play.end()
    return str(failed.value)


def started() -> Play:
    play = Play()
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    return play


def test_an_unexpected_command_fails_the_story_at_its_next_event() -> None:
    play = Play().give(IntentLoaded(INTENT))
    with pytest.raises(pytest.fail.Exception, match=r"\+Configure\("):
        play.give(SpeakerAttached(1, ()))
    assert play not in Play.unfinished


def test_an_unexpected_command_fails_the_story_before_the_kernel_settles_and_at_its_end() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"\+Observe\(\)"):
        Play().give(IntentLoaded(INTENT)).settle()
    assert "+Observe()" in failure(Play().give(IntentLoaded(INTENT)))


def test_a_play_with_a_command_left_is_known_until_its_story_expects_it() -> None:
    play = converged().give(KernelLost("gone"))
    assert play in Play.unfinished
    play.expect(WakeAt(play.in_s(1)))
    assert play not in Play.unfinished


def test_a_failure_names_the_line_and_the_event_with_received_and_expected_commands() -> None:
    play = started().give(SessionUp(B1))
    with pytest.raises(pytest.fail.Exception) as failed:
        play.expect(greeting(A2))
    where, *difference = str(failed.value).splitlines()
    assert re.fullmatch(r"test_play\.py:\d+: after SessionUp", where)
    assert difference[3:] == [
        "-Speak Announce(prefix=10.244.1.0/26, peer=10.0.0.2, attributes=Attributes(local_pref=2147482623))",
        "-Speak SendEndOfRib(peer=10.0.0.2, version=4)",
        "+Speak Announce(prefix=10.244.1.0/26, peer=10.1.0.3, attributes=Attributes(local_pref=2147482623))",
        "+Speak SendEndOfRib(peer=10.1.0.3, version=4)",
    ]


def test_order_counts_and_so_do_missing_commands() -> None:
    with pytest.raises(pytest.fail.Exception):
        started().give(SessionUp(B1)).expect(Speak((SendEndOfRib(B1, 4), Announce(OWN, B1, OURS))))
    with pytest.raises(pytest.fail.Exception):
        started().give(SessionUp(B1)).expect(greeting(B1), Observe())


def test_a_placeholder_stands_for_the_value_that_it_saw_first_and_for_no_other() -> None:
    play, wake_s = converged(), placeholder()
    play.give(KernelLost("gone")).expect(WakeAt(wake_s))
    assert wake_s() == play.now_s + 1
    play.give(KernelLost("gone again"))
    with pytest.raises(pytest.fail.Exception):
        play.expect(WakeAt(wake_s))


def test_every_operation_is_expected_whether_the_kernel_settles_or_is_observed() -> None:
    play = converged()
    undo(play, "10.244.3.0/26")
    with pytest.raises(pytest.fail.Exception, match=r"\+\+ route 10\.244\.3\.0/26"):
        play.settle()
    assert play.unicast() >= {"10.244.3.0/26"}
    play = started().give(Observed(started().kernel))
    with pytest.raises(pytest.fail.Exception):
        play.expect(f"+ {ROUTE[B1]}")
    started().give(Observed(started().kernel)).expect(Apply(placeholder()))


def test_an_agent_that_asks_for_another_sweep_than_the_next_does_not_settle_unnoticed() -> None:
    play = converged()
    play.give(KernelLost("gone")).expect(WakeAt(play.in_s(1)))
    with pytest.raises(pytest.fail.Exception, match="next resync"):
        play.settle()
