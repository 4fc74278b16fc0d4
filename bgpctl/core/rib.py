"""
Adj-RIB-In per peer as a value, and the choice among paths with the reason why each other one lost.

Refuses to know: what a chosen path is used for, which paths policy lets in (the caller asks for the paths it wants
compared), how time is told.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from bgpctl.core.bgp import Path, Update
from bgpctl.core.model import Address, Asn, Prefix


class Heard(enum.Enum):
    """What we know of a peer's table. Only SYNCED and DOWN are knowledge; the others are degrees of ignorance."""

    UNHEARD = "unheard"
    SYNCING = "syncing"
    SYNCED = "synced"
    STALE = "stale"
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
    """

    heard: Heard = Heard.UNHEARD
    paths: Mapping[Prefix, Received] = field(default_factory=dict)
    stale: frozenset[Prefix] = frozenset()
    since_s: float = 0.0
    expires_s: float | None = None
    up_since_s: float | None = None
    restart_time_s: int | None = None
    last_error: str = ""

    @property
    def established(self) -> bool:
        """Whether the session is up."""
        return self.up_since_s is not None

    @property
    def certain(self) -> bool:
        return self.heard in {Heard.SYNCED, Heard.DOWN}


Rib = Mapping[Address, PeerTable]

SYNC_S: Final = 30.0
"""A peer without End-of-RIB and enhanced refresh never says that its table is complete: so much silence says it."""


def expect(rib: Rib, peers: Iterable[Address], at_s: float, retention_s: float) -> Rib:
    """The table per wanted peer: known ones as they are, new ones unheard for at most `retention_s`, others gone."""
    fresh = PeerTable(since_s=at_s, expires_s=at_s + retention_s)
    return {peer: rib.get(peer, fresh) for peer in peers}


def _changed(rib: Rib, peer: Address, **changes: object) -> Rib:
    return {**rib, peer: replace(rib[peer], **changes)} if peer in rib else rib  # type: ignore[arg-type]


def opened(rib: Rib, peer: Address, restart_time_s: int | None, *, preserved: bool) -> Rib:
    """
    The peer's OPEN says whether its paths may outlive a session, and how long. `preserved` speaks of the restart that
    it has just made: a peer that comes back without its forwarding state has lost what we retained, but its next
    session may be retained all the same (RFC 4724, sections 3 and 4.2).
    """
    if peer in rib and rib[peer].heard is Heard.STALE and not (restart_time_s and preserved):
        return _changed(rib, peer, restart_time_s=restart_time_s, paths={}, stale=frozenset())
    return _changed(rib, peer, restart_time_s=restart_time_s)


def session_up(rib: Rib, peer: Address, at_s: float, *, uptime_s: float = 0.0) -> Rib:
    """The peer begins to send its whole table; what we still hold of it is stale until confirmed."""
    if peer not in rib:
        return rib
    return _changed(
        rib,
        peer,
        heard=Heard.SYNCING,
        up_since_s=at_s - uptime_s,
        stale=frozenset(rib[peer].paths),
        since_s=at_s,
        expires_s=at_s + SYNC_S,
        last_error="",
    )


def session_down(rib: Rib, peer: Address, at_s: float, *, reason: str, notified: bool) -> Rib:
    """
    The session ended. Its paths stay as stale ones if the peer offered graceful restart and did not say goodbye
    by a NOTIFICATION (RFC 4724, section 4.2); a peer never heard of stays so until its time is over.
    """
    table = rib.get(peer)
    if table is None:
        return rib
    if table.heard is Heard.UNHEARD or (table.heard is Heard.STALE and not notified):
        return _changed(rib, peer, last_error=reason)
    if table.established and table.restart_time_s and not notified:
        return _changed(
            rib,
            peer,
            heard=Heard.STALE,
            up_since_s=None,
            stale=frozenset(table.paths),
            since_s=at_s,
            expires_s=at_s + table.restart_time_s,
            last_error=reason,
        )
    if table.heard is Heard.DOWN:
        return _changed(rib, peer, last_error=reason)
    return _forgotten(rib, peer, at_s, reason)


def _forgotten(rib: Rib, peer: Address, at_s: float, reason: str) -> Rib:
    restart_time_s = rib[peer].restart_time_s
    down = PeerTable(heard=Heard.DOWN, since_s=at_s, restart_time_s=restart_time_s, last_error=reason)
    return {**rib, peer: down}


def updated(rib: Rib, update: Update, at_s: float) -> Rib:
    """The table with one UPDATE taken in; a path repeated unchanged keeps its age."""
    table = rib.get(update.peer)
    if table is None:
        return rib
    paths = dict(table.paths)
    for prefix in update.withdrawn:
        paths.pop(prefix, None)
    for path in update.announced:
        known = paths.get(path.prefix)
        if known is None or known.path != path:
            paths[path.prefix] = Received(path, at_s)
    confirmed = {path.prefix for path in update.announced}
    # The wait for the end of a table is one for silence: a large table takes its time.
    expires_s = at_s + SYNC_S if table.heard is Heard.SYNCING else table.expires_s
    stale = table.stale.intersection(paths) - confirmed
    return _changed(rib, update.peer, paths=paths, stale=stale, expires_s=expires_s)


def refresh_begun(rib: Rib, peer: Address, at_s: float) -> Rib:
    """The peer repeats its whole table (RFC 7313); what it does not repeat will be swept."""
    if peer not in rib:
        return rib
    stale = frozenset(rib[peer].paths)
    return _changed(rib, peer, heard=Heard.SYNCING, stale=stale, since_s=at_s, expires_s=at_s + SYNC_S)


def complete(rib: Rib, peer: Address, at_s: float) -> Rib:
    """End-of-RIB or end of a refresh: the table is whole, what was not confirmed is gone."""
    table = rib.get(peer)
    if table is None or not table.established:
        return rib
    paths = {prefix: received for prefix, received in table.paths.items() if prefix not in table.stale}
    since_s = table.since_s if table.heard is Heard.SYNCED else at_s
    return _changed(rib, peer, heard=Heard.SYNCED, paths=paths, stale=frozenset(), since_s=since_s, expires_s=None)


def unattached(rib: Rib, at_s: float, retention_s: float) -> Rib:
    """We cannot hear any peer (our own channel is closed): everything heard stays, as stale."""
    return {
        peer: table
        if table.heard in {Heard.UNHEARD, Heard.DOWN}
        else replace(
            table,
            heard=Heard.STALE,
            up_since_s=None,
            stale=frozenset(table.paths),
            since_s=at_s,
            expires_s=at_s + retention_s,
        )
        for peer, table in rib.items()
    }


def waiting_from(rib: Rib, at_s: float, retention_s: float) -> Rib:
    """Nobody could be heard until now, so whoever is waited for has all of its time from now on."""
    return {
        peer: replace(table, expires_s=at_s + retention_s) if table.heard in {Heard.UNHEARD, Heard.STALE} else table
        for peer, table in rib.items()
    }


def expired(rib: Rib, at_s: float) -> Rib:
    """Waiting is over: an established peer has said all it has, any other one counts as if never heard of."""
    over = [(peer, table) for peer, table in rib.items() if table.expires_s is not None and table.expires_s <= at_s]
    for peer, table in over:
        rib = complete(rib, peer, at_s) if table.established else _forgotten(rib, peer, at_s, table.last_error)
    return rib


def next_expiry_s(rib: Rib) -> float | None:
    """When `expired` will change something next."""
    return min((table.expires_s for table in rib.values() if table.expires_s is not None), default=None)


# The choice ----------------------------------------------------------------------------------------------------


class Lost(enum.Enum):
    """The step of the decision process (RFC 4271, section 9.1.2; RFC 4456, section 9) at which a path lost."""

    LOCAL_PREF = "lower local preference"
    AS_PATH = "longer AS path"
    ORIGIN = "worse origin"
    MED = "higher MED"
    INTERNAL = "internal, and an external path exists"
    ROUTER_ID = "higher originator"
    CLUSTER_LIST = "longer cluster list"
    PEER_ADDRESS = "higher peer address"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One path in a comparison, with what the session adds to it."""

    peer: Address
    peer_asn: Asn
    internal: bool
    received: Received = field(compare=False)

    @property
    def path(self) -> Path:
        return self.received.path


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The best path of one prefix and, for each other one, where it lost.

    `also` are the paths that are as good as the best one and are to be used beside it (ECMP).
    """

    best: Candidate
    lost: tuple[tuple[Candidate, Lost], ...] = ()
    also: tuple[Candidate, ...] = ()


_ORIGINS: Final = {"igp": 0, "egp": 1, "incomplete": 2}
_DEFAULT_LOCAL_PREF: Final = 100


def choose(candidates: Iterable[Candidate]) -> Choice:
    """
    The decision process over the candidates of one prefix, at least one. The order of arrival does not matter.

    MED is compared only among paths of one neighbour AS, so each such group elects its best first.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.peer)
    winners: list[Candidate] = []
    lost: list[tuple[Candidate, Lost]] = []
    groups = {neighbour_as(candidate): 0 for candidate in ordered}
    for group in groups:
        best, losers = _elect([c for c in ordered if neighbour_as(c) == group], with_med=True)
        winners.append(best)
        lost += losers
    best, losers = _elect(winners, with_med=False)
    return Choice(best, tuple(sorted([*lost, *losers], key=lambda pair: pair[0].peer)))


