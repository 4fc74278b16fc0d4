"""
AS paths in segments: read, counted, and made whole where the peer knows AS numbers of two octets only.

Refuses to know: loops, and which of two paths is better.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from bgpctl.core.bgp.wire.errors import MalformedError
from bgpctl.core.bgp.wire.message import Segment, SegmentKind, Treatment
from bgpctl.core.net.addresses import Asn

AS_TRANS: Final = Asn(23456)
"""It stands for every AS number that has no room in two octets (RFC 6793, section 9)."""

_KINDS: Final = {kind.value: kind for kind in SegmentKind}
_CONFEDERATION: Final = frozenset({SegmentKind.CONFED_SEQUENCE, SegmentKind.CONFED_SET})
_FORMATS: Final = {2: "H", 4: "I"}
_MALFORMED: Final = "RFC 7606, section 7.2"


def segments(value: bytes, asn_size: int) -> tuple[Segment, ...]:
    """
    The segments of an AS_PATH; empty for a route that begins in our AS.

    Args:
        value: of the attribute.
        asn_size: octets of an AS number, 2 or 4.

    Raises:
        MalformedError: a segment has an unknown kind, no AS number or AS 0 (RFC 7607), or does not fit.
    """
    found: list[Segment] = []
    at, end, letter = 0, len(value), _FORMATS[asn_size]
    while at < end:
        if end - at < 2:
            raise _malformed("one octet is left behind the last segment")
        kind, count = _KINDS.get(value[at]), value[at + 1]
        if kind is None:
            raise _malformed(f"segment type {value[at]}")
        if not count:
            raise _malformed("a segment without AS numbers")
        start, at = at + 2, at + 2 + count * asn_size
        if at > end:
            raise _malformed(f"a segment of {count} AS numbers goes beyond the attribute")
        asns = struct.unpack(f"!{count}{letter}", value[start:at])
        if 0 in asns:
            raise MalformedError(Treatment.WITHDRAW, "RFC 7607, section 2", "AS 0 in the AS path")
        found.append(Segment(kind, asns))
    return tuple(found)


def _malformed(reason: str) -> MalformedError:
    return MalformedError(Treatment.WITHDRAW, _MALFORMED, reason)


def count(path: Iterable[Segment]) -> int:
    """The length of a path: a set counts as one AS (RFC 4271, section 9.1.2.2), a confederation's parts as none."""
    return sum(map(_length, path))


def _length(segment: Segment) -> int:
    match segment.kind:
        case SegmentKind.SEQUENCE:
            return len(segment.asns)
        case SegmentKind.SET:
            return 1
        case SegmentKind.CONFED_SEQUENCE | SegmentKind.CONFED_SET:
            return 0


def leads_through_confederation(path: Iterable[Segment]) -> bool:
    """True if there is an AS_CONFED_SEQUENCE or AS_CONFED_SET."""
    return any(segment.kind in _CONFEDERATION for segment in path)


def without_confederation(path: Iterable[Segment]) -> tuple[Segment, ...]:
    """The path without an AS_CONFED_SEQUENCE or AS_CONFED_SET."""
    return tuple(segment for segment in path if segment.kind not in _CONFEDERATION)


def first(path: tuple[Segment, ...]) -> Asn | None:
    """The AS that the path was received from; None if it is empty, or begins with anything but a sequence."""
    return path[0].asns[0] if path and path[0].kind is SegmentKind.SEQUENCE else None


def merged(as_path: tuple[Segment, ...], as4_path: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """
    AS_PATH of a two-octet speaker with the four-octet numbers of AS4_PATH (RFC 6793, section 4.2.3): AS4_PATH with as
    much of AS_PATH before it as it is shorter. A longer AS4_PATH means nothing.
    """
    missing = count(as_path) - count(as4_path)
    return as_path if missing < 0 else (*_leading(as_path, missing), *as4_path)


def _leading(path: tuple[Segment, ...], missing: int) -> Iterator[Segment]:
    """The first part of a path, of this length; a confederation's parts at its beginning or between belong to it."""
    for segment in path:
        if segment.kind not in _CONFEDERATION and not missing:
            return
        if segment.kind is SegmentKind.SEQUENCE and len(segment.asns) > missing:
            yield Segment(segment.kind, segment.asns[:missing])
            return
        yield segment
        missing -= _length(segment)
