"""Plays about services: an instance is checked, announced, withdrawn, and remembered by the next agent."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.agent.events import Configure, IntentLoaded, Observe, ServicesJudged, Speak
from bgpctl.core.agent.services import Services
from bgpctl.core.agent.state import begin
from bgpctl.core.bgp.speaker import Announce, SpeakerAttached, Withdraw
from bgpctl.core.cluster.configuration import Check, Service
from bgpctl.core.net.addresses import Address
from bgpctl.core.services.health import Status, Verdict
from tests.stories.mesh import CONFIGURATION, INTENT, MEMBERS, OURS, READY, converged
from tests.stories.play import Play, placeholder

WEB = Service("web", Address.parse("192.0.2.80"), Check(tcp=80), nodes=("a1", "b1"), communities=((64512, 80),))
WITH_WEB = replace(INTENT, services=(WEB,))
ANNOUNCED = Speak(
    tuple(Announce(WEB.prefix, peer, replace(READY, communities=((64512, 80),), extended=())) for peer in MEMBERS)
)
WITHDRAWN = Speak(tuple(Withdraw(WEB.prefix, peer) for peer in MEMBERS))


def judged(status: Status) -> ServicesJudged:
    return ServicesJudged((Verdict("web", WEB.address, status, 0.0, "connection refused"),))


def with_an_instance() -> Play:
    """a1 has the address, and the first verdict is to come."""
    play = converged()
    play.give(IntentLoaded(WITH_WEB)).expect(Observe())
    play.settle("+ address 192.0.2.80/32 dev lo proto 179")
    return play


def test_an_instance_is_announced_once_it_is_well_and_withdrawn_as_soon_as_it_is_not() -> None:
    play = with_an_instance()
    play.give(judged(Status.UP)).expect(ANNOUNCED)
    play.give(judged(Status.DOWN)).expect(WITHDRAWN)
    play.give(judged(Status.UP)).expect(ANNOUNCED)


def test_an_instance_that_fails_before_it_was_well_is_announced_to_no_one() -> None:
    play = with_an_instance()
    play.give(judged(Status.DOWN)).expect()


def test_a_service_that_the_file_has_no_more_is_withdrawn_and_its_address_removed() -> None:
    play = with_an_instance()
    play.give(judged(Status.UP)).expect(ANNOUNCED)
    play.give(IntentLoaded(INTENT)).expect(Observe())
    play.settle(WITHDRAWN, "- address 192.0.2.80/32 dev lo proto 179")


def test_another_address_of_a_service_needs_checks_of_its_own() -> None:
    play = with_an_instance()
    play.give(judged(Status.UP)).expect(ANNOUNCED)
    moved = replace(WEB, address=Address.parse("192.0.2.81"))
    play.give(IntentLoaded(replace(WITH_WEB, services=(moved,)))).expect(Observe())
    play.settle(WITHDRAWN, "+ address 192.0.2.81/32 dev lo proto 179", "- address 192.0.2.80/32 dev lo proto 179")


def test_an_edit_of_the_checks_withdraws_nothing() -> None:
    play = with_an_instance()
    play.give(judged(Status.UP)).expect(ANNOUNCED)
    edited = replace(WEB, check=Check(http=8080), fall=5)
    play.give(IntentLoaded(replace(WITH_WEB, services=(edited,)))).expect(Observe())
    play.settle()


def test_the_next_agent_repeats_what_the_last_one_announced_before_its_own_first_check() -> None:
    before = with_an_instance()
    play = Play(before.kernel)
    play.state = begin("a1", 0.0, verdicts=judged(Status.UP).verdicts)
    play.give(IntentLoaded(WITH_WEB)).expect(CONFIGURATION, Observe())
    repeated = placeholder()
    play.give(SpeakerAttached(7, tuple((peer, 60.0) for peer in MEMBERS))).expect(Speak(repeated))
    announced = [command for command in repeated() if isinstance(command, Announce)]
    assert {command.peer for command in announced if command.prefix == WEB.prefix} == {*MEMBERS}
    assert all(command.attributes.local_pref == OURS.local_pref for command in announced)


def test_a_node_without_an_instance_has_neither_address_nor_announcement() -> None:
    play = converged()
    elsewhere = replace(WEB, nodes=("a2",))
    play.give(IntentLoaded(replace(INTENT, services=(elsewhere,)))).expect(Observe())
    play.settle()
    play.give(judged(Status.UP)).expect()


def test_an_address_that_the_kernel_has_not_is_not_announced() -> None:
    services = Services().with_verdicts(judged(Status.UP).verdicts)
    node = WITH_WEB.by_name["a1"]
    assert services.announced(WITH_WEB, node, None) == (WEB,)
    assert services.announced(WITH_WEB, node, converged().kernel) == ()
    assert services.announced(WITH_WEB, node, with_an_instance().kernel) == (WEB,)
    assert isinstance(CONFIGURATION, Configure)
