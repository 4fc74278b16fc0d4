"""
Operations in order, as a value: a tuple, and for many routes what reads like one.

For 100,000 operations on routes a plan would make 100,000 objects, and an executor that packs routes by the hundred
would take them apart again: half the time of an installation. So `RouteOps` has the routes side by side, and makes an
operation when one is read. It is equal to the tuple of its operations, and hashes and prints alike.

Refuses to know: why something is wanted, and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import TypeAlias, cast, overload

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.dataplane.effects import Op, Put, Remove
from bgpctl.core.fabric.desired import Reasons as ReasonsInCommon
from bgpctl.core.net.objects import Key, Route, key_of, keys_of

Reasons: TypeAlias = Mapping[Key, Reason] | Reason
"""The reason of each object, by its key, or one of all."""


class _LikeATuple(Sequence[Op]):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, tuple | _LikeATuple) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


class RouteOps(_LikeATuple):
    """
    The same operation on each of many routes.

    Args:
        reasons: of these routes; never edited.
    """

    __slots__ = ("_made", "_reasons", "routes", "verb")

    def __init__(self, verb: type[Put | Remove], routes: Sequence[Route], reasons: Reasons) -> None:
        self.verb = verb
        self.routes = routes
        self._reasons = reasons
        self._made: tuple[Op, ...] | None = None

    def __len__(self) -> int:
        return len(self.routes)

    @overload
    def __getitem__(self, place: int) -> Op: ...
    @overload
    def __getitem__(self, place: slice) -> RouteOps: ...
    def __getitem__(self, place: int | slice) -> Op | RouteOps:
        if isinstance(place, slice):
            return RouteOps(self.verb, self.routes[place], self._reasons)
        route, reasons = self.routes[place], self._reasons
        return self.verb(route, reasons if isinstance(reasons, Reason) else reasons[key_of(route)])

    def __iter__(self) -> Iterator[Op]:
        """Who goes through them once does so again, and keeps them: they are made once."""
        if self._made is None:
            self._made = tuple(self._each())
        return iter(self._made)

    def _each(self) -> Iterator[Op]:
        reasons = self._reasons
        if isinstance(reasons, Reason):
            return map(self.verb, self.routes, repeat(reasons))
        if isinstance(reasons, ReasonsInCommon):
            return map(self.verb, self.routes, reasons.of_routes(self.routes))
        return map(self.verb, self.routes, map(reasons.__getitem__, keys_of(self.routes)))


class _Joined(_LikeATuple):
    __slots__ = ("_size", "parts")

    def __init__(self, parts: Iterable[Sequence[Op]]) -> None:
        self.parts = tuple(parts)
        self._size = sum(map(len, self.parts))

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> Op: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Op, ...]: ...
    def __getitem__(self, place: int | slice) -> Op | tuple[Op, ...]:
        if isinstance(place, slice):
            return tuple(map(self.__getitem__, range(*place.indices(self._size))))
        left = range(self._size)[place]
        for part in self.parts:
            if left < len(part):
                return part[left]
            left -= len(part)
        raise AssertionError("the size is that of all parts")

    def __iter__(self) -> Iterator[Op]:
        return chain.from_iterable(self.parts)


def joined(parts: Iterable[Sequence[Op]]) -> Sequence[Op]:
    """The operations of all parts, one after the other; a tuple if they have one each."""
    some = [part for part in parts if part]
    if any(isinstance(part, RouteOps) for part in some):
        return _Joined(some)
    return tuple(chain.from_iterable(some))


def by_kind(ops: Iterable[Op]) -> Iterator[tuple[type, Sequence[Op]]]:
    """The operations in order, those in a row on objects of one kind together."""
    for part in ops.parts if isinstance(ops, _Joined) else (ops,):
        if isinstance(part, RouteOps):
            yield Route, part
            continue
        for kind, group in groupby(part, key=attrgetter("object.__class__")):
            yield cast(type, kind), tuple(group)
