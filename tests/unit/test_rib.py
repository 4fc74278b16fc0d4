"""Adj-RIB-In: what a peer's silence, death and return do to what it told."""

from bgpctl.core import rib
from bgpctl.core.bgp import Update
from bgpctl.core.model import Address, Asn, Prefix
from bgpctl.core.rib import Candidate, Heard, Lost, Received, Rib, choose
from tests.cluster import path

PEER = Address.parse("10.0.0.2")
ONE, TWO = Prefix.parse("10.244.1.0/26"), Prefix.parse("10.244.2.0/26")


def told(*blocks: Prefix, graceful: bool = True) -> Rib:
    """A peer that told these blocks and End-of-RIB."""
    tables = rib.expect({}, [PEER], 0.0, 120.0)
    tables = rib.opened(tables, PEER, 120 if graceful else None, preserved=False)
    tables = rib.session_up(tables, PEER, 1.0)
    tables = rib.updated(tables, Update(PEER, tuple(path(block, PEER) for block in blocks)), 2.0)
    return rib.complete(tables, PEER, 3.0)


def prefixes(tables: Rib) -> set[Prefix]:
    return set(tables[PEER].paths)


def test_a_wanted_peer_is_unheard_until_its_time_is_over() -> None:
    tables = rib.expect({}, [PEER], 0.0, 120.0)
    assert tables[PEER].heard is Heard.UNHEARD
    assert rib.expired(tables, 119.9)[PEER].heard is Heard.UNHEARD
    assert rib.expired(tables, 120.0)[PEER].heard is Heard.DOWN


def test_a_refused_connection_does_not_make_an_unheard_peer_known() -> None:
    tables = rib.session_down(rib.expect({}, [PEER], 0.0, 120.0), PEER, 1.0, reason="refused", notified=False)
    assert tables[PEER].heard is Heard.UNHEARD
    assert tables[PEER].last_error == "refused"


def test_a_peer_that_dies_keeps_its_paths_as_stale_ones_until_its_restart_time() -> None:
    tables = rib.session_down(told(ONE), PEER, 10.0, reason="closing connection", notified=False)
    assert prefixes(tables) == {ONE}
    assert tables[PEER].stale == {ONE}
    assert prefixes(rib.expired(tables, 129.0)) == {ONE}
    assert prefixes(rib.expired(tables, 130.0)) == set()


def test_a_peer_that_says_goodbye_loses_its_paths_at_once() -> None:
    tables = rib.session_down(told(ONE), PEER, 10.0, reason="notification received (6,2)", notified=True)
    assert tables[PEER].heard is Heard.DOWN
    assert prefixes(tables) == set()


def test_a_peer_without_graceful_restart_loses_its_paths_at_once() -> None:
    tables = rib.session_down(told(ONE, graceful=False), PEER, 10.0, reason="closing connection", notified=False)
    assert prefixes(tables) == set()


def test_a_peer_that_returns_confirms_what_it_repeats_and_loses_the_rest_at_end_of_rib() -> None:
    tables = rib.session_down(told(ONE, TWO), PEER, 10.0, reason="closing connection", notified=False)
    tables = rib.session_up(tables, PEER, 11.0)
    tables = rib.updated(tables, Update(PEER, (path(ONE, PEER),)), 12.0)
    assert prefixes(tables) == {ONE, TWO}
    tables = rib.complete(tables, PEER, 13.0)
    assert prefixes(tables) == {ONE}
    assert tables[PEER].heard is Heard.SYNCED


def test_a_peer_that_returns_without_its_forwarding_state_loses_what_was_retained() -> None:
    tables = rib.session_down(told(ONE), PEER, 10.0, reason="closing connection", notified=False)
    assert prefixes(rib.opened(tables, PEER, None, preserved=False)) == set()
    assert prefixes(rib.opened(tables, PEER, 120, preserved=False)) == set()
    assert prefixes(rib.opened(tables, PEER, 120, preserved=True)) == {ONE}


def test_a_peer_that_never_says_end_of_rib_counts_as_complete_after_a_while() -> None:
    tables = rib.session_up(rib.expect({}, [PEER], 0.0, 120.0), PEER, 1.0)
    tables = rib.updated(tables, Update(PEER, (path(ONE, PEER),)), 2.0)
    tables = rib.expired(tables, 2.0 + rib.SYNC_S)
    assert tables[PEER].heard is Heard.SYNCED
    assert prefixes(tables) == {ONE}


def test_a_table_that_is_still_coming_is_not_swept() -> None:
    tables = rib.session_up(told(ONE), PEER, 10.0)
    tables = rib.updated(tables, Update(PEER, (path(TWO, PEER),)), 35.0)
    assert prefixes(rib.expired(tables, 41.0)) == {ONE, TWO}
    assert prefixes(rib.expired(tables, 35.0 + rib.SYNC_S)) == {TWO}


def test_a_repeated_path_keeps_its_age_and_a_changed_one_does_not() -> None:
    tables = rib.updated(told(ONE), Update(PEER, (path(ONE, PEER),)), 50.0)
    assert tables[PEER].paths[ONE].at_s == 2.0
    tables = rib.updated(tables, Update(PEER, (path(ONE, PEER, 65001),)), 60.0)
    assert tables[PEER].paths[ONE].at_s == 60.0


def test_losing_our_own_channel_forgets_nothing() -> None:
    tables = rib.unattached(told(ONE), 10.0, 120.0)
    assert prefixes(tables) == {ONE}
    assert tables[PEER].heard is Heard.STALE


def test_news_of_a_peer_that_is_not_wanted_changes_nothing() -> None:
    stranger = Address.parse("10.9.9.9")
    tables = told(ONE)
    assert rib.updated(tables, Update(stranger, (path(TWO, stranger),)), 9.0) == tables
    assert rib.session_up(tables, stranger, 9.0) == tables
    assert rib.complete(tables, stranger, 9.0) == tables


def candidate(peer: str, asn: int, *as_path: int, med: int | None = None, internal: bool = False) -> Candidate:
    learned = path("10.244.9.0/26", peer, *as_path)
    changed = Received(type(learned)(learned.prefix, learned.next_hop, learned.as_path, med=med), 0.0)
    return Candidate(Address.parse(peer), Asn(asn), internal, changed)


def test_med_is_compared_only_within_one_neighbour_as() -> None:
    cheap = candidate("10.0.0.3", 65001, 65001, med=10)
    dear = candidate("10.0.0.2", 65001, 65001, med=20)
    other = candidate("10.0.0.1", 65002, 65002, med=500)
    choice = choose([dear, cheap, other])
    assert choice.best == other
    assert dict(choice.lost) == {cheap: Lost.ROUTER_ID, dear: Lost.MED}


def test_the_shorter_as_path_wins() -> None:
    near, far = candidate("10.0.0.9", 65001, 65001), candidate("10.0.0.1", 65002, 65002, 65003)
    assert choose([far, near]).best == near


def test_an_external_path_beats_an_internal_one() -> None:
    inside = candidate("10.0.0.1", 64512, 65001, internal=True)
    outside = candidate("10.0.0.9", 65001, 65001)
    assert choose([inside, outside]).lost == ((inside, Lost.INTERNAL),)
