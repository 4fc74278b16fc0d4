"""Adj-RIB-In: the effect of a peer's silence, loss and return on its routes."""

from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from bgpctl.core.bgp import adj_rib_in
from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.peer_table import SYNC_S, TableState
from bgpctl.core.bgp.received import MOST_PATHS
from bgpctl.core.bgp.speaker import DownKind, SessionDown, SessionOpened, Update
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import path

PEER = Address.parse("10.0.0.2")
ONE, TWO = Prefix.parse("10.244.1.0/26"), Prefix.parse("10.244.2.0/26")


OTHER = Address.parse("10.0.0.9")


def received(*blocks: Prefix, graceful: bool = True) -> AdjRibIn:
    """A peer that announced these blocks and End-of-RIB, and another one whose session is up."""
    tables = adj_rib_in.session_up(adj_rib_in.expect({}, [PEER, OTHER], 0.0, 120.0), OTHER, 0.0)
    tables = adj_rib_in.open_received(tables, opened(120 if graceful else None, preserved=False))
    tables = adj_rib_in.session_up(tables, PEER, 1.0)
    tables = adj_rib_in.updated(tables, Update(PEER, tuple(path(block, PEER) for block in blocks)), 2.0)
    return adj_rib_in.complete(tables, PEER, 3.0)


def opened(restart_time_s: int | None, *, preserved: bool) -> SessionOpened:
    return SessionOpened(PEER, Asn(64512), PEER, 30, restart_time_s, forwarding_preserved=preserved)


def prefixes(tables: AdjRibIn) -> set[Prefix]:
    return set(tables[PEER].paths)


def test_a_wanted_peer_awaits_its_session_until_its_time_is_over() -> None:
    tables = adj_rib_in.expect({}, [PEER], 0.0, 120.0)
    assert tables[PEER].state is TableState.AWAITING_SESSION
    assert adj_rib_in.expired(tables, 119.9)[PEER].state is TableState.AWAITING_SESSION
    assert adj_rib_in.expired(tables, 120.0)[PEER].state is TableState.DOWN


def test_a_refused_connection_does_not_end_the_wait_for_a_session() -> None:
    tables = adj_rib_in.session_down(
        adj_rib_in.expect({}, [PEER], 0.0, 120.0), SessionDown(PEER, "refused", notified=False), 1.0
    )
    assert tables[PEER].state is TableState.AWAITING_SESSION
    assert tables[PEER].last_error == "refused"


def test_a_peer_that_dies_keeps_its_paths_as_stale_ones_until_its_restart_time() -> None:
    tables = adj_rib_in.session_down(received(ONE), SessionDown(PEER, "closing connection", notified=False), 10.0)
    assert prefixes(tables) == {ONE}
    assert set(tables[PEER].stale) == {ONE}
    assert prefixes(adj_rib_in.expired(tables, 129.0)) == {ONE}
    assert prefixes(adj_rib_in.expired(tables, 130.0)) == set()


def test_a_peer_that_sends_a_notification_loses_its_paths_at_once() -> None:
    tables = adj_rib_in.session_down(
        received(ONE), SessionDown(PEER, "notification received (6,2)", notified=True), 10.0
    )
    assert tables[PEER].state is TableState.DOWN
    assert prefixes(tables) == set()


