"""
Adj-RIB-In per peer as a value: what each peer's words, silence, death and return make of it.

Refuses to know: which paths policy lets in, which one is best, how time is told.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.speaker import DownKind, SessionDown, SessionOpened, Update
from bgpctl.core.net.addresses import Address, Asn, Prefix


class TableState(enum.Enum):
    """
    What we know of a peer's table. SYNCED and DOWN are knowledge; UNHEARD, SYNCING and STALE are degrees of ignorance,
    which end. RETAINED is what is left of a STALE table when its time was over and nobody else was there either: that
    all peers died at once is less likely than that we lost them, so their paths are used on.
    """

    AWAITING_SESSION = "unheard"
    AWAITING_END_OF_RIB = "syncing"
    SYNCED = "synced"
    STALE = "stale"
    LONG_LIVED_STALE = "retained"
    DOWN = "down"


class Received(NamedTuple):
    """A path with the time it was first received unchanged, in seconds of the agent's clock."""

    path: Path
    at_s: float


@dataclass(frozen=True, slots=True)
class PeerTable:
    """
    Adj-RIB-In of one peer.

    Attributes:
        stale: prefixes not confirmed since the session or a refresh began; swept when the table is complete.
        since_s: when `heard` last changed.
        expires_s: when waiting ends: an UNHEARD or STALE table stops counting, a SYNCING one counts as complete.
        up_since_s: when the session was established, None while it is not.
        restart_time_s: what the peer's OPEN offered for graceful restart (RFC 4724), None if nothing.
        last_error, down: why the session is not up, in the speaker's words and as far as they can be understood.
        asn, router_id: of the peer's OPEN, None where that was before our time.
        tells_the_end: the peer says when a table that it was asked for is through (RFC 7313).
        asked: it was asked for its table, and only the end of the answer ends that: of its own accord, or because
            somebody else asked, it may tell all of another one meanwhile.
        flooded_since_s: since when the peer tells more prefixes than it may. Nothing of it is used or kept until
            it has told a whole table that fits; `expires_s` is when it is asked for that, unless it is SYNCING.
    """

    state: TableState = TableState.AWAITING_SESSION
    paths: Mapping[Prefix, Received] = field(default_factory=dict)
    stale: frozenset[Prefix] = frozenset()
    since_s: float = 0.0
    expires_s: float | None = None
    up_since_s: float | None = None
    restart_time_s: int | None = None
    last_error: str = ""
    down: DownKind | None = None
    asn: Asn | None = None
    router_id: Address | None = None
    enhanced_refresh: bool = False
    asked: bool = False
    over_limit_since_s: float | None = None

    @property
    def usable(self) -> Mapping[Prefix, Received]:
        """The paths that may be compared with others'."""
        return self.paths if self.over_limit_since_s is None else {}

    @property
    def prefix_limit_exceeded(self) -> bool:
        """Whether the peer told too many prefixes and has not been asked again yet."""
        return self.over_limit_since_s is not None and self.state is TableState.SYNCED

    @property
    def established(self) -> bool:
        """Whether the session is up."""
        return self.up_since_s is not None

    @property
    def certain(self) -> bool:
        return self.state in {TableState.SYNCED, TableState.LONG_LIVED_STALE, TableState.DOWN}


AdjRibIn: TypeAlias = Mapping[Address, PeerTable]

_KEPT: Final = frozenset({TableState.STALE, TableState.LONG_LIVED_STALE})
"""Without a session, and yet with paths."""

RETENTION_S: Final = 3600.0
"""How long paths are used on after the last session ended: as long as BIRD keeps long-lived stale ones (RFC 9494)."""
SYNC_S: Final = 30.0
"""A peer without End-of-RIB and enhanced refresh never says that its table is complete: so much silence says it."""
PREFIX_LIMIT: Final = 10_000
"""How many prefixes a peer may tell beyond the blocks that the pools have room for."""
_ASK_AGAIN_S: Final = (60.0, 3600.0)
"""How long a peer that told too many prefixes is left alone: as long as it has done so, within these bounds."""


def expect(rib: AdjRibIn, peers: Iterable[Address], at_s: float, retention_s: float) -> AdjRibIn:
    """The table per wanted peer: known ones as they are, new ones unheard for at most `retention_s`, others gone."""
    fresh = PeerTable(since_s=at_s, expires_s=at_s + retention_s)
    return {peer: rib.get(peer, fresh) for peer in peers}


