"""
The table of one peer in Adj-RIB-In (RFC 4271, section 3.2): its paths, and how far they can be trusted.

UPDATEs alone do not distinguish two cases: "the peer has no path to this prefix" and "the peer has not
announced it yet". End-of-RIB (RFC 4724, section 2) and the end of an enhanced route refresh (RFC 7313) mark the
moment from which a missing path means a missing path; before, a table knows what it has and nothing of what it
does not have. The state of a table records this, and everything that would remove routes asks for it.

Paths outlive their session. A session that is lost, with a peer that offered graceful restart, leaves its paths as
stale ones for the restart time (RFC 4724, section 4.2), because the peer is likely to forward still. A NOTIFICATION
is an end for good, but where both ends have agreed that only some are (RFC 8538): then neither an expired hold time
nor a malformed message costs a path. docs/explanation/end-of-a-session.md has the table. When the session comes back,
or the table is requested again, the peer announces everything once more: each path is confirmed by its announcement,
and those left unconfirmed at the end are removed. So paths are never withdrawn and announced again in between, which
would be a gap for the traffic.

A peer that announces more prefixes than the limit loses its whole table: which of the prefixes came first is an
accident, and any part of them would be an arbitrary routing table. A route refresh is requested after a pause,
which grows.

Refuses to know: other peers, which path is best, which paths policy lets in.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.bgp.received import Received, updated_paths
from bgpctl.core.bgp.speaker import DownKind, SessionDown, SessionOpened, Update
from bgpctl.core.bgp.wire.encode import EXTENDED_MESSAGE_BYTES, MESSAGE_BYTES, Room
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.core.net.replacing import replace
from bgpctl.core.net.table import Table


class TableState(enum.Enum):
    """
    How far a table can be trusted. SYNCED and DOWN are knowledge; AWAITING_SESSION, AWAITING_END_OF_RIB and STALE are
    degrees of ignorance, each for a bounded time. LONG_LIVED_STALE (RFC 9494) follows STALE if its time
    is over while no session at all is established.
    """

    AWAITING_SESSION = "awaiting session"
    AWAITING_END_OF_RIB = "awaiting End-of-RIB"
    SYNCED = "synced"
    STALE = "stale"
    LONG_LIVED_STALE = "long-lived stale"
    DOWN = "down"


_NO_PATHS: Final = Table[Received]()
_USUAL_ROOM: Final = Room()


@dataclass(frozen=True, slots=True)
class PeerTable:
    """
    Adj-RIB-In of one peer.

    Attributes:
        stale: the paths not announced again since the session or a route refresh began; removed when it is complete.
        since_s: when `state` last changed.
        expires_s: when waiting ends: a table without a session goes down, one that awaits End-of-RIB is complete. Over
            the limit, the time of the next route refresh.
        up_since_s: when the session was established, None while it is not.
        restart_time_s: the restart time in the peer's OPEN (RFC 4724), None without graceful restart.
        last_error, down, down_at_s: why the session is not up: the speaker's text, its kind as far as it is understood,
            and when that happened.
        has_withdrawn_all: the session has ended for good since it was last up: by the peer's operator, by BFD, or with
            its connection, without graceful restart.
        asn, router_id, roles: from the peer's OPEN, None if that came before this agent started.
        enhanced_refresh: the peer marks the end of a route refresh (RFC 7313).
        refresh_pending: a route refresh was requested of the peer, and its end (RFC 7313) is awaited. Until then
            End-of-RIB does not complete the table: it may belong to an initial table that was sent before.
        malformed: the number of errors in its UPDATEs since this agent started (RFC 7606); `last_malformed` is the last
            one in words.
        notification_restart: a NOTIFICATION alone ends no graceful restart (RFC 8538).
        room: of an UPDATE to the peer, by its OPEN.
        over_limit_since_s: when the peer exceeded the prefix limit. Nothing of it is used or kept until a whole table
            is below the limit.
    """

    state: TableState = TableState.AWAITING_SESSION
    paths: Table[Received] = field(default_factory=Table)
    stale: Table[Received] = field(default_factory=Table)
    since_s: float = 0.0
    expires_s: float | None = None
    up_since_s: float | None = None
    restart_time_s: int | None = None
    last_error: str = ""
    down: DownKind | None = None
    down_at_s: float = 0.0
    has_withdrawn_all: bool = False
    asn: Asn | None = None
    router_id: Address | None = None
    roles: tuple[int, ...] = ()
    enhanced_refresh: bool = False
    refresh_pending: bool = False
    notification_restart: bool = False
    room: Room = _USUAL_ROOM
    over_limit_since_s: float | None = None
    malformed: int = 0
    last_malformed: str = ""

    @property
    def usable(self) -> Table[Received]:
        """The paths that take part in the decision process."""
        return self.paths if self.over_limit_since_s is None else _NO_PATHS

    @property
    def prefix_limit_exceeded(self) -> bool:
        """True if the peer exceeded the limit and no route refresh has begun since."""
        return self.over_limit_since_s is not None and self.state is TableState.SYNCED

    @property
    def established(self) -> bool:
        """True if the session is up."""
        return self.up_since_s is not None

    @property
    def certain(self) -> bool:
        """True if a path that is not in the table does not exist."""
        # Asked for every peer at every observation: an identity costs a tenth of a hash of an Enum.
        state = self.state
        return state is TableState.SYNCED or state is TableState.LONG_LIVED_STALE or state is TableState.DOWN

    @property
    def is_retained(self) -> bool:
        """True if there may be paths without a session."""
        return self.state in {TableState.STALE, TableState.LONG_LIVED_STALE}


SYNC_S: Final = 30.0
"""
Without End-of-RIB and enhanced route refresh a peer never marks its table complete: so long without an UPDATE does.
"""
_SYNC_MOST_S: Final = 120.0
"""And so long does even if UPDATEs go on, as long as these confirm nothing: they are changes by then."""
_REFRESH_PAUSE_S: Final = (60.0, 3600.0)
"""
The pause before a route refresh of a peer over the limit, least and most: as long as it has been over the limit.
"""


_AFTER_BFD_DOWN: Final = frozenset({DownKind.BFD_DOWN, DownKind.NO_ANSWER, DownKind.UNREACHABLE})
"""Ends of later attempts over a path that BFD has seen fail: they do not hide the cause."""


# The session ---------------------------------------------------------------------------------------------------


def opened(table: PeerTable, event: SessionOpened) -> PeerTable:
    """
    The table after the peer's OPEN.

    A cleared Forwarding State bit concerns the restart that the peer has just made: it has lost its forwarding state,
    so its stale paths are removed at once. Its next restart may be graceful all the same (RFC 4724, sections 3, 4.2).

    The OPEN of a session that was up before this agent started is reported after the session. The initial table of such
    a session was partly missed, and its End-of-RIB may be still to come; with RFC 7313 it is not mistaken for the end
    of the refresh that was requested.
    """
    if table.is_retained and not (event.restart_time_s and event.forwarding_preserved):
        table = replace(table, paths=_NO_PATHS, stale=_NO_PATHS)
    return replace(
        table,
        restart_time_s=event.restart_time_s,
        router_id=event.router_id,
        asn=event.asn,
        roles=event.roles,
        enhanced_refresh=event.enhanced_refresh,
        refresh_pending=table.refresh_pending or (table.established and event.enhanced_refresh),
        notification_restart=event.notification_restart,
        room=Room(EXTENDED_MESSAGE_BYTES if event.extended_message else MESSAGE_BYTES, event.four_octet),
    )


def established(table: PeerTable, at_s: float, uptime_s: float) -> PeerTable:
    """The table once the session is Established: the peer announces everything it has, up to End-of-RIB."""
    begun = awaiting_end_of_rib(table, at_s)
    return replace(
        begun, up_since_s=at_s - uptime_s, last_error="", down=None, has_withdrawn_all=False, refresh_pending=False
    )


def ended(table: PeerTable, event: SessionDown, at_s: float) -> PeerTable:
    """
    The table after the end of its session. The paths stay as stale ones if the peer offered graceful restart (RFC 4724,
    section 4.2), unless the session ended for good; a peer whose first session is awaited is awaited until its time is
    over.
    """
    left = _without_session(table, event, at_s)
    left = replace(left, has_withdrawn_all=table.has_withdrawn_all or _withdraws_all(table, event, left))
    if table.down is DownKind.BFD_DOWN and event.kind in _AFTER_BFD_DOWN:
        return left
    if table.down not in {None, DownKind.CLOSED} and (event.kind is DownKind.CLOSED or not event.reason):
        return left  # what follows the cause, such as vain attempts, does not hide it
    return replace(left, last_error=event.reason, down=event.kind, down_at_s=at_s)


def _withdraws_all(table: PeerTable, event: SessionDown, left: PeerTable) -> bool:
    """
    True if the end of the session is the peer's word, or BFD's, that its paths go, so that they wait for no other peer.
    The end of a connection is, unless a graceful restart begins with it (RFC 4724, section 4.2); silence is not.
    """
    if event.is_final and event.kind is DownKind.SHUT_DOWN:
        return True
    lost = event.kind in {DownKind.CLOSED, DownKind.BFD_DOWN}
    return lost and table.established and left.state is TableState.DOWN


def _without_session(table: PeerTable, event: SessionDown, at_s: float) -> PeerTable:
    is_final = _is_final(table, event)
    stays_retained = table.is_retained and not is_final
    if stays_retained or table.state in {TableState.AWAITING_SESSION, TableState.DOWN}:
        return table
    is_graceful = table.established and not is_final and table.over_limit_since_s is None
    return stale(table, at_s, table.restart_time_s) if is_graceful and table.restart_time_s else emptied(table, at_s)


def _is_final(table: PeerTable, event: SessionDown) -> bool:
    """
    True if nothing may be retained: after any NOTIFICATION by RFC 4724, by RFC 8538 after those alone that mean it.
    Our own when the hold time is over is like any other: whether the peer still forwards is as unknown as after the
    loss of a connection.
    """
    return event.notified and (event.is_final or not table.notification_restart)


# States --------------------------------------------------------------------------------------------------------


def awaiting_end_of_rib(table: PeerTable, at_s: float) -> PeerTable:
    """The table at the beginning of a whole one: its paths are stale until they are announced again."""
    return replace(
        table,
        state=TableState.AWAITING_END_OF_RIB,
        stale=table.paths,
        since_s=at_s,
        expires_s=at_s + SYNC_S,
    )


def stale(table: PeerTable, at_s: float, retention_s: float) -> PeerTable:
    """The table without its session: all its paths are used on for `retention_s`."""
    return replace(
        table,
        state=TableState.STALE,
        up_since_s=None,
        stale=table.paths,
        since_s=at_s,
        expires_s=at_s + retention_s,
    )


def long_lived_stale(table: PeerTable, at_s: float, retention_s: float) -> PeerTable:
    """The stale table whose paths are used on because no other peer could have better ones."""
    return replace(table, state=TableState.LONG_LIVED_STALE, since_s=at_s, expires_s=at_s + retention_s)


def stale_again(table: PeerTable, at_s: float) -> PeerTable:
    """A long-lived stale table once any peer is back: its own peer has its restart time to return as well."""
    if table.state is not TableState.LONG_LIVED_STALE:
        return table
    return replace(table, state=TableState.STALE, since_s=at_s, expires_s=at_s + (table.restart_time_s or 0))


def emptied(table: PeerTable, at_s: float) -> PeerTable:
    """The table of a peer that is down, as if no path had ever been received."""
    return replace(
        table,
        state=TableState.DOWN,
        paths=_NO_PATHS,
        stale=_NO_PATHS,
        since_s=at_s,
        expires_s=None,
        up_since_s=None,
        over_limit_since_s=None,
    )


def completed(table: PeerTable, at_s: float) -> PeerTable:
    """The table at End-of-RIB or at the end of a route refresh: paths that were not announced again are removed."""
    paths = table.paths.changed({}, gone=table.stale)
    return replace(
        table,
        state=TableState.SYNCED,
        paths=paths,
        stale=_NO_PATHS,
        since_s=table.since_s if table.state is TableState.SYNCED else at_s,
        expires_s=None,
        over_limit_since_s=None,
        refresh_pending=False,
    )


# Updates -------------------------------------------------------------------------------------------------------


def with_update(table: PeerTable, update: Update, at_s: float, limit: int) -> PeerTable:
    """The table after one UPDATE; a path that is announced unchanged keeps its age."""
    paths = updated_paths(table.paths, update, at_s, unconfirmed=table.stale)
    if len(paths) > limit:
        return _over_limit(table, at_s)
    # A large table takes long to arrive, so the time without an UPDATE ends the wait for End-of-RIB.
    by_id = (prefix for prefix, _ in update.withdrawn_paths if prefix not in paths)
    confirmed = (*update.withdrawn, *by_id, *(path.prefix for path in update.announced)) if table.stale else ()
    unconfirmed = table.stale.changed({}, gone=confirmed)
    expires_s = table.expires_s
    if table.state is TableState.AWAITING_END_OF_RIB:
        ends_by_itself = table.restart_time_s is not None or len(unconfirmed) < len(table.stale)
        latest_s = math.inf if ends_by_itself else table.since_s + _SYNC_MOST_S
        expires_s = min(at_s + SYNC_S, latest_s)
    return replace(table, paths=paths, stale=unconfirmed, expires_s=expires_s)


def _over_limit(table: PeerTable, at_s: float) -> PeerTable:
    since_s = at_s if table.over_limit_since_s is None else table.over_limit_since_s
    least_s, most_s = _REFRESH_PAUSE_S
    pause_s = min(max(at_s - since_s, least_s), most_s)
    return replace(
        table,
        state=TableState.SYNCED,
        paths=_NO_PATHS,
        stale=_NO_PATHS,
        since_s=at_s,
        expires_s=at_s + pause_s,
        over_limit_since_s=since_s,
    )
