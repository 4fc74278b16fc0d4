"""
The effect of each operation of a plan on traffic.

Without effect is only what carries nothing: an object that nothing uses yet or any more, a route to a prefix that
no host has. Whether a prefix is lost is known once the whole plan is.

Refuses to know: why an operation is planned, who has a prefix.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from bgpctl.core.dataplane.effects import Op, Put, Remove
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import KernelObject, Key, Link, NextHop, NextHopGroup, Plain, Route, RouteType, key_of


class Effect(enum.IntEnum):
    """The effect of an operation on traffic, the least first."""

    NONE = 0
    """Nothing uses it yet, or any more."""
    IN_PLACE = 1
    """The object changes under traffic, without loss."""
    ATOMIC = 2
    """Traffic takes another path from one packet to the next."""
    GAP = 3
    """The kernel cannot have the old and the new at once: packets are lost in between."""
    LOST = 4
    """Packets are lost from then on."""


class Carried(NamedTuple):
    """
    Prefixes, as far as a plan removes what leads to them.

    Attributes:
        had: some host has them now, or will.
        lost: of these, those that nothing leads to in the end.
    """

    had: Collection[Prefix]
    lost: Collection[Prefix]


_PATHS: Final = NextHop | NextHopGroup | Route


class _Used(NamedTuple):
    """Ids of next hops and groups that routes name: to prefixes that a host has, and to those that are lost."""

    had: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()


def with_effects(ops: Iterable[Op], observed: Dataplane, carried: Carried) -> Iterator[tuple[Op, Effect]]:
    """Each operation with its effect, in their order, on a kernel that is `observed` before the first."""
    present = {key_of(obj): obj for obj in observed}
    removed: set[Key] = set()
    used: _Used | None = None
    for op in ops:
        key = key_of(op.object)
        if used is None and isinstance(op, Remove) and isinstance(op.object, NextHop | NextHopGroup | Link):
            # A plan removes routes before what they name: from here on no route is another one.
            used = _in_use(present, carried)
        yield op, _effect(op, present, carried, removed, used or _Used())
        if isinstance(op, Remove):
            removed.add(key)
            if isinstance(op.object, Route):
                present.pop(key, None)
        elif isinstance(op.object, _PATHS):
            present[key] = op.object


def _in_use(present: Mapping[Key, KernelObject], carried: Carried) -> _Used:
    routes = [item for item in present.values() if isinstance(item, Route)]
    return _Used(
        *(frozenset(item.next_hop for item in routes if item.next_hop and item.prefix in of) for of in carried)
    )


def _effect(
    op: Op, present: Mapping[Key, KernelObject], carried: Carried, removed: Collection[Key], used: _Used
) -> Effect:
    before = present.get(key_of(op.object))
    if key_of(op.object) in removed or (isinstance(before, Link) and before.owned and isinstance(before.kind, Plain)):
        return Effect.GAP
    if isinstance(before, Route) and _ends(op, before):
        return _of_route(before, carried)
    if isinstance(op, Put) and before is not None:
        return Effect.ATOMIC if isinstance(op.object, _PATHS) else Effect.IN_PLACE
    return _of_removal(op.object, present, used) if isinstance(op, Remove) else Effect.NONE


def _ends(op: Op, before: Route) -> bool:
    """True if a route that leads on is there no more, or drops packets."""
    leads = before.type is RouteType.UNICAST
    return leads and (isinstance(op, Remove) or (isinstance(op.object, Route) and op.object.type is not before.type))


def _of_route(gone: Route, carried: Carried) -> Effect:
    if gone.prefix in carried.lost:
        return Effect.LOST
    return Effect.ATOMIC if gone.prefix in carried.had else Effect.NONE


def _of_removal(gone: KernelObject, present: Mapping[Key, KernelObject], used: _Used) -> Effect:
    """The routes that name it go along; those to what is not lost come back."""
    match gone:
        case NextHop() | NextHopGroup():
            numbers = {gone.id}
        case Link():
            hops = (item for item in present.values() if isinstance(item, NextHop))
            numbers = {hop.id for hop in hops if hop.link == gone.name}
        case _:
            return Effect.NONE
    if not used.lost.isdisjoint(numbers):
        return Effect.LOST
    return Effect.NONE if used.had.isdisjoint(numbers) else Effect.GAP
