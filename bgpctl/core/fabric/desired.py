"""
The fabric's result: the objects that should be in this node's kernel, each with its reason.

Refuses to know: how it differs from what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.cluster import Pool
from bgpctl.core.model import (
    Address,
    Dataplane,
    Decap,
    FdbEntry,
    Key,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    Prefix,
    Route,
    Sysctl,
    Thing,
    key_of,
)
from bgpctl.core.why import Missing, Why, Withheld

Reasoned: TypeAlias = tuple[Thing, Why]
"""An object with the reason why it is wanted."""

KIND_OF: Final[Mapping[type, str]] = {
    Link: "links",
    Sysctl: "sysctls",
    LinkAddress: "addresses",
    Decap: "decaps",
    Masquerade: "masquerades",
    FdbEntry: "fdb",
    Neighbour: "neighbours",
    NextHop: "next_hops",
    Route: "routes",
}
"""Which field of a Dataplane holds objects of a type."""


@dataclass(frozen=True, slots=True)
class Desired:
    """
    What should be.

    Attributes:
        why: the reason of each object in `dataplane`, by its key.
        missing: what is wanted and cannot be had.
        withheld: sources that have not spoken; while there is one, nothing may be removed.
    """

    dataplane: Dataplane
    why: Mapping[Key, Why]
    missing: tuple[Missing, ...] = ()
    withheld: tuple[Withheld, ...] = ()


def gather(wanted: Iterable[Reasoned], missing: Iterable[Missing], withheld: Iterable[Withheld]) -> Desired:
    """One value out of everything the encapsulations asked for; equal objects asked for twice count once."""
    kinds: dict[str, set[Thing]] = {kind: set() for kind in KIND_OF.values()}
    why: dict[Key, Why] = {}
    for thing, reason in wanted:
        kinds[KIND_OF[type(thing)]].add(thing)
        why.setdefault(key_of(thing), reason)
    dataplane = Dataplane(**{kind: frozenset(things) for kind, things in kinds.items()})  # type: ignore[arg-type]
    return Desired(dataplane, why, tuple(missing), tuple(withheld))


class Reach(NamedTuple):
    """A prefix that lives behind `remote`: a BGP next hop or a node's underlay address. `source` names who said so."""

    prefix: Prefix
    pool: Pool
    remote: Address
    source: str


class Slot(NamedTuple):
    """What one next-hop object stands for: all prefixes of a pool behind one remote."""

    pool: Prefix
    remote: Address


_ID_BASE: Final = 0x42000000
_ID_SPACE: Final = 1 << 24


def next_hop_ids(slots: Iterable[Slot]) -> Mapping[Slot, int]:
    """
    An id per slot, in a high range of our own because ids are shared by everyone in the namespace.

    Derived from the slot alone, so a restarted agent finds the same ids; the encapsulation is not part of it, so a
    change of encapsulation is one message per slot. A collision (24 bits) moves the later slot up by one.
    """
    taken: dict[int, Slot] = {}
    for slot in sorted(set(slots)):
        offset = int.from_bytes(hashlib.sha256(f"{slot.pool} {slot.remote}".encode()).digest()[:3], "big")
        while _ID_BASE + offset in taken:
            offset = (offset + 1) % _ID_SPACE
        taken[_ID_BASE + offset] = slot
    return {slot: number for number, slot in taken.items()}
