"""
Liveness of peers by BFD, and what it means for their sessions of BGP (RFC 5882).

A session that BFD has seen fail is ended at once, and its paths go with it: a topology change (section 3.2). Two
questions decide:

- Has it failed? Only Up, then Down, is a failure. A peer without BFD never gets Up, and its paths are used as ever. The
  peer's AdminDown is none: its operator has ended BFD, not forwarding.
- Is the peer in a graceful restart, because its session of BGP was lost before? Then section 4.3 asks whether its BFD
  shares the fate of its control plane. With the C bit set it does not: forwarding has failed, and the restart is
  aborted. With the C bit clear, BFD has most likely gone with the peer's BGP daemon, and its stale paths stay.

A daemon that is killed can leave a BFD of its own behind that reports Down before the end of the connection is known
here, as FRR's does. Of a peer that has offered graceful restart, such a report, which names no fault of the path,
counts after ONSET_S: by then the restart has begun, or there is none.

A failure counts for what was there before it: a session of BGP that was established later is used. So times are
compared, those of the reports themselves: it makes no difference whether this agent was there when it happened, nor how
late it reads of it.

Refuses to know: packets of BFD, and who measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from bgpctl.core.bfd.packet import Diagnostic
from bgpctl.core.bgp import peer_table
from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.bfd import BfdChanged, BfdReport
from bgpctl.core.bgp.peer_table import PeerTable
from bgpctl.core.bgp.speaker import DownKind, EndSession, SessionDown
from bgpctl.core.net.addresses import Address

ONSET_S: Final = 1.0
_CEASE: Final = 6
_BFD_DOWN: Final = 10
"""RFC 9384: the subcode of a Cease."""


LivenessByPeer: TypeAlias = Mapping[Address, BfdReport]


def changed(known: LivenessByPeer, event: BfdChanged) -> LivenessByPeer:
    """The reports with a new one."""
    others = {peer: report for peer, report in known.items() if peer != event.peer}
    return others if event.report is None else {**others, event.peer: event.report}


def after_failures(adj_rib_in: AdjRibIn, known: LivenessByPeer, at_s: float) -> tuple[AdjRibIn, tuple[EndSession, ...]]:
    """The tables without those of peers that BFD has seen fail, and the sessions to be ended."""
    failed = [peer for peer, due_s in _dues_s(adj_rib_in, known).items() if due_s <= at_s]
    if not failed:
        return adj_rib_in, ()
    ended = tuple(EndSession(peer, _CEASE, _BFD_DOWN) for peer in sorted(failed) if adj_rib_in[peer].established)
    tables = {peer: _failed(adj_rib_in[peer], peer, known[peer], at_s) for peer in failed}
    return {**adj_rib_in, **tables}, ended


def next_due_s(adj_rib_in: AdjRibIn, known: LivenessByPeer) -> float:
    """When `after_failures` has something to do; infinite means never."""
    return min(_dues_s(adj_rib_in, known).values(), default=math.inf)


def _dues_s(adj_rib_in: AdjRibIn, known: LivenessByPeer) -> Mapping[Address, float]:
    """When each failure ends what its peer has here."""
    tables = ((peer, adj_rib_in[peer], report) for peer, report in known.items() if peer in adj_rib_in)
    dues_s = ((peer, _due_s(table, report)) for peer, table, report in tables)
    return {peer: due_s for peer, due_s in dues_s if due_s is not None}


def _due_s(table: PeerTable, report: BfdReport) -> float | None:
    failed_at_s = report.failed_at_s
    if failed_at_s is None:
        return None
    if table.up_since_s is None:
        is_aborted = table.is_retained and report.independent and table.since_s <= failed_at_s
        return failed_at_s if is_aborted else None
    if table.up_since_s > failed_at_s:
        return None
    may_be_restart = table.restart_time_s and not report.independent and _names_no_fault(report)
    return failed_at_s + ONSET_S if may_be_restart else failed_at_s


def _names_no_fault(report: BfdReport) -> bool:
    """True if the peer's BFD, which can be heard, was ended by something else than a silent path."""
    by_peer = {Diagnostic.NONE, Diagnostic.NEIGHBOR_DOWN, Diagnostic.ADMIN_DOWN}
    return report.diagnostic is Diagnostic.NEIGHBOR_DOWN and report.remote_diagnostic in by_peer


def _failed(table: PeerTable, peer: Address, report: BfdReport, at_s: float) -> PeerTable:
    event = SessionDown(peer, reason(report), notified=True, kind=DownKind.BFD_DOWN, is_final=True)
    return peer_table.ended(replace(table, down=None), event, at_s)


def reason(report: BfdReport) -> str:
    """Why BFD went down, in words."""
    if report.diagnostic is Diagnostic.TIME_EXPIRED:
        return f"no BFD packet of the peer for {report.detection_us // 1000} ms"
    if report.diagnostic is Diagnostic.NEIGHBOR_DOWN:
        return f"the peer reports BFD down ({words(report.remote_diagnostic)})"
    return f"BFD is down ({words(report.diagnostic)})"


def words(diagnostic: Diagnostic) -> str:
    """RFC 5880, section 4.1."""
    return _WORDS[diagnostic]


_WORDS: Final[Mapping[Diagnostic, str]] = {
    Diagnostic.NONE: "no diagnostic",
    Diagnostic.TIME_EXPIRED: "control detection time expired",
    Diagnostic.ECHO_FAILED: "echo function failed",
    Diagnostic.NEIGHBOR_DOWN: "neighbor signaled session down",
    Diagnostic.FORWARDING_RESET: "forwarding plane reset",
    Diagnostic.PATH_DOWN: "path down",
    Diagnostic.CONCATENATED_PATH_DOWN: "concatenated path down",
    Diagnostic.ADMIN_DOWN: "administratively down",
    Diagnostic.REVERSE_PATH_DOWN: "reverse concatenated path down",
}
