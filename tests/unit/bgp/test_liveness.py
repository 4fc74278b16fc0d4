"""A failure of BFD: the sessions and paths that it ends, by RFC 5882."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bgpctl.core.bfd.packet import Diagnostic, SessionState
from bgpctl.core.bgp import liveness, peer_table
from bgpctl.core.bgp.adj_rib_in import AdjRibIn, refresh_begun, updated
from bgpctl.core.bgp.bfd import BfdChanged, BfdReport
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.peer_table import PeerTable, TableState
from bgpctl.core.bgp.speaker import DownKind, EndSession, SessionDown, Update
from bgpctl.core.net.addresses import Address, Prefix

PEER, OTHER = Address.parse("10.0.0.254"), Address.parse("10.0.0.253")
ROUTE = Path(Prefix.parse("10.1.0.0/24"), PEER)
FAILED = BfdReport(
    SessionState.DOWN, Diagnostic.TIME_EXPIRED, since_s=19.5, failed_at_s=19.5, detection_us=900_000, independent=True
)
NEVER_UP = BfdReport(SessionState.DOWN)


def established(up_since_s: float = 10.0) -> AdjRibIn:
    table = peer_table.established(PeerTable(restart_time_s=120), up_since_s, 0)
    return updated({PEER: table, OTHER: table}, Update(PEER, (ROUTE,)), up_since_s)


def restarting(lost_at_s: float) -> AdjRibIn:
    tables = established()
    closed = SessionDown(PEER, "closing connection", notified=False, kind=DownKind.CLOSED)
    return {**tables, PEER: peer_table.ended(tables[PEER], closed, lost_at_s)}


def after(tables: AdjRibIn, report: BfdReport, at_s: float = 20.0) -> tuple[AdjRibIn, tuple[EndSession, ...]]:
    return liveness.after_failures(tables, liveness.changed({}, BfdChanged(PEER, report)), at_s)


def test_the_session_ends_at_once_and_its_paths_go() -> None:
    tables, ends = after(established(), FAILED)
    assert ends == (EndSession(PEER, 6, 10),)
    assert tables[PEER].state is TableState.DOWN
    assert not tables[PEER].paths
    assert (tables[PEER].down, tables[PEER].last_error) == (DownKind.BFD_DOWN, "no BFD packet of the peer for 900 ms")
    assert tables[OTHER].established


def test_without_the_c_bit_an_established_session_ends_as_well() -> None:
    """RFC 5882, section 4.3.2.2: BFD fails before the onset of a graceful restart."""
    _, ends = after(established(), replace(FAILED, independent=False))
    assert ends


@pytest.mark.parametrize("report", [NEVER_UP, replace(FAILED, state=SessionState.UP, failed_at_s=None)])
def test_only_a_session_that_was_up_can_fail(report: BfdReport) -> None:
    before = established()
    assert after(before, report) == (before, ())


@pytest.mark.parametrize("read_at_s", [20.0, 60.0])
def test_a_session_that_was_established_after_the_failure_is_used(read_at_s: float) -> None:
    """However late the report is read, as by an agent that was stopped meanwhile."""
    before = established(19.8)
    assert after(before, FAILED, read_at_s) == (before, ())


@pytest.mark.parametrize("independent", [False, True])
def test_the_c_bit_decides_whether_a_graceful_restart_is_aborted(independent: bool) -> None:
    """RFC 5882, sections 4.3.1 and 4.3.2."""
    tables, ends = after(restarting(19.0), replace(FAILED, independent=independent))
    assert ends == ()
    assert bool(tables[PEER].paths) is not independent
    assert tables[PEER].state is (TableState.DOWN if independent else TableState.STALE)


def test_a_down_that_names_no_fault_waits_for_the_onset_of_a_restart() -> None:
    """FRR's bfdd reports Down as soon as its bgpd is killed, before the end of the connection is known here."""
    report = replace(FAILED, diagnostic=Diagnostic.NEIGHBOR_DOWN, independent=False, since_s=20.0, failed_at_s=20.0)
    known = liveness.changed({}, BfdChanged(PEER, report))
    before = established()
    assert liveness.after_failures(before, known, 20.0) == (before, ())
    assert liveness.next_due_s(before, known) == 20.0 + liveness.ONSET_S
    _, ends = liveness.after_failures(before, known, 20.0 + liveness.ONSET_S)
    assert ends
    silent = replace(report, remote_diagnostic=Diagnostic.TIME_EXPIRED)
    assert after(before, silent, 20.0)[1]
    assert liveness.next_due_s(restarting(20.1), known) == math.inf


def test_what_is_still_on_its_way_from_the_speaker_brings_no_path_back() -> None:
    tables, _ = after(established(), FAILED)
    assert updated(tables, Update(PEER, (ROUTE,)), 21.0) == tables
    assert refresh_begun(tables, PEER, 21.0) == tables


def test_later_attempts_do_not_hide_the_cause() -> None:
    tables, _ = after(established(), FAILED)
    for kind in (DownKind.BFD_DOWN, DownKind.NO_ANSWER, DownKind.CLOSED):
        ended = peer_table.ended(tables[PEER], SessionDown(PEER, "later", notified=False, kind=kind), 22.0)
        assert ended.last_error.startswith("no BFD packet")
    refused = SessionDown(PEER, "refused", notified=False, kind=DownKind.REFUSED)
    assert peer_table.ended(tables[PEER], refused, 23.0).down is DownKind.REFUSED


def test_a_process_that_is_away_is_no_failure() -> None:
    known = liveness.changed({}, BfdChanged(PEER, FAILED))
    assert liveness.changed(known, BfdChanged(PEER, None)) == {}


def test_the_reason_has_the_peers_diagnostic() -> None:
    report = replace(FAILED, diagnostic=Diagnostic.NEIGHBOR_DOWN, remote_diagnostic=Diagnostic.PATH_DOWN)
    assert liveness.reason(report) == "the peer reports BFD down (path down)"