CAUSES: Final = {
    "closed": SessionDown(PEER, "closing connection", notified=False, kind=DownKind.CLOSED),
    "hold time expired here": SessionDown(PEER, "notification sent (4,0)", True, DownKind.HOLD_EXPIRED),
    "hold time expired there": SessionDown(PEER, "notification received (4,0)", True, DownKind.HOLD_EXPIRED),
    "administrative reset": SessionDown(PEER, "notification received (6,4)", True, DownKind.SHUT_DOWN),
    "malformed message": SessionDown(PEER, "notification sent (3,1)", True),
    "hard reset": SessionDown(PEER, "notification received (6,9)", True, DownKind.SHUT_DOWN, is_final=True),
    "shut down": SessionDown(PEER, "notification received (6,2)", True, DownKind.SHUT_DOWN, is_final=True),
    "removed": SessionDown(PEER, "notification received (6,3)", True, DownKind.NOT_CONFIGURED, is_final=True),
}
FINAL: Final = {"hard reset", "shut down", "removed"}
"""By agreement, the causes after which paths stay for the restart time; the table of docs/explanation."""
RETAINED_AFTER: Final = {"nothing": set(), "graceful restart": {"closed"}, "with the N bit": CAUSES.keys() - FINAL}


@pytest.mark.parametrize("agreed", RETAINED_AFTER)
@pytest.mark.parametrize("cause", CAUSES)
def test_of_each_end_of_a_session_it_is_known_what_stays(cause: str, agreed: str) -> None:
    before = received(ONE, graceful=agreed != "nothing")
    before = {**before, PEER: replace(before[PEER], notification_restart=agreed == "with the N bit")}
    after = adj_rib_in.session_down(before, CAUSES[cause], 10.0)
    assert prefixes(after) == ({ONE} if cause in RETAINED_AFTER[agreed] else set())
    assert prefixes(adj_rib_in.expired(after, 130.0)) == set()


@pytest.mark.parametrize("cause", CAUSES)
def test_paths_that_were_retained_stay_so_after_vain_attempts_but_for_a_final_one(cause: str) -> None:
    before = received(ONE)
    before = {**before, PEER: replace(before[PEER], notification_restart=True)}
    after = adj_rib_in.session_down(adj_rib_in.session_down(before, CAUSES["closed"], 10.0), CAUSES[cause], 11.0)
    assert prefixes(after) == (set() if cause in FINAL else {ONE})
    assert prefixes(adj_rib_in.expired(after, 130.0)) == set()


def test_a_peer_without_graceful_restart_loses_its_paths_at_once() -> None:
    tables = adj_rib_in.session_down(
        received(ONE, graceful=False), SessionDown(PEER, "closing connection", notified=False), 10.0
    )
    assert prefixes(tables) == set()


def test_a_peer_that_returns_confirms_what_it_repeats_and_loses_the_rest_at_end_of_rib() -> None:
    tables = adj_rib_in.session_down(received(ONE, TWO), SessionDown(PEER, "closing connection", notified=False), 10.0)
    tables = adj_rib_in.session_up(tables, PEER, 11.0)
    tables = adj_rib_in.updated(tables, Update(PEER, (path(ONE, PEER),)), 12.0)
    assert prefixes(tables) == {ONE, TWO}
    tables = adj_rib_in.complete(tables, PEER, 13.0)
    assert prefixes(tables) == {ONE}
    assert tables[PEER].state is TableState.SYNCED


def test_a_peer_that_returns_without_its_forwarding_state_loses_its_stale_paths() -> None:
    tables = adj_rib_in.session_down(received(ONE), SessionDown(PEER, "closing connection", notified=False), 10.0)
    assert prefixes(adj_rib_in.open_received(tables, opened(None, preserved=False))) == set()
    assert prefixes(adj_rib_in.open_received(tables, opened(120, preserved=False))) == set()
    assert prefixes(adj_rib_in.open_received(tables, opened(120, preserved=True))) == {ONE}


def test_a_peer_that_never_sends_end_of_rib_counts_as_complete_after_a_while() -> None:
    tables = adj_rib_in.session_up(adj_rib_in.expect({}, [PEER], 0.0, 120.0), PEER, 1.0)
    tables = adj_rib_in.updated(tables, Update(PEER, (path(ONE, PEER),)), 2.0)
    tables = adj_rib_in.expired(tables, 2.0 + SYNC_S)
    assert tables[PEER].state is TableState.SYNCED
    assert prefixes(tables) == {ONE}


