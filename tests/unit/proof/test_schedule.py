"""The schedule of probes beside a network that is a function: which probes it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.cluster.encapsulation import DIRECT, IPIP
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop
from bgpctl.core.proof.paths import MemberPath
from bgpctl.core.proof.schedule import EVERY_S, FASTEST_S, PER_S, TRIES, Schedule
from bgpctl.core.proof.verdict import Proof, Verdict

OWN = Address.parse("10.0.0.1")
ROUND_S = 0.3
"""A round with a miss in it."""
LATE_S = 3.0

Network = Callable[[Probe], bool]


def path(number: int = 1, full_bytes: int = 1480) -> MemberPath:
    remote = Address(4, (10 << 24) + (1 << 16) + number)
    hop = NextHop(number, "tunl0", remote, onlink=True)
    return MemberPath(f"b{number}", Probe(hop, IPIP, OWN, remote, OWN, remote), full_bytes, 20)


def works(_: Probe) -> bool:
    return True


def dead(_: Probe) -> bool:
    return False


def without_protocol_4(probe: Probe) -> bool:
    return probe.encapsulation == DIRECT


def narrow(mtu_bytes: int) -> Network:
    return lambda probe: probe.size_bytes + (20 if probe.encapsulation == IPIP else 0) <= mtu_bytes


class Rounds:
    """Plays rounds, one after the other, as the prover does."""

    def __init__(self, *paths: MemberPath, every_s: float = EVERY_S) -> None:
        self.now_s = 0.0
        self.sent = 0
        self.schedule = Schedule(every_s=every_s).with_paths(paths, 0.0)

    def until(
        self, at_s: float, network: Network, *, is_late: bool = False, silent: Collection[Address] = ()
    ) -> Rounds:
        while (next_s := self.schedule.next_s) is not None and max(next_s, self.now_s) < at_s:
            self.now_s = max(next_s, self.now_s)
            requests = self.schedule.due(self.now_s)
            answered = {request.probe for request in requests if network(request.probe)}
            self.sent += len(requests)
            missed = len(answered) < len(requests)
            self.now_s += LATE_S if is_late else ROUND_S if missed else 0.001
            self.schedule = self.schedule.after_round(
                requests, answered, self.now_s, lambda: 1.0, is_late=is_late, silent=silent
            )
        self.now_s = max(self.now_s, at_s)
        return self

    @property
    def proofs(self) -> list[Proof]:
        return [proof for _, proof in self.schedule.proofs.values()]

    @property
    def verdicts(self) -> list[Verdict]:
        return [proof.verdict for proof in self.proofs]


def test_a_new_path_is_probed_at_once_and_one_reply_of_full_size_proves_it() -> None:
    rounds = Rounds(path()).until(0.01, works)
    assert (rounds.verdicts, rounds.sent) == ([Verdict.PROVEN], 1)


def test_a_path_that_is_dropped_is_unreachable_within_thirteen_seconds() -> None:
    assert Rounds(path()).until(10.0, works).until(23.0, dead).verdicts == [Verdict.UNREACHABLE]


def test_on_a_busy_node_it_is_so_within_three_seconds_and_back_by_its_next_probe() -> None:
    rounds = Rounds(path()).until(10.0, works)
    rounds.schedule = rounds.schedule.with_load(10.0, lambda: 1.0, is_busy=True)
    (proof,) = rounds.until(13.0, dead).proofs
    assert (proof.verdict, proof.answers_bare) == (Verdict.UNREACHABLE, False)
    rounds.until(13.0 + 1.2 * FASTEST_S + ROUND_S, works)
    assert rounds.verdicts == [Verdict.PROVEN]


def test_a_dropped_encapsulation_is_told_from_a_dead_host_even_if_it_never_worked() -> None:
    (proof,) = Rounds(path()).until(3.0, without_protocol_4).proofs
    assert (proof.verdict, proof.answers_bare) == (Verdict.UNREACHABLE, True)


def test_of_a_host_that_never_answered_nothing_is_claimed() -> None:
    assert Rounds(path()).until(60.0, dead).verdicts == [Verdict.UNPROVEN]


def test_a_neighbour_that_never_answered_and_does_not_for_its_address_is_unreachable() -> None:
    other = Address.parse("10.0.0.99")
    assert Rounds(path()).until(5.0, dead, silent=[other]).verdicts == [Verdict.UNPROVEN]
    rounds = Rounds(path()).until(5.0, dead, silent=[path().probe.remote])
    assert rounds.verdicts == [Verdict.UNREACHABLE]
    assert rounds.until(60.0, works).verdicts == [Verdict.PROVEN]


def test_a_host_that_answers_at_last_and_then_no_more_is_unreachable() -> None:
    rounds = Rounds(path()).until(10.0, dead).until(20.0, works).until(25.0, dead)
    assert rounds.verdicts == [Verdict.UNREACHABLE]


def test_lost_probes_that_are_fewer_than_the_tries_change_nothing() -> None:
    answers = iter([True] + [False] * (TRIES - 1) + [True] * 100)
    sent: set[int] = set()

    def lossy(probe: Probe) -> bool:
        if probe.size_bytes != 1480:
            return False
        sent.add(len(sent))
        return next(answers)

    rounds = Rounds(path()).until(20.0, lossy)
    assert len(sent) > TRIES
    assert rounds.proofs == [Proof(Verdict.PROVEN, 0.001)]


def test_misses_while_this_process_stands_still_are_no_evidence() -> None:
    rounds = Rounds(path()).until(10.0, works).until(60.0, dead, is_late=True)
    assert rounds.verdicts == [Verdict.PROVEN]
    soon_s = rounds.now_s + 1.1 * FASTEST_S + TRIES * ROUND_S + 0.1
    assert rounds.until(soon_s, dead).verdicts == [Verdict.UNREACHABLE]


def test_a_miss_in_a_late_round_is_not_repeated_at_once() -> None:
    rounds = Rounds(path()).until(0.1, dead, is_late=True)
    assert rounds.schedule.next_s == pytest.approx(rounds.now_s + 1.1 * FASTEST_S)


def test_where_every_round_is_late_no_verdict_is_awaited_for_ever() -> None:
    rounds = Rounds(*(path(number) for number in range(1, 201))).until(120.0, dead, is_late=True)
    assert set(rounds.verdicts) == {Verdict.UNPROVEN}


def test_after_late_rounds_a_member_that_answered_before_is_unreachable_by_all_tries_only() -> None:
    rounds = Rounds(path()).until(1.0, works)
    rounds.schedule = rounds.schedule.with_paths([path(full_bytes=1400)], 1.0)
    assert rounds.until(30.0, dead, is_late=True).verdicts == [Verdict.UNPROVEN]
    for verdict in (*[Verdict.UNPROVEN] * (TRIES - 1), Verdict.UNREACHABLE):
        requests = rounds.schedule.due(60.0)
        rounds.schedule = rounds.schedule.after_round(requests, (), 60.0, lambda: 1.0, is_late=False)
        assert rounds.verdicts == [verdict]


def test_a_path_that_has_waited_longest_is_probed_before_any_number_of_others() -> None:
    last = path(999)
    schedule = Schedule().with_paths([last], 0.0)
    schedule = schedule.with_paths([*(path(number) for number in range(1, 201)), last], 1.0)
    assert schedule.due(2.0)[0].key == last.key


def test_replies_that_come_in_a_late_round_count() -> None:
    assert Rounds(path()).until(1.0, works, is_late=True).verdicts == [Verdict.PROVEN]


@given(st.integers(100, 1499), st.integers(200, 9000))
def test_the_path_mtu_is_found_exactly(mtu_bytes: int, full_bytes: int) -> None:
    rounds = Rounds(path(full_bytes=full_bytes)).until(15.0, narrow(mtu_bytes))
    (proof,) = rounds.proofs
    if full_bytes + 20 <= mtu_bytes:
        assert proof.verdict is Verdict.PROVEN
    else:
        assert (proof.verdict, proof.passes_bytes) == (Verdict.NARROW, mtu_bytes - 20)


def test_a_path_that_gets_narrower_or_wider_is_seen() -> None:
    rounds = Rounds(path()).until(10.0, narrow(1400)).until(20.0, narrow(1300))
    assert [proof.passes_bytes for proof in rounds.proofs] == [1280]
    assert rounds.until(30.0, narrow(1350)).proofs[0].verdict is Verdict.NARROW
    assert rounds.until(40.0, narrow(1500)).verdicts == [Verdict.PROVEN]


def test_a_narrow_path_that_is_dropped_is_unreachable() -> None:
    assert Rounds(path()).until(10.0, narrow(1400)).until(15.0, dead).verdicts == [Verdict.UNREACHABLE]


@pytest.mark.parametrize("count", [1, 2000])
def test_a_path_is_probed_at_the_operators_interval(count: int) -> None:
    rounds = Rounds(*(path(number) for number in range(1, count + 1))).until(2.0, works)
    sent = rounds.sent
    rounds.until(2.0 + 10 * EVERY_S, works)
    assert 8 * count <= rounds.sent - sent <= 11 * count


def test_a_busy_node_probes_faster_as_far_as_there_are_few_members() -> None:
    def sent_by(count: int) -> float:
        rounds = Rounds(*(path(number) for number in range(1, count + 1))).until(2.0, works)
        rounds.schedule = rounds.schedule.with_load(2.0, lambda: 1.0, is_busy=True)
        sent = rounds.sent
        return (rounds.until(62.0, works).sent - sent) / count / 60

    assert 1 / sent_by(3) <= FASTEST_S * 1.2
    assert 30 / PER_S * 3 <= 1 / sent_by(90) <= 110 / PER_S
    assert 1 / sent_by(2000) >= 0.9 * EVERY_S


def test_a_node_that_gets_busy_is_so_at_once_and_one_that_does_nothing_more_rests() -> None:
    rounds = Rounds(path()).until(1.0, works)
    assert rounds.schedule.next_s == 0.001 + 1.1 * EVERY_S
    rounds.schedule = rounds.schedule.with_load(1.0, lambda: 1.0, is_busy=True)
    assert rounds.schedule.next_s == 1.0 + FASTEST_S
    rounds.schedule = rounds.schedule.with_load(1.0, lambda: 1.0, is_busy=False)
    assert rounds.until(3.0, works).schedule.next_s == 1.0 + FASTEST_S + 0.001 + 1.1 * EVERY_S


def test_a_path_that_is_another_by_now_is_proven_anew_and_one_that_stays_is_not() -> None:
    rounds = Rounds(path(1), path(2)).until(1.0, works)
    other = path(2, full_bytes=1400)
    rounds.schedule = rounds.schedule.with_paths([path(1), other], 1.0)
    assert rounds.verdicts == [Verdict.PROVEN, Verdict.ASKED]


def test_where_no_probe_can_be_sent_verdicts_stay_and_none_is_awaited() -> None:
    rounds = Rounds(path(1)).until(1.0, works)
    rounds.schedule = rounds.schedule.with_paths([path(1), path(2)], 1.0)
    requests = rounds.schedule.due(1.0)
    rounds.schedule = rounds.schedule.unable(requests, 1.0)
    assert rounds.verdicts == [Verdict.PROVEN, Verdict.UNPROVEN]
