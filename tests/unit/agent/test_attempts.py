"""Operations attempted, failed and reverted."""

from __future__ import annotations

import errno

from bgpctl.core.agent.attempts import Attempts
from bgpctl.core.dataplane.effects import Failure, Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.fabric import Desired
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route, RouteType

ROUTES = [Route(Prefix.parse(f"10.244.{index}.0/26"), type=RouteType.BLACKHOLE) for index in range(3)]
ONE, TWO, THREE = (Put(route, NOT_WANTED) for route in ROUTES)
DESIRED = Desired(Dataplane(routes=frozenset(ROUTES)), {})


def test_new_operations_never_wait() -> None:
    assert Attempts().ready((ONE, TWO), 0.0) == (ONE, TWO)
    assert Attempts().begun((ONE,), 0.0).ready((ONE, TWO), 0.05) == (TWO,)


def test_an_operation_that_joins_between_two_attempts_waits_for_the_next_one() -> None:
    attempts = Attempts().begun((ONE,), 0.0).begun((TWO,), 0.09)
    assert attempts.timers_s((ONE, TWO)) == (0.1,)
    assert attempts.ready((ONE, TWO), 0.1) == (ONE, TWO)


def test_an_obsolete_operation_is_forgotten_with_its_failure_and_its_pause() -> None:
    tried = Attempts().begun((ONE, TWO), 0.0).applied((Failure(ONE, errno.EPERM),))
    assert tried.called_for((ONE,)).tried == {ONE}
    assert [failure.op for failure in tried.called_for((ONE,)).failures] == [ONE]
    over = tried.called_for((THREE,))
    assert (over.tried, over.failures, over.retry) == (frozenset(), (), Attempts().retry)


def test_a_failure_of_what_was_not_tried_again_stays() -> None:
    failed = Attempts().begun((ONE,), 0.0).applied((Failure(ONE, errno.EPERM),))
    assert [failure.op for failure in failed.begun((TWO,), 0.01).applied(()).failures] == [ONE]
    assert failed.begun((ONE,), 0.2).applied(()).failures == ()


def test_three_repairs_of_one_object_make_a_conflict_that_waits_alone() -> None:
    attempts = Attempts()
    for number in range(3):
        assert not attempts.persistent_conflicts
        attempts = attempts.called_for((ONE,)).repaired((ONE,), DESIRED, float(number))
        assert attempts.ready((ONE,), float(number)) == (ONE,)
        attempts = attempts.begun((ONE,), float(number)).applied(()).called_for(())
    assert [backoff.attempts for backoff in attempts.persistent_conflicts.values()] == [3]
    assert attempts.ready((ONE, TWO), 2.1) == (TWO,)
    assert attempts.timers_s((ONE, TWO)) == (2.5,)
    assert attempts.repairs == (0.0, 1.0, 2.0)


def test_a_conflict_ends_a_minute_after_its_pause_or_when_its_object_is_not_wanted() -> None:
    attempts = Attempts().repaired((ONE,), DESIRED, 0.0).begun((ONE,), 0.0)
    assert attempts.repaired((), DESIRED, 60.0).conflicts
    assert not attempts.repaired((), DESIRED, 60.1).conflicts
    assert not attempts.repaired((), Desired(Dataplane(), {}), 1.0).conflicts


def test_without_anything_to_remember_nothing_is_made_anew() -> None:
    attempts = Attempts()
    assert attempts.called_for((ONE,)) is attempts
    assert attempts.repaired((), DESIRED, 0.0) is attempts
    assert attempts.interrupted() is attempts