def test_a_peer_that_changes_routes_all_the_time_counts_as_complete_too_but_not_while_it_confirms() -> None:
    blocks = [Prefix.parse(f"10.244.{number}.0/26") for number in range(30)]
    tables = received(*blocks, graceful=False)
    tables = adj_rib_in.refresh_begun(tables, PEER, 10.0)
    for number, block in enumerate(blocks):
        tables = adj_rib_in.expired(tables, 10.0 + 10 * number)
        tables = adj_rib_in.updated(tables, Update(PEER, (path(block, PEER),)), 10.0 + 10 * number)
    assert prefixes(tables) == set(blocks)
    assert tables[PEER].state is TableState.AWAITING_END_OF_RIB
    tables = adj_rib_in.updated(tables, Update(PEER, (path(ONE, PEER),)), 301.0)
    assert adj_rib_in.expired(tables, 301.0)[PEER].state is TableState.SYNCED


def test_a_session_that_was_found_up_has_the_n_bit_of_its_open() -> None:
    found = partial(adj_rib_in.session_found_up, peer=PEER, at_s=5.0, uptime_s=4.0, restart_time_s=120)
    assert not found(received(ONE))[PEER].notification_restart
    assert found(adj_rib_in.expect({}, [PEER], 0.0, 120.0))[PEER].notification_restart


def test_a_table_that_is_still_coming_is_not_swept() -> None:
    tables = adj_rib_in.session_up(received(ONE), PEER, 10.0)
    tables = adj_rib_in.updated(tables, Update(PEER, (path(TWO, PEER),)), 35.0)
    assert prefixes(adj_rib_in.expired(tables, 41.0)) == {ONE, TWO}
    assert prefixes(adj_rib_in.expired(tables, 35.0 + SYNC_S)) == {TWO}


def test_a_repeated_path_keeps_its_age_and_a_changed_one_does_not() -> None:
    tables = adj_rib_in.updated(received(ONE), Update(PEER, (path(ONE, PEER),)), 50.0)
    assert tables[PEER].paths[ONE].at_s == 2.0
    tables = adj_rib_in.updated(tables, Update(PEER, (path(ONE, PEER, 65001),)), 60.0)
    assert tables[PEER].paths[ONE].at_s == 60.0


def test_losing_our_own_channel_forgets_nothing() -> None:
    tables = adj_rib_in.all_stale(received(ONE), 10.0, 120.0)
    assert prefixes(tables) == {ONE}
    assert tables[PEER].state is TableState.STALE


def test_news_of_a_peer_that_is_not_wanted_changes_nothing() -> None:
    unknown = Address.parse("10.9.9.9")
    tables = received(ONE)
    assert adj_rib_in.updated(tables, Update(unknown, (path(TWO, unknown),)), 9.0) == tables
    assert adj_rib_in.session_up(tables, unknown, 9.0) == tables
    assert adj_rib_in.complete(tables, unknown, 9.0) == tables


def many(count: int) -> Update:
    return Update(PEER, tuple(path(Prefix(4, (10 << 24) + number, 32), PEER) for number in range(count)))


def test_a_peer_over_its_limit_is_not_used_at_all_and_costs_no_memory() -> None:
    tables = adj_rib_in.updated(received(ONE), many(11), 5.0, limit=10)
    assert tables[PEER].over_limit_since_s == 5.0
    assert not tables[PEER].paths
    assert tables[PEER].certain
    assert adj_rib_in.updated(tables, many(3), 6.0, limit=10) == tables


def test_a_peer_over_its_limit_is_asked_again_and_used_once_a_whole_table_fits() -> None:
    tables = adj_rib_in.updated(received(ONE), many(11), 5.0, limit=10)
    assert adj_rib_in.refresh_due(tables, 64.9) == ()
    assert adj_rib_in.refresh_due(tables, 65.0) == (PEER,)
    tables = adj_rib_in.refresh_begun(tables, PEER, 65.0)
    assert adj_rib_in.refresh_due(tables, 65.0) == ()
    tables = adj_rib_in.updated(tables, many(10), 66.0, limit=10)
    assert len(tables[PEER].paths) == 10
    assert not tables[PEER].usable
    tables = adj_rib_in.complete(tables, PEER, 67.0)
    assert len(tables[PEER].usable) == 10


