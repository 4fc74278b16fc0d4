"""
A route in BGP: as a peer announced it, and as this node announces it.

Refuses to know: ExaBGP, its text and its JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Address, Asn, Prefix


class AsSet(NamedTuple):
    """An AS_SET in a path: the ASes that an aggregate was made of, in no order that means anything."""

    members: tuple[Asn, ...]

    def __str__(self) -> str:
        return f"{{{' '.join(map(str, self.members))}}}"


AsPath: TypeAlias = tuple[Asn | AsSet, ...]
"""
The AS that was passed last is the first. An AS_SET is one item: it counts as one AS (RFC 4271, section 9.1.2.2), and is
passed on as a set.
"""


def members(path: AsPath) -> Iterator[Asn]:
    """Each AS number of a path, those in sets included."""
    for item in path:
        if isinstance(item, AsSet):
            yield from item.members
        else:
            yield item


class RawAttribute(NamedTuple):
    """An attribute as it is encoded: Optional, Transitive and Partial of its flags, its type code, its value."""

    flags: int
    code: int
    value: bytes

    @classmethod
    def parse(cls, text: str) -> RawAttribute:
        """`e0 200 abcd`: flags, code and value. Raises ValueError."""
        flags, code, value = text.split(" ")
        return cls(int(flags, 16), int(code), bytes.fromhex(value))

    def __str__(self) -> str:
        return f"{self.flags:02x} {self.code} {self.value.hex()}"


@dataclass(frozen=True, slots=True)
class Path:
    """
    A route as one peer announced it.

    `next_hop` None means that the UPDATE had none; `extended` are the extended communities (RFC 4360), the eight octets
    of each as one number; `passed_on` are attributes that no decision reads, as they go on to other peers
    (RFC 4271, section 5): ATOMIC_AGGREGATE, AGGREGATOR with an AS number of four octets, OTC (RFC 9234), unknown
    transitive ones. `partial` has the type codes of communities that came with Partial, which no router may clear.
    `path_id` tells the paths of a peer apart that sends several (RFC 7911); None of one that does not.
    """

    prefix: Prefix
    next_hop: Address | None
    as_path: AsPath = ()
    origin: str = "igp"
    local_pref: int | None = None
    med: int | None = None
    communities: tuple[tuple[int, ...], ...] = ()
    originator: Address | None = None
    cluster_list: tuple[Address, ...] = ()
    extended: tuple[int, ...] = ()
    passed_on: tuple[RawAttribute, ...] = ()
    partial: tuple[int, ...] = ()
    path_id: int | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """
    Path attributes of an announcement; `next_hop` None is ourselves. Communities as in cluster.Community, the others as
    in Path.
    """

    next_hop: Address | None = None
    as_path: AsPath = ()
    local_pref: int | None = None
    med: int | None = None
    communities: tuple[tuple[int, ...], ...] = ()
    originator: Address | None = None
    cluster_list: tuple[Address, ...] = ()
    origin: str = "igp"
    extended: tuple[int, ...] = ()
    passed_on: tuple[RawAttribute, ...] = ()
    partial: tuple[int, ...] = ()
