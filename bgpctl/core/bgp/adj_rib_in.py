"""
Adj-RIB-In (RFC 4271, section 3.2) as a value: a table per configured peer, and how it follows from what is
received.

Each function takes the tables and one event of the speaker, and returns the tables after it; an event of a peer
that is not configured changes nothing. The states of one table are in peer_table.py. Here are the rules that
concern several peers at once:

- If all peers are down at the same time, the fault is more likely ours than theirs. Stale tables become long-lived
  stale (RFC 9494) instead of empty, and traffic goes on by the last known paths
  (docs/decisions/0010-everyone-gone-at-once.md). As soon as one session is established, the others have their
  restart time to return.
- While the channel to the speaker is closed, no peer can be received from, so none of their waiting times runs.
- A prefix is withdrawn only by its own peer, and if no other peer announces it. A session that ends withdraws
  nothing by this definition, unless the peer's operator shut it down: when a mesh gives way to route reflectors all its
  sessions end, and the reflectors may not have announced everything yet.

Refuses to know: which paths policy lets in, which one is best, where the time comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from bgpctl.core.bgp import peer_table
from bgpctl.core.bgp.peer_table import PeerTable, TableState
from bgpctl.core.bgp.speaker import Malformed, SessionDown, SessionOpened, Update
from bgpctl.core.net.addresses import Address, Prefix

AdjRibIn: TypeAlias = Mapping[Address, PeerTable]

RETENTION_S: Final = 3600.0
"""How long paths are used on after the last session ended: as long as BIRD keeps long-lived stale ones (RFC 9494)."""
PROVEN_S: Final = 10.0
"""
How long a stale table that was due to end stays when its peer is proven to forward; then it is asked again, until
RETENTION_S after the session was lost.
"""
PREFIX_LIMIT: Final = 10_000
"""The number of prefixes that a peer may announce beyond the blocks that the pools can have."""


def expect(adj_rib_in: AdjRibIn, peers: Iterable[Address], at_s: float, retention_s: float) -> AdjRibIn:
    """A table per configured peer: known ones as they are, new ones that await a session for at most `retention_s`."""
    fresh = PeerTable(since_s=at_s, expires_s=at_s + retention_s)
    return {peer: adj_rib_in.get(peer, fresh) for peer in peers}


# Sessions ------------------------------------------------------------------------------------------------------


def open_received(adj_rib_in: AdjRibIn, event: SessionOpened) -> AdjRibIn:
    """The tables after a peer's OPEN."""
    table = adj_rib_in.get(event.peer)
    return adj_rib_in if table is None else {**adj_rib_in, event.peer: peer_table.opened(table, event)}


def session_found_up(
    adj_rib_in: AdjRibIn, peer: Address, at_s: float, *, uptime_s: float, restart_time_s: int | None
) -> AdjRibIn:
    """
    The tables once a session is found that was up before this agent started, and whose table is requested. If its OPEN
    was not received, `restart_time_s` is the restart time that it must have offered, with
    the N bit (RFC 8538).
    """
    if peer not in adj_rib_in:
        return adj_rib_in
    up = session_up(adj_rib_in, peer, at_s, uptime_s=uptime_s)
    offered_s = up[peer].restart_time_s
    known_s = restart_time_s if offered_s is None else offered_s
    found = replace(
        up[peer],
        restart_time_s=known_s,
        refresh_pending=up[peer].enhanced_refresh,
        notification_restart=up[peer].notification_restart or (offered_s is None and restart_time_s is not None),
    )
    return {**up, peer: found}


def session_up(adj_rib_in: AdjRibIn, peer: Address, at_s: float, *, uptime_s: float = 0.0) -> AdjRibIn:
    """The tables once a session is Established. One session shows that our side works, so others may return as well."""
    if peer not in adj_rib_in:
        return adj_rib_in
    tables = {other: peer_table.stale_again(table, at_s) for other, table in adj_rib_in.items()}
    return {**tables, peer: peer_table.established(tables[peer], at_s, uptime_s)}