def test_a_peer_that_stays_over_its_limit_is_asked_ever_more_rarely() -> None:
    tables, at_s, pauses = adj_rib_in.updated(received(ONE), many(11), 5.0, limit=10), 5.0, []
    for _ in range(9):
        waits_s = (tables[PEER].expires_s or 0.0) - at_s
        pauses.append(waits_s)
        at_s += waits_s
        assert adj_rib_in.expired(tables, at_s)[PEER] == tables[PEER]
        tables = adj_rib_in.updated(adj_rib_in.refresh_begun(tables, PEER, at_s), many(11), at_s, limit=10)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (60.0, 3600.0)


def test_a_new_session_is_a_new_chance_and_a_flood_is_not_retained() -> None:
    tables = adj_rib_in.updated(received(ONE), many(11), 5.0, limit=10)
    tables = adj_rib_in.session_down(tables, SessionDown(PEER, "closing connection", notified=False), 6.0)
    assert tables[PEER].state is TableState.DOWN
    assert tables[PEER].over_limit_since_s is None


def test_why_a_session_is_down_is_kept_until_it_is_up_again() -> None:
    tables = adj_rib_in.session_down(
        received(ONE), SessionDown(PEER, "closed", notified=False, kind=DownKind.CLOSED), 10.0
    )
    assert (tables[PEER].down, tables[PEER].last_error) == (DownKind.CLOSED, "closed")
    assert adj_rib_in.session_up(tables, PEER, 11.0)[PEER].down is None


def test_a_session_found_up_is_that_of_a_peer_whose_open_we_missed() -> None:
    tables = adj_rib_in.session_found_up(
        adj_rib_in.expect({}, [PEER], 0.0, 120.0), PEER, 5.0, uptime_s=300.0, restart_time_s=120
    )
    assert (tables[PEER].up_since_s, tables[PEER].restart_time_s) == (-295.0, 120)
    known = adj_rib_in.session_found_up(received(ONE, graceful=True), PEER, 5.0, uptime_s=3.0, restart_time_s=None)
    assert known[PEER].restart_time_s == 120


def alone_again() -> AdjRibIn:
    """The last peer went, and its restart time is over."""
    tables = adj_rib_in.session_down(received(ONE, TWO), SessionDown(OTHER, "bye", notified=True), 9.0)
    tables = adj_rib_in.session_down(tables, SessionDown(PEER, "closing connection", notified=False), 10.0)
    return adj_rib_in.expired(tables, 130.0)


def renewed_until(tables: AdjRibIn, at_s: float) -> AdjRibIn:
    """The peer is proven at each of its times."""
    while (due_s := tables[PEER].expires_s) is not None and due_s <= at_s:
        tables = adj_rib_in.expired(tables, due_s, lambda peer: peer == PEER)
    return tables


def test_of_a_proven_peer_the_paths_to_itself_are_used_on_and_those_to_others_end_with_the_restart_time() -> None:
    tables = adj_rib_in.updated(received(ONE), Update(PEER, (path(TWO, Address.parse("10.0.0.7")),)), 5.0)
    tables = adj_rib_in.session_down(tables, SessionDown(PEER, "hold timer expired", notified=False), 10.0)
    assert prefixes(renewed_until(tables, 129.0)) == {ONE, TWO}
    tables = renewed_until(tables, 130.0)
    assert (tables[PEER].state, prefixes(tables), set(tables[PEER].stale)) == (TableState.STALE, {ONE}, {ONE})


