"""Things that wait for Docker are tried until they are done or given up."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping

import pytest

from bgpctl.attach.docker.waiting import Waiting
from tests.waiting import wait_until


class Attempts:
    """Does what is `ready`, and has seen all that was tried."""

    def __init__(self) -> None:
        self.ready: set[str] = set()
        self.tried: list[Mapping[str, int]] = []

    def __call__(self, waiting: Mapping[str, int]) -> Collection[str]:
        self.tried.append(waiting)
        return self.ready & waiting.keys()


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


@pytest.fixture
def waiting(attempts: Attempts, request: pytest.FixtureRequest) -> Iterator[Waiting[int]]:
    made = Waiting(attempts, 0.001, getattr(request, "param", 60.0))
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.end()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_not_done_is_tried_again(waiting: Waiting[int], attempts: Attempts) -> None:
    waiting.add("a", 1)
    waiting.add("b", 2)
    attempts.ready = {"a"}
    wait_until(lambda: {"b": 2} in attempts.tried)
    attempts.ready = {"b"}
    waiting.add("c", 3)
    wait_until(lambda: {"c": 3} in attempts.tried)


def test_a_later_one_takes_the_place_of_an_earlier_one(waiting: Waiting[int], attempts: Attempts) -> None:
    waiting.add("a", 1)
    wait_until(lambda: {"a": 1} in attempts.tried)
    waiting.add("a", 2)
    wait_until(lambda: {"a": 2} in attempts.tried)


@pytest.mark.parametrize("waiting", [0.0], indirect=True)
def test_what_takes_too_long_is_given_up(waiting: Waiting[int], attempts: Attempts) -> None:
    waiting.add("a", 1)
    wait_until(lambda: bool(attempts.tried))
    waiting.add("b", 2)
    wait_until(lambda: {"b": 2} in attempts.tried)
