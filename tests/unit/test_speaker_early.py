"""Reports of sessions before the agent attached."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.bgp.speaker import DownKind, SessionDown, SessionOpened, SessionUp, SpeakerEvent
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.speaker.early import EarlyReports

A, B = Address.parse("10.0.0.1"), Address.parse("10.0.0.2")
OPENED = SessionOpened(A, Asn(64512), A, hold_time_s=9, restart_time_s=120, forwarding_preserved=True)
WRONG_AS = SessionDown(A, "another AS", notified=True, kind=DownKind.WRONG_AS)
CLOSED = SessionDown(A, "closed", notified=False, kind=DownKind.CLOSED)


def reported(*events: SpeakerEvent, established: tuple[Address, ...] = ()) -> list[SpeakerEvent]:
    early = EarlyReports()
    for event in events:
        early.note(event)
    kept = list(early.take(established))
    assert list(early.take(established)) == []
    return kept


def test_the_open_of_a_session_that_is_up_is_reported() -> None:
    assert reported(OPENED, SessionUp(A), established=(A,)) == [OPENED]


def test_of_several_opens_the_last_counts() -> None:
    later = replace(OPENED, restart_time_s=60)
    assert reported(OPENED, CLOSED, later, established=(A,)) == [later]


def test_why_a_session_ended_is_reported_and_its_open_is_not() -> None:
    assert reported(OPENED, WRONG_AS) == [WRONG_AS]


def test_each_different_end_is_reported_once_in_order() -> None:
    assert reported(WRONG_AS, CLOSED, WRONG_AS, CLOSED) == [WRONG_AS, CLOSED]


def test_an_end_before_the_session_that_is_up_is_not_reported() -> None:
    assert reported(WRONG_AS, SessionUp(A), established=(A,)) == []


def test_peers_do_not_mix() -> None:
    other = replace(WRONG_AS, peer=B)
    assert reported(OPENED, other, established=(A,)) == [OPENED, other]