def test_a_proven_peer_without_a_session_is_used_for_an_hour_at_most() -> None:
    tables = adj_rib_in.session_down(received(ONE), SessionDown(PEER, "hold timer expired", notified=False), 10.0)
    end_s = 10.0 + adj_rib_in.RETENTION_S
    assert prefixes(renewed_until(tables, end_s - 0.1)) == {ONE}
    assert prefixes(renewed_until(tables, end_s)) == set()


def test_when_every_peer_is_gone_their_paths_are_stale_for_an_hour_and_nothing_waits_for_them() -> None:
    tables = alone_again()
    assert (tables[PEER].state, prefixes(tables)) == (TableState.LONG_LIVED_STALE, {ONE, TWO})
    assert tables[PEER].certain
    assert prefixes(adj_rib_in.expired(tables, 130.0 + adj_rib_in.RETENTION_S - 1)) == {ONE, TWO}
    assert prefixes(adj_rib_in.expired(tables, 130.0 + adj_rib_in.RETENTION_S)) == set()


def test_once_a_peer_is_back_the_others_have_their_restart_time_to_return() -> None:
    tables = adj_rib_in.session_up(alone_again(), OTHER, 500.0)
    assert (tables[PEER].state, prefixes(adj_rib_in.expired(tables, 619.0))) == (TableState.STALE, {ONE, TWO})
    assert prefixes(adj_rib_in.expired(tables, 620.0)) == set()


def test_a_long_lived_stale_peer_that_returns_confirms_what_it_repeats() -> None:
    tables = adj_rib_in.session_up(adj_rib_in.open_received(alone_again(), opened(120, preserved=True)), PEER, 500.0)
    tables = adj_rib_in.complete(adj_rib_in.updated(tables, Update(PEER, (path(ONE, PEER),)), 501.0), PEER, 502.0)
    assert prefixes(tables) == {ONE}


def test_a_prefix_that_a_known_peer_announces_no_more_is_withdrawn_unless_another_peer_announces_it() -> None:
    before = received(ONE, TWO)
    now = adj_rib_in.updated(before, Update(PEER, withdrawn=(ONE, TWO)), 5.0)
    assert adj_rib_in.withdrawn(before, now) == {ONE, TWO}
    now = adj_rib_in.updated(now, Update(OTHER, (path(TWO, OTHER),)), 6.0)
    assert adj_rib_in.withdrawn(before, now) == {ONE}
    assert adj_rib_in.without_path(now, [ONE, TWO]) == {ONE}


def test_a_prefix_lost_in_a_restart_is_not_withdrawn_before_end_of_rib() -> None:
    before = adj_rib_in.session_down(received(ONE), SessionDown(PEER, "closing connection", notified=False), 10.0)
    now = adj_rib_in.session_up(adj_rib_in.open_received(before, opened(120, preserved=False)), PEER, 11.0)
    assert prefixes(now) == set()
    assert adj_rib_in.withdrawn(before, now) == set()
    assert adj_rib_in.withdrawn(before, adj_rib_in.complete(now, PEER, 12.0)) == {ONE}


def test_what_a_peer_withdraws_is_withdrawn_before_its_end_of_rib_too() -> None:
    before = adj_rib_in.session_up(adj_rib_in.expect({}, [PEER, OTHER], 0.0, 120.0), PEER, 1.0)
    before = adj_rib_in.updated(before, Update(PEER, (path(ONE, PEER),)), 2.0)
    now = adj_rib_in.updated(before, Update(PEER, withdrawn=(ONE,)), 3.0)
    assert now[PEER].state is TableState.AWAITING_END_OF_RIB
    assert adj_rib_in.withdrawn(before, now) == {ONE}