def open_received(rib: AdjRibIn, event: SessionOpened) -> AdjRibIn:
    """
    The peer's OPEN says whether its paths may outlive a session, and how long. `forwarding_preserved` speaks of the
    restart that it has just made: a peer that comes back without its forwarding state has lost what we retained, but
    its next session may be retained all the same (RFC 4724, sections 3 and 4.2).

    The OPEN of a session that was found up is said after that. Of its first table nobody knows how much we have missed,
    and the end of it may still be to come: where the end of what we asked for can be told from that, it alone counts.
    """
    table = rib.get(event.peer)
    if table is None:
        return rib
    if table.state in _KEPT and not (event.restart_time_s and event.forwarding_preserved):
        table = replace(table, paths={}, stale=frozenset())
    known = replace(
        table,
        restart_time_s=event.restart_time_s,
        router_id=event.router_id,
        asn=event.asn,
        enhanced_refresh=event.enhanced_refresh,
        asked=table.asked or (table.established and event.enhanced_refresh),
    )
    return {**rib, event.peer: known}


def session_found_up(
    rib: AdjRibIn, peer: Address, at_s: float, *, uptime_s: float, restart_time_s: int | None
) -> AdjRibIn:
    """
    A session that was there before, and whose table is asked for. Where its OPEN came before our time, `restart_time_s`
    is what it must have offered.
    """
    if peer not in rib:
        return rib
    up = session_up(rib, peer, at_s, uptime_s=uptime_s)
    offered_s = up[peer].restart_time_s
    known = restart_time_s if offered_s is None else offered_s
    return {**up, peer: replace(up[peer], restart_time_s=known, asked=up[peer].enhanced_refresh)}


def session_up(rib: AdjRibIn, peer: Address, at_s: float, *, uptime_s: float = 0.0) -> AdjRibIn:
    """
    The peer begins to send its whole table; what we still hold of it is stale until confirmed. Where one can be heard
    again so can others: what is retained of them has its restart time to be confirmed.
    """
    if peer not in rib:
        return rib
    rib = {other: _stale_until_confirmed(table, at_s) for other, table in rib.items()}
    begun = _awaiting_end_of_rib(rib[peer], at_s)
    return {**rib, peer: replace(begun, up_since_s=at_s - uptime_s, last_error="", down=None, asked=False)}


def _stale_until_confirmed(table: PeerTable, at_s: float) -> PeerTable:
    if table.state is not TableState.LONG_LIVED_STALE:
        return table
    return replace(table, state=TableState.STALE, since_s=at_s, expires_s=at_s + (table.restart_time_s or 0))


def _awaiting_end_of_rib(table: PeerTable, at_s: float) -> PeerTable:
    stale = frozenset(table.paths)
    return replace(table, state=TableState.AWAITING_END_OF_RIB, stale=stale, since_s=at_s, expires_s=at_s + SYNC_S)


def session_down(rib: AdjRibIn, event: SessionDown, at_s: float) -> AdjRibIn:
    """
    The session ended. Its paths stay as stale ones if the peer offered graceful restart and did not say goodbye
    by a NOTIFICATION (RFC 4724, section 4.2); a peer never heard of stays so until its time is over.
    """
    table = rib.get(event.peer)
    if table is None:
        return rib
    return {**rib, event.peer: replace(_ended(table, event, at_s), last_error=event.reason, down=event.kind)}


def _ended(table: PeerTable, event: SessionDown, at_s: float) -> PeerTable:
    retained = table.state in _KEPT and not event.notified
    if retained or table.state in {TableState.AWAITING_SESSION, TableState.DOWN}:
        return table
    if table.established and table.restart_time_s and not event.notified and table.over_limit_since_s is None:
        return _stale(table, at_s, table.restart_time_s)
    return _forgotten(table, at_s)


def _stale(table: PeerTable, at_s: float, retention_s: float) -> PeerTable:
    return replace(
        table,
        state=TableState.STALE,
        up_since_s=None,
        stale=frozenset(table.paths),
        since_s=at_s,
        expires_s=at_s + retention_s,
    )


def _forgotten(table: PeerTable, at_s: float) -> PeerTable:
    return replace(
        table,
        state=TableState.DOWN,
        paths={},
        stale=frozenset(),
        since_s=at_s,
        expires_s=None,
        up_since_s=None,
        over_limit_since_s=None,
    )


def updated(rib: AdjRibIn, update: Update, at_s: float, limit: int = PREFIX_LIMIT) -> AdjRibIn:
    """
    The table with one UPDATE taken in; a path repeated unchanged keeps its age.

    With more than `limit` prefixes the whole table goes: any part of it would be an accident of their order.
    """
    table = rib.get(update.peer)
    if table is None or table.prefix_limit_exceeded:
        return rib
    paths = dict(table.paths)
    for prefix in update.withdrawn:
        paths.pop(prefix, None)
    for path in update.announced:
        known = paths.get(path.prefix)
        if known is None or known.path != path:
            paths[path.prefix] = Received(path, at_s)
    if len(paths) > limit:
        return {**rib, update.peer: _over_limit(table, at_s)}
    stale = table.stale.difference(update.withdrawn, (path.prefix for path in update.announced))
    # The wait for the end of a table is one for silence: a large table takes its time.
    expires_s = at_s + SYNC_S if table.state is TableState.AWAITING_END_OF_RIB else table.expires_s
    return {**rib, update.peer: replace(table, paths=paths, stale=stale, expires_s=expires_s)}