def session_down(adj_rib_in: AdjRibIn, event: SessionDown, at_s: float) -> AdjRibIn:
    """The tables after the end of a session, or after a vain attempt to open one."""
    table = adj_rib_in.get(event.peer)
    return adj_rib_in if table is None else {**adj_rib_in, event.peer: peer_table.ended(table, event, at_s)}


# Updates -------------------------------------------------------------------------------------------------------


def updated(adj_rib_in: AdjRibIn, update: Update, at_s: float, limit: int = PREFIX_LIMIT) -> AdjRibIn:
    """
    The tables after one UPDATE. Over the prefix limit it changes nothing until a route refresh begins; after BFD has
    ended the session here it changes nothing either.
    """
    table = adj_rib_in.get(update.peer)
    if table is None or table.prefix_limit_exceeded or table.state is TableState.DOWN:
        return adj_rib_in
    return {**adj_rib_in, update.peer: peer_table.with_update(table, update, at_s, limit)}


def malformed(adj_rib_in: AdjRibIn, event: Malformed) -> AdjRibIn:
    """The tables after errors in UPDATEs, which are counted; the Updates are without what they spoil."""
    table = adj_rib_in.get(event.peer)
    if table is None:
        return adj_rib_in
    counted = replace(table, malformed=table.malformed + event.count, last_malformed=event.reason)
    return {**adj_rib_in, event.peer: counted}


def refresh_due(adj_rib_in: AdjRibIn, at_s: float) -> tuple[Address, ...]:
    """Peers over the prefix limit whose pause is over: a route refresh is to be requested of them."""
    due = [
        peer for peer, table in adj_rib_in.items() if table.prefix_limit_exceeded and (table.expires_s or 0.0) <= at_s
    ]
    return tuple(sorted(due))


def refresh_begun(adj_rib_in: AdjRibIn, peer: Address, at_s: float) -> AdjRibIn:
    """The tables once the peer announces its whole table again, by our request or by its own (BoRR, RFC 7313)."""
    if peer not in adj_rib_in or adj_rib_in[peer].state is TableState.DOWN:
        return adj_rib_in
    begun = peer_table.awaiting_end_of_rib(adj_rib_in[peer], at_s)
    return {**adj_rib_in, peer: replace(begun, refresh_pending=begun.enhanced_refresh)}


def end_of_rib(adj_rib_in: AdjRibIn, peer: Address, at_s: float) -> AdjRibIn:
    """The tables after End-of-RIB (RFC 4724, section 2): the initial table of the session is complete."""
    return adj_rib_in if peer in adj_rib_in and adj_rib_in[peer].refresh_pending else complete(adj_rib_in, peer, at_s)


def complete(adj_rib_in: AdjRibIn, peer: Address, at_s: float) -> AdjRibIn:
    """The tables after the end of a whole one: End-of-RIB, or the end of a route refresh (EoRR, RFC 7313)."""
    table = adj_rib_in.get(peer)
    if table is None or not table.established or table.prefix_limit_exceeded:
        return adj_rib_in
    return {**adj_rib_in, peer: peer_table.completed(table, at_s)}


# Withdrawals ---------------------------------------------------------------------------------------------------


def withdrawn(before: AdjRibIn, now: AdjRibIn) -> frozenset[Prefix]:
    """
    Prefixes that their own peers had `before` and do not have `now`, and that no other peer has. A peer withdraws by an
    UPDATE, by the end of a whole table without the prefix, and by the end of its session where that keeps nothing.
    """
    lost = {
        prefix
        for peer, table in now.items()
        if peer in before and table.paths is not before[peer].paths and _has_withdrawn(before[peer], table)
        for prefix, _, path in table.paths.differences(before[peer].paths)
        if path is None
    }
    return without_path(now, lost)


