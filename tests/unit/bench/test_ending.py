"""The end of a benchmark that is interrupted."""

from __future__ import annotations

import os
import signal

import pytest

from bench.common.ending import finishing


def interrupted_by(number: signal.Signals, done: list[str]) -> None:
    with finishing():
        os.kill(os.getpid(), number)
        done.append("taken down")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_being_taken_down_is_taken_down_before_an_interruption_counts(number: signal.Signals) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted_by(number, done)
    assert done == ["taken down"]


def test_without_an_interruption_nothing_is_raised_and_the_handlers_are_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with finishing():
        pass
    assert signal.getsignal(signal.SIGTERM) == before