def test_a_peer_that_is_shut_down_has_withdrawn_everything() -> None:
    before = received(ONE)
    assert adj_rib_in.withdrawn(before, adj_rib_in.session_down(before, CAUSES["shut down"], 5.0)) == {ONE}
    refused = SessionDown(PEER, "connect: Connection refused", notified=False, kind=DownKind.REFUSED)
    after = adj_rib_in.session_down(adj_rib_in.session_down(before, CAUSES["shut down"], 5.0), refused, 5.1)
    assert adj_rib_in.withdrawn(before, after) == {ONE}
    for cause in CAUSES.keys() - {"shut down", "hard reset"}:
        assert adj_rib_in.withdrawn(before, adj_rib_in.session_down(before, CAUSES[cause], 5.0)) == set()


def test_a_lost_connection_withdraws_everything_unless_a_graceful_restart_begins() -> None:
    """RFC 4724, section 4.2: it waits for no other peer whose table is not complete."""
    plain, graceful = received(ONE, graceful=False), received(ONE)
    assert adj_rib_in.withdrawn(plain, adj_rib_in.session_down(plain, CAUSES["closed"], 5.0)) == {ONE}
    assert adj_rib_in.withdrawn(graceful, adj_rib_in.session_down(graceful, CAUSES["closed"], 5.0)) == set()
    for silent in ("hold time expired here", "hold time expired there"):
        assert adj_rib_in.withdrawn(plain, adj_rib_in.session_down(plain, CAUSES[silent], 5.0)) == set()


def test_a_path_that_bfd_has_seen_fail_is_withdrawn() -> None:
    before = received(ONE)
    failed = SessionDown(PEER, "BFD", notified=True, kind=DownKind.BFD_DOWN, is_final=True)
    assert adj_rib_in.withdrawn(before, adj_rib_in.session_down(before, failed, 5.0)) == {ONE}


def test_a_peer_that_is_removed_or_exceeds_its_limit_has_withdrawn_nothing() -> None:
    before = received(ONE)
    closed = SessionDown(PEER, "notification received (6,3)", notified=True)
    assert adj_rib_in.withdrawn(before, adj_rib_in.session_down(before, closed, 5.0)) == set()
    exceeded = adj_rib_in.updated(before, Update(PEER, (path(TWO, PEER),)), 5.0, limit=1)
    assert prefixes(exceeded) == set()
    assert adj_rib_in.withdrawn(before, exceeded) == set()


def test_a_peer_that_is_wanted_no_more_has_withdrawn_nothing() -> None:
    before = received(ONE)
    assert adj_rib_in.withdrawn(before, adj_rib_in.expect(before, [OTHER], 5.0, 120.0)) == set()


def test_the_end_of_a_first_table_that_we_half_missed_removes_nothing() -> None:
    """An agent that comes to a session just begun asks for the table; the peer may be in the middle of its first."""
    tables = adj_rib_in.session_found_up(
        adj_rib_in.all_stale(received(ONE), 10.0, 120.0), PEER, 11.0, uptime_s=0.0, restart_time_s=120
    )
    tables = adj_rib_in.open_received(tables, replace(opened(120, preserved=True), enhanced_refresh=True))
    tables = adj_rib_in.end_of_rib(tables, PEER, 11.1)
    tables = adj_rib_in.end_of_rib(adj_rib_in.refresh_begun(tables, PEER, 11.2), PEER, 11.3)
    assert prefixes(tables) == {ONE}
    assert not tables[PEER].certain
    tables = adj_rib_in.updated(tables, Update(PEER, (path(ONE, PEER),)), 11.4)
    tables = adj_rib_in.complete(tables, PEER, 11.5)
    assert prefixes(tables) == {ONE}
    assert tables[PEER].certain


