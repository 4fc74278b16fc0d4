"""An end of a session that waits for the peer's connection never makes one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from exabgp.reactor.peer import ACTION, Peer

from bgpctl.speaker import session_patches


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that ExaBGP makes."""
    connections: list[str] = []

    def connect(_: object) -> Iterator[int]:
        connections.append("made")
        yield ACTION.NOW

    monkeypatch.setattr(Peer, "_connect", connect)
    session_patches.passive_ends_that_wait()
    return connections


def test_a_passive_end_waits_for_the_peer(made: list[str]) -> None:
    end = SimpleNamespace(neighbor={"passive": True}, proto=None, _teardown=None)
    waiting = Peer._connect(end)
    assert [next(waiting) for _ in range(3)] == [ACTION.LATER] * 3
    end.proto = object()
    assert list(waiting) == []
    assert made == []


def test_a_passive_end_that_is_to_go_waits_no_longer(made: list[str]) -> None:
    end = SimpleNamespace(neighbor={"passive": True}, proto=None, _teardown=None)
    waiting = Peer._connect(end)
    next(waiting)
    end._teardown = 3
    assert list(waiting) == [ACTION.NOW]
    assert made == ["made"]


def test_an_active_end_connects(made: list[str]) -> None:
    end = SimpleNamespace(neighbor={"passive": False}, proto=None, _teardown=None)
    assert list(Peer._connect(end)) == [ACTION.NOW]
    assert made == ["made"]
