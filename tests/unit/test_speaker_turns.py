"""Which peers of the patched ExaBGP get a turn: those that have something to do, and all of them once a second."""

from __future__ import annotations

import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from bgpctl.speaker.patches import Turns

PEERS = {"a": 10, "b": 11, "c": 12}
"""With the file descriptors of their sockets."""


class Play:
    """A reactor with established peers, at the beginning of a second in which all have had their turn already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.second = 100
        monkeypatch.setattr(time, "monotonic", lambda: self.second)
        self.peers = {name: _peer(fd) for name, fd in PEERS.items()}
        self.is_idle = True
        self.reactor: Any = SimpleNamespace(
            _peers=self.peers, asynchronous=SimpleNamespace(ready=lambda: self.is_idle), turns=Turns()
        )
        assert self.turns() == {"a", "b", "c"}
        assert self.turns() == set()

    def turns(self, *readable: int) -> set[str]:
        self.reactor.turns.readable = list(readable)
        given: set[str] = self.reactor.turns.given(self.reactor, lambda reactor: set(reactor._peers))
        return given

    def pause_ms(self) -> int:
        pause_ms: int = self.reactor.turns.pause_ms(self.reactor)
        return pause_ms


def _peer(fd: int) -> Any:
    outgoing = SimpleNamespace(pending=lambda: False)
    neighbor = SimpleNamespace(rib=SimpleNamespace(outgoing=outgoing), eor=deque(), refresh=deque())
    states = {"goes_on": False, "_teardown": None, "request": None, "_neighbor": None}
    return SimpleNamespace(neighbor=neighbor, established=lambda: True, socket=lambda: fd, **states)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    return Play(monkeypatch)


def test_a_peer_with_a_message_has_a_turn(play: Play) -> None:
    assert play.turns(11) == {"b"}
    assert play.turns() == set()


def test_a_peer_that_goes_on_has_the_next_turn_too(play: Play) -> None:
    play.turns(11)
    play.peers["b"].goes_on = True
    assert play.turns() == {"b"}


def test_all_have_a_turn_in_a_new_second(play: Play) -> None:
    play.second += 1
    assert play.turns() == {"a", "b", "c"}


def test_a_peer_has_a_turn_after_a_command_for_it(play: Play) -> None:
    play.reactor.turns.any_may_have_work = True
    play.peers["c"].neighbor.refresh.append("ipv4 unicast")
    assert play.turns() == {"c"}
    assert play.pause_ms() < 10


def test_a_command_that_takes_several_rounds_has_its_effect_at_once(play: Play) -> None:
    play.is_idle = False
    assert play.turns() == set()
    play.is_idle = True  # it ends in this round, after the turns
    play.peers["a"].neighbor.eor.append("ipv4 unicast")
    assert play.pause_ms() < 10
    assert play.turns() == {"a"}


def test_a_quiet_reactor_sleeps(play: Play) -> None:
    assert play.pause_ms() > 100


def test_a_peer_that_is_removed_needs_no_turn(play: Play) -> None:
    del play.peers["b"]
    assert play.turns(11) == set()