def test_a_table_that_a_peer_repeats_by_itself_does_not_end_a_route_refresh() -> None:
    """Its speaker got another configuration, as ours did: it announces everything, and End-of-RIB, to every peer."""
    tables = adj_rib_in.open_received(received(ONE), replace(opened(120, preserved=True), enhanced_refresh=True))
    tables = adj_rib_in.complete(tables, PEER, 10.0)
    for begin in (
        partial(adj_rib_in.session_found_up, peer=PEER, at_s=11.0, uptime_s=5.0, restart_time_s=120),
        partial(adj_rib_in.refresh_begun, peer=PEER, at_s=11.0),
    ):
        begun = adj_rib_in.end_of_rib(begin(tables), PEER, 11.1)
        assert prefixes(begun) == {ONE}
        assert not begun[PEER].certain
        assert adj_rib_in.complete(begun, PEER, 11.2)[PEER].certain


def test_without_enhanced_route_refresh_end_of_rib_ends_the_answer() -> None:
    tables = adj_rib_in.session_found_up(received(ONE), PEER, 11.0, uptime_s=0.0, restart_time_s=120)
    tables = adj_rib_in.open_received(tables, opened(120, preserved=True))
    assert adj_rib_in.end_of_rib(tables, PEER, 11.1)[PEER].certain


# Several paths of one peer -------------------------------------------------------------------------------------


def identified(path_id: int, hop: Address = PEER) -> Path:
    return replace(path(ONE, hop), path_id=path_id)


def of_one(tables: AdjRibIn) -> dict[int | None, Address | None]:
    """The next hop of each path to ONE by its identifier, in their order."""
    found = tables[PEER].paths.get(ONE)
    return {item.path.path_id: item.path.next_hop for item in found.each} if found else {}


def test_paths_with_identifiers_stand_beside_each_other_and_go_one_by_one() -> None:
    tables = adj_rib_in.updated(received(), Update(PEER, (identified(7, OTHER), identified(3))), 4.0)
    assert of_one(tables) == {3: PEER, 7: OTHER}
    tables = adj_rib_in.updated(tables, Update(PEER, (identified(3, OTHER),)), 5.0)
    assert of_one(tables) == {3: OTHER, 7: OTHER}
    tables = adj_rib_in.updated(tables, Update(PEER, withdrawn_paths=((ONE, 3), (TWO, 3))), 6.0)
    assert of_one(tables) == {7: OTHER}
    tables = adj_rib_in.updated(tables, Update(PEER, withdrawn_paths=((ONE, 7),)), 7.0)
    assert prefixes(tables) == set()


def test_a_path_that_is_announced_unchanged_keeps_its_age_beside_others() -> None:
    tables = adj_rib_in.updated(received(), Update(PEER, (identified(1),)), 4.0)
    tables = adj_rib_in.updated(tables, Update(PEER, (identified(2, OTHER), identified(1))), 9.0)
    assert [item.at_s for item in tables[PEER].paths[ONE].each] == [4.0, 9.0]


def test_of_an_earlier_session_no_identifier_stays() -> None:
    tables = adj_rib_in.updated(received(), Update(PEER, (identified(1), identified(2, OTHER))), 4.0)
    tables = adj_rib_in.session_down(tables, SessionDown(PEER, "closing connection", notified=False), 10.0)
    tables = adj_rib_in.session_up(tables, PEER, 11.0)
    assert of_one(tables) == {1: PEER, 2: OTHER}
    tables = adj_rib_in.updated(tables, Update(PEER, withdrawn_paths=((ONE, 1),)), 12.0)
    assert of_one(tables) == {2: OTHER}
    assert prefixes(adj_rib_in.complete(tables, PEER, 13.0)) == set()
    tables = adj_rib_in.updated(tables, Update(PEER, (identified(9),)), 12.0)
    assert of_one(adj_rib_in.complete(tables, PEER, 13.0)) == {9: PEER}


def test_the_number_of_paths_to_a_prefix_is_bounded() -> None:
    many = tuple(identified(number) for number in range(MOST_PATHS + 5, 0, -1))
    tables = adj_rib_in.updated(received(), Update(PEER, many), 4.0)
    assert list(of_one(tables)) == list(range(1, MOST_PATHS + 1))
