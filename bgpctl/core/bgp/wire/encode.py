"""
Path attributes as they leave: what came is sent on byte by byte, but for what the export policy and the peer's AS
numbers change.

Refuses to know: the policy, and how the octets get to the peer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from bgpctl.core.bgp.path import AsPath, AsSet, Attributes, RawAttribute, members
from bgpctl.core.bgp.wire.as_path import AS_TRANS
from bgpctl.core.bgp.wire.attribute_list import OPTIONAL, PARTIAL, TRANSITIVE, encoded
from bgpctl.core.bgp.wire.attributes import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS4_PATH,
    AS_PATH,
    CLUSTER_LIST,
    COMMUNITY,
    EXTENDED_COMMUNITIES,
    LARGE_COMMUNITY,
    LOCAL_PREF,
    MED,
    NEXT_HOP,
    ORIGIN,
    ORIGINATOR_ID,
    ORIGINS,
)
from bgpctl.core.bgp.wire.message import SegmentKind
from bgpctl.core.net.addresses import Asn

_SEGMENT_SIZE: Final = 255
_TWO_OCTETS: Final = 0xFFFF
_BOTH: Final = OPTIONAL | TRANSITIVE


def encode(attributes: Attributes, *, four_octet: bool) -> bytes:
    """
    The attribute list of an UPDATE, by type code (RFC 4271, section 5).

    Args:
        attributes: with their next hop if it is that of IPv4 prefixes in the NLRI field; any other one is a part of
            MP_REACH_NLRI.
        four_octet: the peer knows AS numbers of four octets. To another one, numbers that do not fit are sent as
            AS_TRANS, and the whole in AS4_PATH and AS4_AGGREGATOR (RFC 6793, section 4.2.2).
    """
    listed = (*_own(attributes, four_octet=four_octet), *_passed_on(attributes.passed_on, four_octet=four_octet))
    return b"".join(encoded(raw) for raw in sorted(listed, key=_code))


def _code(raw: RawAttribute) -> int:
    return raw.code


def _own(attributes: Attributes, *, four_octet: bool) -> Iterator[RawAttribute]:
    """The attributes that decisions read."""
    yield RawAttribute(TRANSITIVE, ORIGIN, bytes([ORIGINS.index(attributes.origin)]))
    yield from _as_paths(attributes.as_path, four_octet=four_octet)
    if attributes.next_hop and attributes.next_hop.version == 4:
        yield RawAttribute(TRANSITIVE, NEXT_HOP, attributes.next_hop.packed)
    if attributes.med is not None:
        yield RawAttribute(OPTIONAL, MED, attributes.med.to_bytes(4, "big"))
    if attributes.local_pref is not None:
        yield RawAttribute(TRANSITIVE, LOCAL_PREF, attributes.local_pref.to_bytes(4, "big"))
    if attributes.originator:
        yield RawAttribute(OPTIONAL, ORIGINATOR_ID, attributes.originator.packed)
    if attributes.cluster_list:
        yield RawAttribute(OPTIONAL, CLUSTER_LIST, b"".join(cluster.packed for cluster in attributes.cluster_list))
    if attributes.extended:
        yield _marked(attributes, EXTENDED_COMMUNITIES, _packed("Q", attributes.extended))
    plain = [number for community in attributes.communities if len(community) == 2 for number in community]
    if plain:
        yield _marked(attributes, COMMUNITY, _packed("H", plain))
    large = [number for community in attributes.communities if len(community) == 3 for number in community]
    if large:
        yield _marked(attributes, LARGE_COMMUNITY, _packed("I", large))


def _marked(attributes: Attributes, code: int, value: bytes) -> RawAttribute:
    return RawAttribute(_BOTH | (PARTIAL if code in attributes.partial else 0), code, value)


def _packed(letter: str, numbers: Iterable[int]) -> bytes:
    values = tuple(numbers)
    return struct.pack(f"!{len(values)}{letter}", *values)


# AS numbers ----------------------------------------------------------------------------------------------------


def _as_paths(path: AsPath, *, four_octet: bool) -> Iterator[RawAttribute]:
    yield RawAttribute(TRANSITIVE, AS_PATH, _segments(path, four_octet=four_octet))
    if not four_octet and any(asn > _TWO_OCTETS for asn in members(path)):
        yield RawAttribute(_BOTH, AS4_PATH, _segments(path, four_octet=True))


def _segments(path: AsPath, *, four_octet: bool) -> bytes:
    """Sequences of at most 255 AS numbers; a set that is longer, which no peer can have sent, would become two."""
    found: list[bytes] = []
    for kind, group in groupby(path, type):
        if kind is AsSet:
            sets = (item.members for item in group if isinstance(item, AsSet))
            found += (_segment(SegmentKind.SET, asns, four_octet=four_octet) for asns in sets)
        else:
            found.append(_segment(SegmentKind.SEQUENCE, tuple(members(tuple(group))), four_octet=four_octet))
    return b"".join(found)


def _segment(kind: SegmentKind, asns: tuple[Asn, ...], *, four_octet: bool) -> bytes:
    parts = (asns[at : at + _SEGMENT_SIZE] for at in range(0, len(asns), _SEGMENT_SIZE))
    return b"".join(bytes([kind, len(part)]) + _asns(part, four_octet=four_octet) for part in parts)


def _asns(asns: Iterable[Asn], *, four_octet: bool) -> bytes:
    return _packed("I", asns) if four_octet else _packed("H", (_fitting(asn) for asn in asns))


def _fitting(asn: int) -> int:
    return asn if asn <= _TWO_OCTETS else AS_TRANS


def _passed_on(attributes: Iterable[RawAttribute], *, four_octet: bool) -> Iterator[RawAttribute]:
    """As they are, but for an AGGREGATOR to a two-octet speaker."""
    for raw in attributes:
        if four_octet or raw.code != AGGREGATOR:
            yield raw
            continue
        asn, router_id = int.from_bytes(raw.value[:4], "big"), raw.value[4:]
        yield raw._replace(value=_fitting(asn).to_bytes(2, "big") + router_id)
        if asn > _TWO_OCTETS:
            yield RawAttribute(_BOTH | raw.flags & PARTIAL, AS4_AGGREGATOR, raw.value)


# Room ----------------------------------------------------------------------------------------------------------

MESSAGE_BYTES: Final = 4096
EXTENDED_MESSAGE_BYTES: Final = 65535
_FIXED: Final = 19 + 4
"""Octets of a message beside attributes and prefixes: the header, and two lengths."""
_LONGEST_PREFIX: Final = {4: 1 + 4, 6: 1 + 16}
_NEXT_HOP_BYTES: Final = 3 + 4
_LOCAL_PREF_BYTES: Final = 3 + 4
_MP_REACH_BYTES: Final = 4 + 3 + 1 + 32 + 1
_FEW: Final = 100
"""So many AS numbers and communities always fit: none of them takes more than 12 octets."""


class Room(NamedTuple):
    """
    The room of an UPDATE to one peer.

    Attributes:
        message_bytes: 4,096, or 65,535 with RFC 8654.
        four_octet: AS numbers have four octets; with two the AS path may be there twice (RFC 6793).
        internal: LOCAL_PREF is sent to the peer, also where a route has none (RFC 4271, section 5.1.5).
    """

    message_bytes: int = MESSAGE_BYTES
    four_octet: bool = True
    internal: bool = False


def fits(attributes: Attributes, version: int, room: Room) -> bool:
    """True if the peer can be sent these attributes with any one prefix of this IP version."""
    path = attributes.as_path
    items = len(path) + len(attributes.communities) + len(attributes.extended) + len(attributes.cluster_list)
    if items < _FEW and not attributes.passed_on and AsSet not in map(type, path):  # as with nearly all
        return True
    hop = attributes.next_hop
    beside = _MP_REACH_BYTES if version == 6 else 0 if hop and hop.version == 4 else _NEXT_HOP_BYTES
    listed = len(encode(attributes, four_octet=room.four_octet))
    beside += _LOCAL_PREF_BYTES if room.internal and attributes.local_pref is None else 0
    return _FIXED + listed + beside + _LONGEST_PREFIX[version] <= room.message_bytes
