"""A peer with graceful restart that connects again is taken, unless its session is too new to be that of before."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from exabgp.reactor.peer import Peer

from bgpctl.speaker import session_patches

OPEN = SimpleNamespace(capabilities=SimpleNamespace(announced=lambda _: True))


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> str:
    """The answer to a connection beside an established session."""
    monkeypatch.setattr(Peer, "handle_connection", lambda self, _: "taken" if not self.established() else "refused")
    session_patches.peers_back_from_a_restart()
    return "refused"


def peer(established_s: float) -> SimpleNamespace:
    """A peer whose session is established, since a time of the monotonic clock."""
    found = SimpleNamespace(
        proto=SimpleNamespace(negotiated=SimpleNamespace(sent_open=OPEN, received_open=OPEN)),
        stats={"complete": established_s},
        is_up=True,
        stopping=lambda: False,
    )
    found.established = lambda: found.is_up
    found._reset = lambda _: setattr(found, "is_up", False)
    return found


def test_an_old_session_makes_room(refused: str) -> None:
    assert Peer.handle_connection(peer(time.monotonic() - 60), None) != refused


def test_a_session_of_this_very_moment_stays(refused: str) -> None:
    """Before it is in use for the first time too: the connection may have lost a collision with it."""
    assert Peer.handle_connection(peer(time.monotonic()), None) == refused
