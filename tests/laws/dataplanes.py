"""Parts of a dataplane that invariants of plans compare."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from bgpctl.core.dataplane.effects import Op, after
from bgpctl.core.fabric import Desired
from bgpctl.core.net.addresses import (
    Prefix,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, KernelObject, Key, key_of


def fold(dataplane: Dataplane, ops: Iterable[Op]) -> Dataplane:
    """The dataplane after all operations."""
    return reduce(after, ops, dataplane)


def foreign(dataplane: Dataplane) -> set[KernelObject]:
    ours = set(dataplane.owned())
    return {obj for obj in dataplane if obj not in ours} - set(dataplane.sysctls)


def unblocked(desired: Desired, observed: Dataplane) -> set[Key]:
    """The wanted keys that no foreign route has."""
    taken = {key_of(route) for route in observed.routes if route.protocol != PROTOCOL}
    return {key_of(obj) for obj in desired.dataplane} - taken


def reachable(dataplane: Dataplane) -> set[Prefix]:
    """The prefixes that our routes lead to."""
    hops = {hop.id for hop in dataplane.next_hops}
    hops |= {group.id for group in dataplane.groups if hops.intersection(group.members)}
    return {r.prefix for r in dataplane.routes if r.protocol == PROTOCOL and (not r.next_hop or r.next_hop in hops)}