def _over_limit(table: PeerTable, at_s: float) -> PeerTable:
    since_s = at_s if table.over_limit_since_s is None else table.over_limit_since_s
    least_s, most_s = _ASK_AGAIN_S
    pause_s = min(max(at_s - since_s, least_s), most_s)
    return replace(
        table,
        state=TableState.SYNCED,
        paths={},
        stale=frozenset(),
        since_s=at_s,
        expires_s=at_s + pause_s,
        over_limit_since_s=since_s,
    )


def refresh_due(rib: AdjRibIn, at_s: float) -> tuple[Address, ...]:
    """The peers that told too many prefixes and have been left alone long enough; `refresh_begun` starts it."""
    due = [peer for peer, table in rib.items() if table.prefix_limit_exceeded and (table.expires_s or 0.0) <= at_s]
    return tuple(sorted(due))


def refresh_begun(rib: AdjRibIn, peer: Address, at_s: float) -> AdjRibIn:
    """The peer repeats its whole table (RFC 7313); what it does not repeat will be swept."""
    if peer not in rib:
        return rib
    return {**rib, peer: replace(_awaiting_end_of_rib(rib[peer], at_s), asked=rib[peer].enhanced_refresh)}


def end_of_rib(rib: AdjRibIn, peer: Address, at_s: float) -> AdjRibIn:
    """The peer has sent all that it had when the session began (RFC 4724, section 2)."""
    return rib if peer in rib and rib[peer].asked else complete(rib, peer, at_s)


def complete(rib: AdjRibIn, peer: Address, at_s: float) -> AdjRibIn:
    """End-of-RIB or end of a refresh: the table is whole, what was not confirmed is gone."""
    table = rib.get(peer)
    if table is None or not table.established or table.prefix_limit_exceeded:
        return rib
    paths = {prefix: received for prefix, received in table.paths.items() if prefix not in table.stale}
    since_s = table.since_s if table.state is TableState.SYNCED else at_s
    whole = replace(
        table,
        state=TableState.SYNCED,
        paths=paths,
        stale=frozenset(),
        since_s=since_s,
        expires_s=None,
        over_limit_since_s=None,
        asked=False,
    )
    return {**rib, peer: whole}


def withdrawn(before: AdjRibIn, now: AdjRibIn) -> frozenset[Prefix]:
    """
    What peers with a whole table told `before` and do not tell `now`, and nobody else does.

    A peer that says goodbye takes nothing back: where a mesh gives way to reflectors all do so, and the reflectors may
    not have spoken yet.
    """
    lost = {
        prefix
        for peer, table in now.items()
        if table.state is TableState.SYNCED and table.over_limit_since_s is None
        if peer in before and table.paths is not before[peer].paths
        for prefix in before[peer].paths.keys() - table.paths.keys()
    }
    return without_path(now, lost)


def without_path(rib: AdjRibIn, prefixes: Iterable[Prefix]) -> frozenset[Prefix]:
    """Those of `prefixes` that nobody tells."""
    return frozenset(prefix for prefix in prefixes if not any(prefix in table.paths for table in rib.values()))


def all_stale(rib: AdjRibIn, at_s: float, retention_s: float) -> AdjRibIn:
    """We cannot hear any peer (our own channel is closed): everything heard stays, as stale."""
    deaf = {TableState.AWAITING_SESSION, TableState.DOWN}
    return {peer: table if table.state in deaf else _stale(table, at_s, retention_s) for peer, table in rib.items()}


def restart_waits(rib: AdjRibIn, at_s: float, retention_s: float) -> AdjRibIn:
    """Nobody could be heard until now, so whoever is waited for has all of its time from now on."""
    return {
        peer: replace(table, expires_s=at_s + retention_s)
        if table.state in {TableState.AWAITING_SESSION, TableState.STALE}
        else table
        for peer, table in rib.items()
    }


def expired(rib: AdjRibIn, at_s: float) -> AdjRibIn:
    """Waiting is over: an established peer has said all it has, any other one counts as if never heard of."""
    alone = not any(table.established for table in rib.values())
    for peer, table in tuple(rib.items()):
        if table.expires_s is None or table.expires_s > at_s:
            continue
        if table.established:
            rib = complete(rib, peer, at_s)
        elif alone and table.state is TableState.STALE and table.paths:
            kept = replace(table, state=TableState.LONG_LIVED_STALE, since_s=at_s, expires_s=at_s + RETENTION_S)
            rib = {**rib, peer: kept}
        else:
            rib = {**rib, peer: _forgotten(table, at_s)}
    return rib


def next_expiry_s(rib: AdjRibIn) -> float | None:
    """When `expired` or `to_ask_again` will have something next."""
    return min((table.expires_s for table in rib.values() if table.expires_s is not None), default=None)
