"""
The fabric's result: the objects that should be in this node's kernel, each with its reason.

Refuses to know: its difference from the observed kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple, TypeAlias, TypeVar, cast

from bgpctl.core.bgp.possible_sources import PossibleSources
from bgpctl.core.cluster.reasons import PruneHold, Reason, Unmet
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import MAIN_TABLE, METRIC, KernelObject, Key, Route, key_of, keys_of

N = TypeVar("N")

Reasoned: TypeAlias = tuple[KernelObject, Reason]
"""An object with the reason why it is wanted."""


@dataclass(frozen=True, slots=True)
class Desired:
    """
    The objects that should be in the kernel.

    Attributes:
        reasons: the reason of each object in `dataplane`, by its key.
        unmet: wanted objects that are not possible, with the reason.
        prune_holds: sources that have not spoken; while there is one, only routes that `may_go` are removed.
        withdrawn: prefixes that their source has withdrawn, so that no other source needs to be awaited.
        sources: of which prefixes the sources that have not spoken may still be one; None: of any.
    """

    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    unmet: tuple[Unmet, ...] = ()
    prune_holds: tuple[PruneHold, ...] = ()
    withdrawn: frozenset[Prefix] = frozenset()
    sources: PossibleSources | None = None

    def may_go(self, prefix: Prefix) -> bool:
        """True if a route to the prefix that is not wanted waits for no source."""
        possible = self.sources is None or self.sources.may_have(prefix)
        return not (self.prune_holds and possible) or prefix in self.withdrawn


class Reasons(Mapping[Key, Reason]):
    """
    The reasons of wanted objects by their keys. All routes with the same next-hop set have one reason in common, so a
    route's is found by its prefix.

    Args:
        each: of all objects but routes to remote prefixes; of two for a key the first counts.
        of_route: that of a route to a remote prefix; None if the prefix has none.
        routes: those to remote prefixes.
    """

    __slots__ = ("_each", "_of_route", "_routes")

    def __init__(
        self,
        each: tuple[Mapping[Key, Reason], ...],
        of_route: Callable[[Prefix], Reason | None],
        routes: Collection[Route],
    ) -> None:
        self._each = each
        self._of_route = of_route
        self._routes = routes

    def __getitem__(self, key: Key) -> Reason:
        for reasons in self._each:
            if key in reasons:
                return reasons[key]
        found = self._remote(key)
        if found is None:
            raise KeyError(key)
        return found

    def of_routes(self, routes: Iterable[Route]) -> Iterator[Reason]:
        """`[key_of(route)]` of each, in a third of the time: there are 100,000. Raises KeyError."""
        filled = [reasons for reasons in self._each if reasons]
        for key in keys_of(routes):
            for reasons in filled:
                if key in reasons:
                    yield reasons[key]
                    break
            else:
                found = self._remote(key)
                if found is None:
                    raise KeyError(key)
                yield found

    def _remote(self, key: Key) -> Reason | None:
        # No match statement, which takes as long as all the rest.
        if key[0] != "route" or key[1] != MAIN_TABLE or key[3] != METRIC:
            return None
        return self._of_route(cast(Prefix, key[2]))

    def __iter__(self) -> Iterator[Key]:
        return iter(dict.fromkeys(chain(*self._each, map(key_of, self._routes))))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Reasons({dict(self.items())})"


def gather(wanted: Iterable[Reasoned], unmet: Iterable[Unmet], prune_holds: Iterable[PruneHold]) -> Desired:
    """One value out of everything the encapsulations asked for; equal objects asked for twice count once."""
    reasons: dict[Key, Reason] = {}
    objects: list[KernelObject] = []
    for obj, reason in wanted:
        objects.append(obj)
        reasons.setdefault(key_of(obj), reason)
    return Desired(Dataplane.of(objects), reasons, tuple(unmet), tuple(prune_holds))


class Links:
    """The link that each wanted route leaves by, except those by a group; looked up only when one is asked for."""

    def __init__(self, dataplane: Dataplane | None) -> None:
        self._dataplane = dataplane
        self._by_prefix: Mapping[Prefix, str] | None = None

    def of(self, dataplane: Dataplane | None) -> Links:
        """The links of this dataplane: these, if they are of the same one."""
        return self if dataplane is self._dataplane else Links(dataplane)

    def __call__(self, prefix: Prefix) -> str | None:
        if self._by_prefix is None:
            self._by_prefix = _links(self._dataplane) if self._dataplane else {}
        return self._by_prefix.get(prefix)


def _links(dataplane: Dataplane) -> Mapping[Prefix, str]:
    hops = {hop.id: hop.link for hop in dataplane.next_hops}
    return {route.prefix: hops[route.next_hop] for route in dataplane.routes if route.next_hop in hops}


class NextHopSet(NamedTuple):
    """
    How prefixes are reached: those of one pool behind one `remote`, a BGP next hop or a node's underlay address.

    Attributes:
        pool: its CIDR.
        source: who said so, by name.
        also: remotes behind which they live as well, without `remote`, sorted: flows are spread over all.
    """

    pool: Prefix
    remote: Address
    source: str
    also: tuple[Address, ...] = ()

    @property
    def keys(self) -> tuple[NextHopKey, ...]:
        """The next-hop objects that it may use."""
        return tuple(NextHopKey(self.pool, remote) for remote in (self.remote, *self.also))


class NextHopKey(NamedTuple):
    """The key of one next-hop object: all prefixes of a pool behind one remote."""

    pool: Prefix
    remote: Address


_ID_BASE: Final = 0x42000000
_GROUP_ID_BASE: Final = 0x43000000
_WORKLOAD_ID_BASE: Final = 0x44000000
_ID_SPACE: Final = 1 << 24


def next_hop_ids(keys: Iterable[NextHopKey]) -> Mapping[NextHopKey, int]:
    """
    An id per key, in a high range of our own because all programs in the namespace share the ids.

    Derived from the key alone, so a restarted agent finds the same ids; the encapsulation is not part of it, so a
    change of encapsulation is one message per key. A collision (24 bits) moves the later key up by one.
    """
    return _numbered(_ID_BASE, {key: _name(key) for key in keys})


def renumbered(
    ids: Mapping[NextHopKey, int], gone: Iterable[NextHopKey], new: Iterable[NextHopKey]
) -> tuple[Mapping[NextHopKey, int], set[NextHopKey]]:
    """
    `next_hop_ids` of the keys of `ids` without `gone` and with `new`, and the keys that may have another id now. A key
    that comes or goes moves others only in its run of ids without a gap: in whichever order a run is filled, it takes
    up the same ids.
    """
    gone, new = tuple(gone), tuple(new)
    touched = {*gone, *new}
    if not touched:
        return ids, touched
    found = dict(ids)
    taken = dict(zip(found.values(), found, strict=True))
    for key in gone:
        number = found.pop(key)
        run = [other for other in _run(taken, number) if other != key]
        del taken[number]
        _refill(taken, found, run)
        touched.update(run)
    for key in new:
        number = _ID_BASE + _offset(_name(key)) % _ID_SPACE
        run = [key, *(_run(taken, number) if number in taken else ())]
        _refill(taken, found, run)
        touched.update(run)
    return found, touched


def _run(taken: Mapping[int, NextHopKey], number: int) -> list[NextHopKey]:
    """The keys of the ids around one that is taken, up to the next free ones."""
    found = [taken[number]]
    for direction in (1, -1):
        near = _ID_BASE + (number - _ID_BASE + direction) % _ID_SPACE
        while near in taken and near != number:
            found.append(taken[near])
            near = _ID_BASE + (near - _ID_BASE + direction) % _ID_SPACE
    return found


def _refill(taken: dict[int, NextHopKey], ids: dict[NextHopKey, int], keys: Iterable[NextHopKey]) -> None:
    """Number these anew, in the order of `next_hop_ids`."""
    ordered = sorted(keys, key=_name)
    for key in ordered:
        if key in ids:
            taken.pop(ids[key], None)
    for key in ordered:
        offset = _offset(_name(key)) % _ID_SPACE
        while _ID_BASE + offset in taken:
            offset = (offset + 1) % _ID_SPACE
        taken[_ID_BASE + offset] = key
        ids[key] = _ID_BASE + offset


def in_order(keys: Iterable[NextHopKey]) -> list[NextHopKey]:
    """In the order in which they are numbered."""
    return sorted(keys, key=_name)


def group_ids(groups: Iterable[tuple[int, ...]]) -> Mapping[tuple[int, ...], int]:
    """An id per set of next-hop ids, derived from it likewise, in a range of its own."""
    return _numbered(_GROUP_ID_BASE, {members: " ".join(map(str, members)) for members in groups})


def workload_hop_ids(workloads: Iterable[Address]) -> Mapping[Address, int]:
    """An id per workload that is the instance of a service, derived from its address, in a range of its own."""
    return _numbered(_WORKLOAD_ID_BASE, {workload: str(workload) for workload in workloads})


@lru_cache(1 << 16)
def _name(key: NextHopKey) -> str:
    return f"{key.pool} {key.remote}"


def _numbered(base: int, names: Mapping[N, str]) -> Mapping[N, int]:
    taken: dict[int, N] = {}
    for item, name in sorted(names.items(), key=lambda pair: pair[1]):
        offset = _offset(name) % _ID_SPACE
        while base + offset in taken:
            offset = (offset + 1) % _ID_SPACE
        taken[base + offset] = item
    return {item: number for number, item in taken.items()}


@lru_cache(1 << 16)
def _offset(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big")
