"""For how long a peer whose table is not certain holds back removals."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.agent.bgp import IGNORANCE_S, Bgp
from bgpctl.core.bgp.speaker import EndOfRib, PeerEvent, SessionDown, SessionOpened, SessionUp, Update
from bgpctl.core.net.addresses import Asn, Prefix
from tests.cluster import path
from tests.stories.mesh import B1, converged

BLOCK = Prefix.parse("10.244.3.0/26")
UP = (SessionOpened(B1, Asn(64512), B1, 30, 120, forwarding_preserved=True), SessionUp(B1))
WITHOUT_GRACEFUL_RESTART = SessionOpened(B1, Asn(64512), B1, 30, None, forwarding_preserved=False)
DOWN = SessionDown(B1, "closing connection", notified=False)


def observed(bgp: Bgp, at_s: float, *events: PeerEvent) -> Bgp:
    for event in events:
        bgp = bgp.received(event, 1000, at_s)
    return bgp.expired(at_s).with_ignorance(at_s).with_withdrawals()


def ends_of_ignorance_s(bgp: Bgp, *events: PeerEvent) -> float:
    """When the peer holds back nothing any more if these events come every ten seconds from 0 s on."""
    at_s = 0.0
    while (bgp := observed(bgp, at_s, *events)).prune_holds:
        assert at_s <= IGNORANCE_S
        assert min(timer_s for timer_s in bgp.timers_s if timer_s > at_s) <= IGNORANCE_S
        at_s += 10
    return at_s


def test_a_peer_that_dies_before_its_end_of_rib_again_and_again_holds_back_removals_for_a_bounded_time() -> None:
    start = observed(converged().state.bgp, 0.0, DOWN)
    assert ends_of_ignorance_s(start, *UP, Update(B1, (path(str(BLOCK), B1),)), DOWN) == IGNORANCE_S


def test_a_peer_that_changes_routes_all_the_time_and_sends_no_end_of_rib_does_so_too() -> None:
    start = observed(converged().state.bgp, 0.0, DOWN, WITHOUT_GRACEFUL_RESTART, UP[1])
    assert ends_of_ignorance_s(start, Update(B1, (path(str(BLOCK), B1),))) <= IGNORANCE_S / 2
    other = Update(B1, (path("10.244.77.0/26", B1),))
    ended = replace(start, adj_rib_in=start.adj_rib_in)
    for at_s in range(0, 130, 10):
        ended = observed(ended, float(at_s), other)
    assert BLOCK not in ended.adj_rib_in[B1].paths


def test_once_its_table_is_complete_a_peer_has_all_of_its_time_again() -> None:
    given_up = observed(observed(converged().state.bgp, 0.0, DOWN, *UP), 10.0, DOWN)
    for at_s in range(20, 400, 10):
        given_up = observed(given_up, float(at_s), *UP, DOWN)
    assert not given_up.prune_holds
    back = observed(given_up, 400.0, *UP, EndOfRib(B1, 4))
    assert observed(back, 401.0, DOWN).prune_holds


def test_the_time_does_not_run_while_the_speaker_is_away() -> None:
    away = observed(converged().state.bgp, 0.0, DOWN, *UP).speaker_detached(1.0)
    assert observed(away, 1000.0).prune_holds
    back = away.speaker_attached((), (), 1000.0)
    assert observed(observed(back, 1001.0), 1100.0).prune_holds
