"""Interleaved rounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.common import rounds


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three programs one is not installed."""
    monkeypatch.setattr(rounds, "present", lambda _: (["ours", "theirs"], {"third": "no third"}))
    monkeypatch.delenv("BENCH_SHARE_S", raising=False)


def sample(subject: str, case: int) -> Iterator[dict[str, Any]]:
    yield {"of": f"{subject} {case}"}


def taken(samples: list[dict[str, Any]]) -> list[str]:
    return [one["of"] for one in samples]


def test_subjects_take_turns_and_an_absent_one_is_named() -> None:
    samples, absent = rounds.interleaved((), (1, 2), 2, sample, str)
    assert taken(samples) == ["ours 1", "theirs 1", "ours 2", "theirs 2"] * 2
    assert absent == {"third": "no third"}


def test_a_case_that_fails_is_named_and_not_tried_again() -> None:
    tried = []

    def measure(subject: str, case: int) -> Iterator[dict[str, Any]]:
        tried.append((subject, case))
        if (subject, case) == ("ours", 2):
            raise TimeoutError("not ready within 5 s")
        yield from sample(subject, case)

    samples, absent = rounds.interleaved((), (1, 2), 2, measure, str)
    assert tried.count(("ours", 2)) == 1
    assert absent["ours, 2"] == "not ready within 5 s"
    assert taken(samples) == ["ours 1", "theirs 1", "theirs 2"] * 2


def test_without_time_nothing_more_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SHARE_S", "0")
    samples, absent = rounds.interleaved((), (1,), 2, sample, str)
    assert samples == []
    assert absent == {"third": "no third", "ours, 1": "no time was left", "theirs, 1": "no time was left"}


def test_an_interruption_keeps_the_samples_so_far() -> None:
    def measure(subject: str, case: int) -> Iterator[dict[str, Any]]:
        if subject == "theirs":
            raise KeyboardInterrupt
        yield from sample(subject, case)

    samples, absent = rounds.interleaved((), (1, 2), 1, measure, str)
    assert taken(samples) == ["ours 1"]
    assert absent["theirs, 1"] == "interrupted"
