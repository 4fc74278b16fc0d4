"""The channel begins with the configuration, or later; the agent goes on without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgpctl.agent import channel, others
from bgpctl.agent.errors import Unknown
from bgpctl.agent.others import Others
from bgpctl.core.agent.state import State, begin
from bgpctl.core.cluster.intent import Intent
from tests.cluster import node
from tests.probers import NoProber


class Part:
    """In the place of the channel, or of the members: it may fail to begin."""

    def __init__(self) -> None:
        self.fails = False
        self.begun = self.closed = 0
        self.begins: Callable[[tuple[object, ...]], object] = lambda _: None

    def __call__(self, *given: object) -> Part:
        self.begins(given)
        if self.fails:
            raise RuntimeError("can't start new thread")
        self.begun += 1
        return self

    def close(self) -> None:
        self.closed += 1

    def problems(self) -> tuple[str, ...]:
        return ()


class NoRunner:
    generation = settled = 0


def state(port: int = 9179) -> State:
    begun = begin("h1", 0.0)
    return replace(begun, intent=begun.intent.accepted(Intent(nodes=(node("h1", "10.0.0.1/24"),), channel_port=port)))


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> tuple[Part, Part]:
    found = Part(), Part()
    monkeypatch.setattr(channel, "Channel", found[0])
    monkeypatch.setattr(others, "Members", found[1])
    return found


@pytest.mark.parametrize("failing", [0, 1])
def test_a_channel_that_cannot_begin_is_a_problem_and_begins_later(
    parts: tuple[Part, Part], failing: int, caplog: pytest.LogCaptureFixture
) -> None:
    runner: Any = NoRunner()
    agent = Others(lambda: runner, Path("keys"), lambda: 0.0, lambda: 0.0, NoProber().watch)
    parts[failing].fails = True
    for _ in range(2):
        agent.beat(state())
    assert agent.cluster().problems() == ("the channel between agents cannot begin: can't start new thread",)
    assert len(caplog.records) == 1
    assert parts[0].begun == parts[0].closed
    parts[failing].fails = False
    for _ in range(2):
        agent.beat(state())
    assert agent.cluster().problems() == ()
    assert [part.begun - part.closed for part in parts] == [1, 1]
    agent.close()
    assert [part.begun - part.closed for part in parts] == [0, 0]


def test_without_a_port_nothing_begins(parts: tuple[Part, Part]) -> None:
    runner: Any = NoRunner()
    Others(lambda: runner, Path("keys"), lambda: 0.0, lambda: 0.0, NoProber().watch).beat(state(port=0))
    assert [part.begun for part in parts] == [0, 0]


def test_members_get_the_kernel_once_a_second_and_never_the_places_of_files(parts: tuple[Part, Part]) -> None:
    runner: Any = NoRunner()
    served: list[Any] = []
    parts[0].begins = served.append
    asked: list[str] = []

    def answer(view: str, query: Mapping[str, str]) -> dict[str, Any]:
        asked.append(view)
        return {**query}

    agent = Others(lambda: runner, Path("keys"), lambda: 0.0, lambda: 0.0, NoProber().watch)
    agent.serve(answer)
    agent.beat(state())
    ((_, view, *_),) = served
    assert [view("kernel", {"prefix": str(number)}) for number in range(3)] == [{}, {}, {}]
    assert view("summary", {"a": "b"}) == {"a": "b"}
    assert asked == ["kernel", "summary"]
    for name in ("intent", "plan", "weather"):
        with pytest.raises(Unknown):
            view(name, {})
    agent.close()
