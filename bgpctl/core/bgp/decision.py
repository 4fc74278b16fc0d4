"""
The decision process: which of several paths to one prefix are used, and where each other one lost.

Paths are eliminated step by step, as RFC 4271 (section 9.1.2.2) does it on the whole set: MED is then compared within
each neighbour AS before anything that compares across them, so neither the order of arrival nor MED's missing total
order can change the outcome.

Refuses to know: which paths policy lets in, what a selected path is used for.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from bgpctl.core.bgp.path import AsSet, Path
from bgpctl.core.bgp.received import Received
from bgpctl.core.net.addresses import Address, Asn

DEFAULT_LOCAL_PREF: Final = 100
ECMP_WIDTH: Final = 64
"""More equal paths than this are not used beside each other."""


class Lost(enum.Enum):
    """The step at which a path lost, in the order of the steps (RFC 4271, section 9.1.2; RFC 4456, section 9)."""

    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    LOCAL_PREF = "local-pref"
    AS_PATH = "as-path"
    ORIGIN = "origin"
    MED = "med"
    INTERNAL = "internal"
    COST = "cost"
    ROUTER_ID = "router-id"
    CLUSTER_LIST = "cluster-list"
    PEER_ADDRESS = "peer-address"
    PATH_ID = "path-id"


class Candidate(NamedTuple):
    """
    One path in a comparison, with what the session and the kernel add to it. It is made for every path that policy
    lets in, so it is a tuple, as Choice is.

    Attributes:
        router_id: the peer's BGP identifier; its address stands in while that is unknown.
        cost: how far the next hop is, 0 on a connected network; None where no route leads to it.
        answers: False if packets to the next hop are known to be lost (core/proof).
    """

    peer: Address
    peer_asn: Asn
    internal: bool
    received: Received
    router_id: Address | None = None
    cost: int | None = 0
    answers: bool = True

    @property
    def path(self) -> Path:
        return self.received.path


class Choice(NamedTuple):
    """
    The choice for one prefix.

    Attributes:
        best: the one path that is announced to others.
        lost: the paths that are not used, each with the step at which it lost.
        also: the paths that are used beside `best` (ECMP): only a tie-break sets them apart, and each has a next hop
            of its own.
    """

    best: Candidate
    lost: tuple[tuple[Candidate, Lost], ...] = ()
    also: tuple[Candidate, ...] = ()

    @property
    def used(self) -> tuple[Candidate, ...]:
        """The ECMP set, the best path first."""
        return (self.best, *self.also)


def choose(candidates: Iterable[Candidate]) -> Choice:
    """The decision process over the candidates of one prefix, at least one; two of one peer have two identifiers."""
    left = sorted(candidates, key=_source)
    if len(left) == 1:
        return Choice(left[0])
    lost: list[tuple[Candidate, Lost]] = []
    for step, rank in _ELIMINATIONS:
        worse = _worse(step, rank, left)
        lost += [(candidate, step) for candidate in worse]
        left = [candidate for candidate in left if candidate not in worse] if worse else left
    best, *others = sorted(left, key=_tie_break)
    also: list[Candidate] = []
    for other in others:
        hops = {used.path.next_hop for used in (best, *also)}
        if other.path.next_hop not in hops and len(hops) < ECMP_WIDTH:
            also.append(other)
        else:
            lost.append((other, _first_difference(best, other)))
    return Choice(best, tuple(sorted(lost, key=lambda pair: _source(pair[0]))), tuple(also))


def neighbour_as(candidate: Candidate) -> Asn:
    """The AS that the path was received from, ours for a path that began inside or was aggregated there."""
    first = candidate.path.as_path[0] if candidate.path.as_path else None
    return candidate.peer_asn if first is None or isinstance(first, AsSet) else first


def _worse(step: Lost, rank: Callable[[Candidate], int], candidates: list[Candidate]) -> list[Candidate]:
    """The candidates that `step` removes. MED does not compare paths of different neighbours."""

    def group(candidate: Candidate) -> Asn | None:
        return neighbour_as(candidate) if step is Lost.MED else None

    least: dict[Asn | None, int] = {}
    for candidate in candidates:
        least[group(candidate)] = min(rank(candidate), least.get(group(candidate), rank(candidate)))
    return [candidate for candidate in candidates if rank(candidate) > least[group(candidate)]]


def _local_pref(candidate: Candidate) -> int:
    return DEFAULT_LOCAL_PREF if candidate.path.local_pref is None else candidate.path.local_pref


_ORIGINS: Final = ("igp", "egp", "incomplete")

_ELIMINATIONS: Final[tuple[tuple[Lost, Callable[[Candidate], int]], ...]] = (
    (Lost.UNRESOLVED, lambda candidate: int(candidate.cost is None)),
    # Not in the RFC, which asks for a route to the next hop and no more. Without another path this one is used on.
    (Lost.UNREACHABLE, lambda candidate: int(not candidate.answers)),
    (Lost.LOCAL_PREF, lambda candidate: -_local_pref(candidate)),
    (Lost.AS_PATH, lambda candidate: len(candidate.path.as_path)),
    (Lost.ORIGIN, lambda candidate: _ORIGINS.index(candidate.path.origin)),
    # An absent MED is the lowest one (RFC 4271, section 9.1.2.2 c).
    (Lost.MED, lambda candidate: candidate.path.med or 0),
    (Lost.INTERNAL, lambda candidate: int(candidate.internal)),
    (Lost.COST, lambda candidate: candidate.cost or 0),
)
"""Each step removes the paths that do not have the lowest rank."""


def _source(candidate: Candidate) -> tuple[Address, int]:
    return candidate.peer, candidate.path.path_id or 0


_TIE_BREAKS: Final = (Lost.ROUTER_ID, Lost.CLUSTER_LIST, Lost.PEER_ADDRESS, Lost.PATH_ID)


def _tie_break(candidate: Candidate) -> tuple[Address, int, Address, int]:
    """In the order of _TIE_BREAKS; a reflected path is its originator's (RFC 4456, section 9)."""
    path = candidate.path
    router_id = path.originator or candidate.router_id or candidate.peer
    return router_id, len(path.cluster_list), candidate.peer, path.path_id or 0


def _first_difference(best: Candidate, other: Candidate) -> Lost:
    ranks = zip(_TIE_BREAKS, _tie_break(best), _tie_break(other), strict=True)
    return next(step for step, mine, theirs in ranks if mine != theirs)