def neighbour_as(candidate: Candidate) -> Asn:
    """The AS that the path was received from, ours for a path that began inside."""
    return candidate.path.as_path[0] if candidate.path.as_path else candidate.peer_asn


def _elect(candidates: list[Candidate], *, with_med: bool) -> tuple[Candidate, list[tuple[Candidate, Lost]]]:
    left = candidates
    lost: list[tuple[Candidate, Lost]] = []
    for step in Lost:
        if step is Lost.MED and not with_med:
            continue
        best_rank = min(_rank(step, candidate) for candidate in left)
        lost += [(candidate, step) for candidate in left if _rank(step, candidate) != best_rank]
        left = [candidate for candidate in left if _rank(step, candidate) == best_rank]
    return left[0], lost


def _rank(step: Lost, candidate: Candidate) -> tuple[int, ...] | int:
    """The lower the better."""
    path = candidate.path
    match step:
        case Lost.LOCAL_PREF:
            return -(_DEFAULT_LOCAL_PREF if path.local_pref is None else path.local_pref)
        case Lost.AS_PATH:
            return len(path.as_path)
        case Lost.ORIGIN:
            return _ORIGINS.get(path.origin, 2)
        case Lost.MED:
            return path.med or 0
        case Lost.INTERNAL:
            return int(candidate.internal)
        case Lost.ROUTER_ID:
            return path.originator or candidate.peer
        case Lost.CLUSTER_LIST:
            return len(path.cluster_list)
        case Lost.PEER_ADDRESS:
            return candidate.peer
