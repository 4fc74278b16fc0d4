"""
The routes of a dataplane: a set in the shards of table.py, so that versions share what is the same in both.

It is a set and no mapping, because an observation may hold several routes with one key (dataplane.py).

Refuses to know: whose the routes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import itemgetter
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import PROTOCOL, Route
from bgpctl.core.net.table import ShardKey, by_shard, differing, near, shard_of, sharing

_NONE: Final = frozenset[Route]()
_BITS: Final = {4: 32, 6: 128}
_KEY: Final = itemgetter(*map(Route._fields.index, ("table", "prefix", "metric")))
"""The kernel's key of a route, in a fifth of the time of `key_of`: there are 100,000."""


class RouteSet(AbstractSet[Route]):
    """
    An immutable set of routes in shards by prefix.

    Args:
        shards: none of them empty; never edited afterwards.
        size: how many routes they have, if that is known.
    """

    __slots__ = ("_cached_hash", "_size", "shards")

    def __init__(self, shards: Mapping[ShardKey, frozenset[Route]] | None = None, size: int | None = None) -> None:
        self.shards: Mapping[ShardKey, frozenset[Route]] = shards or {}
        self._size = sum(map(len, self.shards.values())) if size is None else size
        self._cached_hash: int | None = None

    @classmethod
    def of(cls, routes: Iterable[Route]) -> RouteSet:
        """The set of these routes. A set in shards is taken as it is."""
        if isinstance(routes, RouteSet):
            return routes
        return cls({key: frozenset(shard) for key, shard in by_shard(routes).items()})

    @classmethod
    def _from_iterable(cls, it: Iterable[Route]) -> RouteSet:  # type: ignore[override]
        """For what Set makes itself."""
        return cls.of(it)

    def __contains__(self, route: object) -> bool:
        return isinstance(route, Route) and route in self.shards.get(shard_of(route.prefix), _NONE)

    def __iter__(self) -> Iterator[Route]:
        return chain.from_iterable(self.shards.values())

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, RouteSet):
            return self._size == other._size and self.shards == other.shards
        return isinstance(other, AbstractSet) and self._size == len(other) and all(route in self for route in other)

    def __hash__(self) -> int:
        if self._cached_hash is None:
            self._cached_hash = hash(frozenset(self.shards.items()))
        return self._cached_hash

    def __repr__(self) -> str:
        return f"RouteSet({set(self)})"

    def __sub__(self, other: AbstractSet[object]) -> RouteSet:
        """By value, as with any set; shards that both share are not gone through."""
        theirs = RouteSet.of(other).shards  # type: ignore[arg-type]
        left = {
            key: shard - theirs.get(key, _NONE) for key, shard in self.shards.items() if shard is not theirs.get(key)
        }
        return RouteSet({key: shard for key, shard in left.items() if shard})

    def __or__(self, other: AbstractSet[object]) -> RouteSet:
        theirs = RouteSet.of(other).shards  # type: ignore[arg-type]
        return RouteSet({**self.shards, **{key: self.shards.get(key, _NONE) | shard for key, shard in theirs.items()}})

    def __and__(self, other: AbstractSet[object]) -> RouteSet:
        theirs = RouteSet.of(other).shards  # type: ignore[arg-type]
        both = {
            key: shard if shard is theirs[key] else shard & theirs[key]
            for key, shard in self.shards.items()
            if key in theirs
        }
        return RouteSet({key: shard for key, shard in both.items() if shard})

    def at(self, prefix: Prefix) -> frozenset[Route]:
        """The shard in which the routes to `prefix` are, with others."""
        return self.shards.get(shard_of(prefix), _NONE)

    def covering(self, prefix: Prefix) -> Iterator[Route]:
        """The routes whose prefix is `prefix` or covers it; of all tables and metrics, in no order."""
        version, network, length = prefix
        shifts = ((shorter, _BITS[version] - shorter) for shorter in range(length, -1, -1))
        wider = (Prefix(version, network >> bits << bits, shorter) for shorter, bits in shifts)
        for key in dict.fromkeys(map(shard_of, wider)):
            yield from (route for route in self.shards.get(key, _NONE) if route.prefix.covers(prefix))

    def inside(self, prefix: Prefix) -> Iterator[Route]:
        """The routes whose prefix lies in `prefix`, in no order. Shards far from it cost next to nothing."""
        for key in near(self.shards, prefix):
            yield from (route for route in self.shards[key] if prefix.covers(route.prefix))

    def changed(self, new: Iterable[Route], gone: Iterable[Route]) -> RouteSet:
        """Without `gone`, then with `new`, by value."""
        fewer, more = RouteSet.of(gone).shards, RouteSet.of(new).shards
        edited = {
            key: (self.shards.get(key, _NONE) - fewer.get(key, _NONE)) | more.get(key, _NONE)
            for key in fewer.keys() | more.keys()
        }
        return self.with_shards({key: shard for key, shard in edited.items() if shard != self.shards.get(key, _NONE)})

    def with_shards(self, shards: Mapping[ShardKey, frozenset[Route]]) -> RouteSet:
        """With these shards in place of those that have their keys; an empty one is none."""
        if not shards:
            return self
        edited, size = {**self.shards, **shards}, self._size
        for key, shard in shards.items():
            size += len(shard) - len(self.shards.get(key, _NONE))
            if not shard:
                del edited[key]
        return RouteSet(edited, size)

    def touched_since(self, before: RouteSet) -> set[ShardKey]:
        """The shards that are other objects than before, or in one of the two sets only."""
        return set() if self is before else set(differing(self.shards, before.shards))

    def without_keys_of(self, other: RouteSet) -> RouteSet:
        """The routes whose key no route of `other` has."""
        left = {}
        for key, shard in self.shards.items():
            taken = set(map(_KEY, other.shards.get(key, _NONE)))
            left[key] = frozenset([route for route in shard if _KEY(route) not in taken])
        return RouteSet({key: shard for key, shard in left.items() if shard})

    def of_protocol(self, protocol: int) -> RouteSet:
        """The routes with this protocol; a shard that has no others is shared."""
        left = {}
        for key, shard in self.shards.items():
            found = [route for route in shard if route.protocol == protocol]
            left[key] = shard if len(found) == len(shard) else frozenset(found)
        return RouteSet({key: shard for key, shard in left.items() if shard})

    def sharing(self, before: RouteSet) -> RouteSet:
        """An equal set with as many shards of `before` as are equal to its own; `before` itself if all are."""
        shards = sharing(self.shards, before.shards)
        return before if shards is before.shards else RouteSet(shards, self._size)


