"""
BFD between two ends of ours on a simulated link: they come up, stay up, and find a dead link in the time that RFC 5880
promises, whatever the intervals, the jitter and the order of edits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from bgpctl.core.bfd import packet
from bgpctl.core.bfd.packet import Diagnostic, Malformed, Packet, SessionState
from bgpctl.core.bfd.session import (
    SLOW_US,
    Configured,
    Event,
    Intervals,
    Received,
    Session,
    ShutDown,
    Step,
    Time,
    begin,
    step,
)

UP, DOWN = SessionState.UP, SessionState.DOWN
_DELAY_S = 0.001
_NUMBERS = st.integers(1, (1 << 32) - 1)
_INTERVALS = st.builds(
    Intervals,
    tx_us=st.integers(50_000, 2_000_000),
    rx_us=st.integers(50_000, 2_000_000),
    multiplier=st.integers(2, 10),
)
_PACKETS = st.builds(
    Packet,
    state=st.sampled_from(SessionState),
    diagnostic=st.sampled_from(Diagnostic),
    multiplier=st.integers(1, 255),
    mine=_NUMBERS,
    yours=_NUMBERS,
    tx_us=st.integers(0, (1 << 32) - 1),
    rx_us=st.integers(0, (1 << 32) - 1),
    echo_us=st.integers(0, (1 << 32) - 1),
    poll=st.booleans(),
    final=st.booleans(),
    independent=st.booleans(),
    demand=st.booleans(),
)
_EVENTS = st.one_of(
    _PACKETS.map(Received), st.just(Time()), _INTERVALS.map(Configured), st.just(ShutDown()), st.just(Time())
)


@dataclass
class Pair:
    """Two ends, a link that can be cut, and a clock."""

    ends: list[Session]
    chance: Random
    now_s: float = 0.0
    is_cut: bool = False
    on_the_link: list[tuple[float, int, Packet]] = field(default_factory=list)
    states: list[list[SessionState]] = field(default_factory=lambda: [[], []])

    @classmethod
    def of(cls, ours: Intervals, theirs: Intervals, seed: int) -> Pair:
        pair = cls([], Random(seed))
        for index, intervals in enumerate((ours, theirs)):
            session, packets = begin(intervals, index + 1, 0.0)
            pair.ends.append(session)
            pair._send(index, packets)
        return pair

    def happen(self, index: int, event: Event) -> None:
        before = self.ends[index].state
        self.ends[index], packets = step(self.ends[index], event, self.now_s, self.chance.random())
        if self.ends[index].state is not before:
            self.states[index].append(self.ends[index].state)
        self._send(index, packets)

    def run(self, for_s: float, until: Callable[[], bool] = lambda: False) -> None:
        end_s = self.now_s + for_s
        while self.now_s < end_s and not until():
            arrival_s, timer_s = self._arrival_s(), min(end.due_s for end in self.ends)
            self.now_s = max(self.now_s, min(arrival_s, timer_s, end_s))
            if arrival_s <= min(timer_s, end_s):
                _, to, arrived = self.on_the_link.pop(0)
                self.happen(to, Received(packet.decode(packet.encode(arrived))))
            else:
                for index in (0, 1):
                    self.happen(index, Time())

    def both(self, state: SessionState) -> bool:
        return all(end.state is state for end in self.ends)

    def _arrival_s(self) -> float:
        return self.on_the_link[0][0] if self.on_the_link else math.inf

    def _send(self, index: int, packets: tuple[Packet, ...]) -> None:
        if not self.is_cut:
            self.on_the_link += [(self.now_s + _DELAY_S, 1 - index, sent) for sent in packets]


@given(_PACKETS)
def test_a_packet_survives_the_wire(sent: Packet) -> None:
    assert packet.decode(packet.encode(sent)) == sent


@given(st.binary(max_size=60))
def test_any_octets_are_a_packet_or_malformed(octets: bytes) -> None:
    try:
        packet.decode(octets)
    except Malformed:
        return
    assert len(octets) >= packet.LENGTH_BYTES
    assert octets[0] >> 5 == 1


@given(_PACKETS, st.integers(0, 23))
def test_a_packet_that_is_cut_short_is_malformed(sent: Packet, length: int) -> None:
    try:
        packet.decode(packet.encode(sent)[:length])
    except Malformed:
        return
    raise AssertionError(length)


@given(_INTERVALS, st.lists(st.tuples(_EVENTS, st.floats(0, 3), st.floats(0, 1)), max_size=30))
def test_every_event_is_answered_in_every_state(intervals: Intervals, story: list[tuple[Event, float, float]]) -> None:
    now_s = 0.0
    session, _ = begin(intervals, 1, now_s)
    for event, pause_s, chance in story:
        now_s += pause_s
        answer: Step = step(session, event, now_s, chance)
        session, packets = answer
        for sent in packets:
            assert not (sent.poll and sent.final)
            assert sent.mine == 1
            assert sent.state is UP or sent.tx_us >= SLOW_US
            assert sent.state in {DOWN, SessionState.ADMIN_DOWN} or sent.yours
        assert session.state is not SessionState.ADMIN_DOWN or session.expires_s is None


@given(_INTERVALS, _INTERVALS, st.integers(0, 1000))
def test_two_ends_come_up_and_agree_on_their_intervals(ours: Intervals, theirs: Intervals, seed: int) -> None:
    pair = Pair.of(ours, theirs, seed)
    pair.run(10, lambda: pair.both(UP) and not any(end.polling for end in pair.ends))
    assert pair.both(UP)
    pair.run(20)
    one, other = pair.ends
    assert one.interval_us == max(ours.tx_us, theirs.rx_us)
    assert other.interval_us == max(theirs.tx_us, ours.rx_us)
    assert one.detection_us == theirs.multiplier * other.interval_us


@given(_INTERVALS, _INTERVALS, st.integers(0, 1000))
def test_a_link_that_works_is_never_called_dead(ours: Intervals, theirs: Intervals, seed: int) -> None:
    pair = Pair.of(ours, theirs, seed)
    pair.run(60)
    assert [states[-1] for states in pair.states] == [UP, UP]
    assert [states.count(UP) for states in pair.states] == [1, 1]


@given(_INTERVALS, _INTERVALS, st.integers(0, 1000))
def test_a_dead_link_is_found_within_the_detection_time(ours: Intervals, theirs: Intervals, seed: int) -> None:
    pair = Pair.of(ours, theirs, seed)
    pair.run(25)
    assert pair.both(UP)
    pair.is_cut = True
    longest_s = max(end.detection_us for end in pair.ends) / 1e6
    pair.run(longest_s + 2 * _DELAY_S, lambda: pair.both(DOWN))
    assert pair.both(DOWN)
    assert {end.diagnostic for end in pair.ends} == {Diagnostic.TIME_EXPIRED}


def _told_by_an_answer() -> list[tuple[int, Intervals, float]]:
    """One end polls while the other one's next packet is far away, and that end's interval becomes a short one."""
    polls = [(0, Intervals(50_000, 50_000, 2), 0.0), (0, Intervals(50_001, 50_000, 2), 1.0)]
    return [*polls, (0, Intervals(50_000, 50_000, 2), 0.0), (1, Intervals(50_000, 50_000, 2), 0.0)]


@example(Intervals(50_000, 50_000, 2), Intervals(171_476, 50_000, 2), _told_by_an_answer())
@given(_INTERVALS, _INTERVALS, st.lists(st.tuples(st.integers(0, 1), _INTERVALS, st.floats(0, 8)), max_size=8))
def test_other_intervals_end_no_session(
    ours: Intervals, theirs: Intervals, edits: list[tuple[int, Intervals, float]]
) -> None:
    pair = Pair.of(ours, theirs, 0)
    pair.run(10)
    assert pair.both(UP)
    for index, intervals, pause_s in edits:
        pair.happen(index, Configured(replace(intervals, multiplier=pair.ends[index].intervals.multiplier)))
        pair.run(pause_s)
    pair.run(25)
    assert [states.count(DOWN) for states in pair.states] == [0, 0]
    assert [(end.used_tx_us, end.used_rx_us) for end in pair.ends] == [
        (end.intervals.tx_us, end.intervals.rx_us) for end in pair.ends
    ]


@given(_INTERVALS, _INTERVALS)
def test_a_session_that_is_shut_down_is_no_failure_at_the_other_end(ours: Intervals, theirs: Intervals) -> None:
    pair = Pair.of(ours, theirs, 0)
    pair.run(10)
    pair.happen(0, ShutDown())
    pair.run(1)
    assert pair.ends[1].state is DOWN
    assert pair.ends[1].remote_state is SessionState.ADMIN_DOWN


@given(_INTERVALS, _INTERVALS)
def test_an_end_that_is_started_anew_is_no_failure_at_the_other_end(ours: Intervals, theirs: Intervals) -> None:
    """And both are up again."""
    pair = Pair.of(ours, theirs, 0)
    pair.run(10)
    pair.on_the_link.clear()
    pair.ends[0], packets = begin(ours, 99, pair.now_s)
    pair._send(0, packets)
    pair.run(2 * _DELAY_S, lambda: pair.ends[1].state is DOWN)
    assert pair.ends[1].remote_state is SessionState.ADMIN_DOWN
    pair.run(10)
    assert pair.both(UP)
