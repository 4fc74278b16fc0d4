"""
A route in BGP: as a peer announced it, and as this node announces it.

Refuses to know: ExaBGP, its text and its JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpctl.core.net.addresses import Address, Asn, Prefix


@dataclass(frozen=True, slots=True)
class Path:
    """
    A route as one peer announced it.

    `as_path` is flat, leftmost first, AS_SET members included; `next_hop` None means that the UPDATE had none;
    `extended` are the extended communities (RFC 4360), the eight octets of each as one number.
    """

    prefix: Prefix
    next_hop: Address | None
    as_path: tuple[Asn, ...] = ()
    origin: str = "igp"
    local_pref: int | None = None
    med: int | None = None
    communities: tuple[tuple[int, ...], ...] = ()
    originator: Address | None = None
    cluster_list: tuple[Address, ...] = ()
    extended: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Attributes:
    """
    Path attributes of an announcement; `next_hop` None is ourselves. Communities as in cluster.Community, `extended` as
    in Path.
    """

    next_hop: Address | None = None
    as_path: tuple[Asn, ...] = ()
    local_pref: int | None = None
    med: int | None = None
    communities: tuple[tuple[int, ...], ...] = ()
    originator: Address | None = None
    cluster_list: tuple[Address, ...] = ()
    origin: str = "igp"
    extended: tuple[int, ...] = ()