class Difference(NamedTuple):
    """
    Two sets of routes, and the routes that only one of them has.

    Attributes:
        owned: of `only_theirs` what we marked as ours.
        same_key: of `only_theirs` what has the key of one of mine.
    """

    mine: RouteSet
    theirs: RouteSet
    only_mine: RouteSet
    only_theirs: RouteSet
    owned: RouteSet
    same_key: RouteSet


def difference(mine: RouteSet, theirs: RouteSet, before: Difference | None = None) -> Difference:
    """The difference by value. Where both sets have the very shards of `before`, its result is taken over."""
    if before and mine is before.mine and theirs is before.theirs:
        return before
    found: list[dict[ShardKey, frozenset[Route]]] = [{}, {}, {}, {}]
    touched = mine.shards.keys() | theirs.shards.keys()
    if before:
        found = [dict(part.shards) for part in before[2:]]
        touched = mine.touched_since(before.mine) | theirs.touched_since(before.theirs)
    for key in touched:
        parts = _parts(mine.shards.get(key, _NONE), theirs.shards.get(key, _NONE))
        for shards, part in zip(found, parts, strict=True):
            if part:
                shards[key] = part
            else:
                shards.pop(key, None)
    return Difference(mine, theirs, *map(RouteSet, found))


def _parts(ours: frozenset[Route], others: frozenset[Route]) -> tuple[frozenset[Route], ...]:
    """Of one shard what `Difference` has of the whole."""
    more = ours - others
    # What both have in common is known then: of equal shards only one is gone through.
    less = others - ours if len(others) > len(ours) - len(more) else _NONE
    keys = set(map(_KEY, ours)) if less else set[object]()
    same_key = frozenset([route for route in less if _KEY(route) in keys]) if keys else _NONE
    return more, less, frozenset([route for route in less if route.protocol == PROTOCOL]), same_key