def _has_withdrawn(before: PeerTable, now: PeerTable) -> bool:
    """True if paths that are missing in `now` are so by the peer's own word."""
    if now.over_limit_since_s is not None:
        return False
    within_the_session = now.established and now.up_since_s == before.up_since_s
    ended = now.state is TableState.DOWN and now.has_withdrawn_all
    return now.state is TableState.SYNCED or within_the_session or ended


def without_path(adj_rib_in: AdjRibIn, prefixes: Iterable[Prefix]) -> frozenset[Prefix]:
    """The `prefixes` that no peer announces."""
    return frozenset(prefix for prefix in prefixes if not any(prefix in table.paths for table in adj_rib_in.values()))


# Time ----------------------------------------------------------------------------------------------------------


def all_stale(adj_rib_in: AdjRibIn, at_s: float, retention_s: float) -> AdjRibIn:
    """The tables once the channel to the speaker is closed: nothing can be received, and every path stays as stale."""
    without_paths = {TableState.AWAITING_SESSION, TableState.DOWN}
    return {
        peer: table if table.state in without_paths else peer_table.stale(table, at_s, retention_s)
        for peer, table in adj_rib_in.items()
    }


def restart_waits(adj_rib_in: AdjRibIn, at_s: float, retention_s: float) -> AdjRibIn:
    """The tables once the channel is open again: whatever awaits a session has all of its time from now on."""
    awaiting_session = {TableState.AWAITING_SESSION, TableState.STALE}
    return {
        peer: replace(table, expires_s=at_s + retention_s) if table.state in awaiting_session else table
        for peer, table in adj_rib_in.items()
    }


def never_proven(_: Address) -> bool:
    """Nothing is known of any path."""
    return False


def expired(adj_rib_in: AdjRibIn, at_s: float, is_proven: Callable[[Address], bool] = never_proven) -> AdjRibIn:
    """
    The tables with those whose waiting time is over brought to its end. The stale paths that lead to the peer itself
    stay for at most RETENTION_S while packets are known to reach it: control was lost, forwarding was not. Of other
    next hops its proof says nothing.
    """
    no_session = not any(table.established for table in adj_rib_in.values())
    overdue = [peer for peer, table in adj_rib_in.items() if table.expires_s is not None and table.expires_s <= at_s]
    for peer in overdue:
        table = adj_rib_in[peer]
        renewed = _renewed(peer, table, at_s) if is_proven(peer) else None
        if renewed:
            adj_rib_in = {**adj_rib_in, peer: renewed}
            continue
        adj_rib_in = (
            complete(adj_rib_in, peer, at_s)
            if table.established
            else {**adj_rib_in, peer: _lapsed(table, at_s, no_session)}
        )
    return adj_rib_in


def _renewed(peer: Address, table: PeerTable, at_s: float) -> PeerTable | None:
    """The stale table with the paths that lead to its peer; None if there are none, or their time is over as well."""
    latest_s = table.since_s + RETENTION_S
    if table.state is not TableState.STALE or at_s >= latest_s:
        return None
    others = [prefix for prefix, received in table.paths.items() if received.path.next_hop != peer]
    paths = table.paths.changed({}, gone=others) if others else table.paths
    return replace(table, paths=paths, stale=paths, expires_s=min(at_s + PROVEN_S, latest_s)) if paths else None


def _lapsed(table: PeerTable, at_s: float, no_session: bool) -> PeerTable:  # noqa: FBT001
    if no_session and table.state is TableState.STALE and table.paths:
        return peer_table.long_lived_stale(table, at_s, RETENTION_S)
    return peer_table.emptied(table, at_s)


def next_expiry_s(adj_rib_in: AdjRibIn) -> float | None:
    """When `expired` or `refresh_due` has something to do next."""
    return min((table.expires_s for table in adj_rib_in.values() if table.expires_s is not None), default=None)
