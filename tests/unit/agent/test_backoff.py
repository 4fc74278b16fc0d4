"""The pauses between attempts."""

from __future__ import annotations

import pytest

from bgpctl.core.agent.backoff import PAUSES_S, Backoff, Cause


def pauses_s(cause: Cause, attempts: int) -> list[float]:
    backoff, at_s, found = Backoff(cause), 100.0, []
    for _ in range(attempts):
        assert backoff.is_due(at_s)
        backoff = backoff.after_attempt(at_s)
        found.append(backoff.due_s - at_s)
        at_s = backoff.due_s
    assert backoff.attempts == attempts
    return found


def test_an_operation_never_attempted_is_due() -> None:
    assert Backoff(Cause.OPERATION_FAILED).is_due(-1e9)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (Cause.OPERATION_FAILED, [0.1, 0.5, 2, 10, 30, 30]),
        (Cause.REVERTED, [0, 0, 0.5, 2, 10, 30]),
        (Cause.KERNEL_LOST, [1] * 6),
        (Cause.CONFIG_REJECTED, [3] * 6),
        (Cause.SPEAKER_ENDED, [0.1, 0.5, 2, 10, 30, 30]),
    ],
)
def test_each_cause_has_its_pauses_and_the_last_one_repeats(cause: Cause, expected: list[float]) -> None:
    assert pauses_s(cause, 6) == pytest.approx(expected)


def test_a_pause_is_over_at_the_time_that_it_names() -> None:
    backoff = Backoff(Cause.KERNEL_LOST).after_attempt(10.0)
    assert not backoff.is_due(10.9)
    assert backoff.is_due(11.0)


def test_every_cause_has_pauses_that_never_become_shorter() -> None:
    assert set(PAUSES_S) == set(Cause)
    assert all(list(pauses) == sorted(pauses) and pauses for pauses in PAUSES_S.values())
