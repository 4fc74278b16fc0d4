"""The end of a benchmark that is interrupted."""

from __future__ import annotations

import os
import signal

import pytest

from bench.common.ending import finishing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_being_taken_down_is_taken_down_before_an_interruption_counts(number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), finishing():
        os.kill(os.getpid(), number)
        done.append("taken down")
    assert done == ["taken down"]


def test_without_an_interruption_nothing_is_raised_and_the_handlers_are_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with finishing():
        pass
    assert signal.getsignal(signal.SIGTERM) == before
