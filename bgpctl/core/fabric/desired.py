"""
The fabric's result: the objects that should be in this node's kernel, each with its reason.

Refuses to know: its difference from the observed kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple, TypeAlias, TypeVar

from bgpctl.core.cluster.configuration import Pool
from bgpctl.core.cluster.reasons import PruneHold, Reason, Unmet
from bgpctl.core.net.addresses import (
    Address,
    Prefix,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    KernelObject,
    Key,
    key_of,
)

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
        prune_holds: sources that have not spoken; while there is one, only routes to `withdrawn` may be removed.
        withdrawn: prefixes that their source has withdrawn, so that no other source needs to be awaited.
    """

    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    unmet: tuple[Unmet, ...] = ()
    prune_holds: tuple[PruneHold, ...] = ()
    withdrawn: frozenset[Prefix] = frozenset()


def gather(wanted: Iterable[Reasoned], unmet: Iterable[Unmet], prune_holds: Iterable[PruneHold]) -> Desired:
    """One value out of everything the encapsulations asked for; equal objects asked for twice count once."""
    reasons: dict[Key, Reason] = {}
    objects: list[KernelObject] = []
    for obj, reason in wanted:
        objects.append(obj)
        reasons.setdefault(key_of(obj), reason)
    return Desired(Dataplane.of(objects), reasons, tuple(unmet), tuple(prune_holds))


def link_of(desired: Desired | None) -> Callable[[Prefix], str | None]:
    """The link that a wanted route leaves by; computed at the first call."""

    @cache
    def links() -> Mapping[Prefix, str]:
        plane = desired.dataplane if desired else None
        hops = {hop.id: hop.link for hop in plane.next_hops} if plane else {}
        return {route.prefix: hops[route.next_hop] for route in plane.routes if route.next_hop in hops} if plane else {}

    return lambda prefix: links().get(prefix)


class RemotePrefix(NamedTuple):
    """
    A prefix that lives behind `remote`: a BGP next hop or a node's underlay address. `source` names who announced it.

    `also` are remotes behind which it lives as well, without `remote`: flows are spread over all.
    """

    prefix: Prefix
    pool: Pool
    remote: Address
    source: str
    also: tuple[Address, ...] = ()

    @property
    def keys(self) -> tuple[NextHopKey, ...]:
        """The next-hop objects that it may use."""
        return tuple(NextHopKey(self.pool.cidr, remote) for remote in (self.remote, *self.also))


class NextHopKey(NamedTuple):
    """The key of one next-hop object: all prefixes of a pool behind one remote."""

    pool: Prefix
    remote: Address


_ID_BASE: Final = 0x42000000
_GROUP_ID_BASE: Final = 0x43000000
_ID_SPACE: Final = 1 << 24


def next_hop_ids(keys: Iterable[NextHopKey]) -> Mapping[NextHopKey, int]:
    """
    An id per key, in a high range of our own because all programs in the namespace share the ids.

    Derived from the key alone, so a restarted agent finds the same ids; the encapsulation is not part of it, so a
    change of encapsulation is one message per key. A collision (24 bits) moves the later key up by one.
    """
    return _numbered(_ID_BASE, {key: f"{key.pool} {key.remote}" for key in keys})


def group_ids(groups: Iterable[tuple[int, ...]]) -> Mapping[tuple[int, ...], int]:
    """An id per set of next-hop ids, derived from it likewise, in a range of its own."""
    return _numbered(_GROUP_ID_BASE, {members: " ".join(map(str, members)) for members in groups})


def _numbered(base: int, names: Mapping[N, str]) -> Mapping[N, int]:
    taken: dict[int, N] = {}
    for item, name in sorted(names.items(), key=lambda pair: pair[1]):
        offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big")
        while base + offset in taken:
            offset = (offset + 1) % _ID_SPACE
        taken[base + offset] = item
    return {item: number for number, item in taken.items()}
