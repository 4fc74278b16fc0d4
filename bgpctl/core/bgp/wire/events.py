"""
A decoded UPDATE as the events that the core takes: paths, withdrawals, End-of-RIB.

Refuses to know: bytes, and errors in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat
from typing import Final

from bgpctl.core.bgp.path import AsPath, AsSet, Path, RawAttribute
from bgpctl.core.bgp.speaker import EndOfRib, Update
from bgpctl.core.bgp.wire.as_path import without_confederation
from bgpctl.core.bgp.wire.attribute_list import OPTIONAL, PARTIAL, TRANSITIVE
from bgpctl.core.bgp.wire.attributes import (
    AGGREGATOR,
    ATOMIC_AGGREGATE,
    COMMUNITY,
    EXTENDED_COMMUNITIES,
    LARGE_COMMUNITY,
    ONLY_TO_CUSTOMER,
)
from bgpctl.core.bgp.wire.message import Announcement, PathAttributes, Segment, SegmentKind, UpdateMessage
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.core.net.replacing import maker

_PATH: Final = maker(Path)
"""There are as many as prefixes."""
_COMMUNITIES: Final = frozenset({COMMUNITY, EXTENDED_COMMUNITIES, LARGE_COMMUNITY})


def events(peer: Address, message: UpdateMessage) -> tuple[Update | EndOfRib, ...]:
    """
    The events of one message of a peer, at most two. Where it sends path identifiers (RFC 7911), each path and each
    withdrawn one has its own.
    """
    found: list[Update | EndOfRib] = []
    if message.announced or message.withdrawn:
        announced = tuple(path for item in message.announced for path in _paths(item))
        withdrawn = tuple(prefix for nlri in message.withdrawn if not nlri.path_ids for prefix in nlri.prefixes)
        by_id = tuple(
            pair
            for nlri in message.withdrawn
            if nlri.path_ids
            for pair in zip(nlri.prefixes, nlri.path_ids, strict=True)
        )
        found.append(Update(peer, announced, withdrawn, by_id))
    if message.end_of_rib:
        found.append(EndOfRib(peer, message.end_of_rib.version))
    return tuple(found)


def _paths(item: Announcement) -> Iterator[Path]:
    attributes, next_hop = item.attributes, item.next_hop.address
    as_path, passed_on = _as_path(attributes.as_path), _passed_on(attributes) if _has_more(attributes) else ()
    partial = tuple(sorted(attributes.partial & _COMMUNITIES)) if attributes.partial else ()
    for prefix, path_id in zip(item.nlri.prefixes, item.nlri.path_ids or repeat(None), strict=False):
        yield _PATH(
            prefix,
            next_hop,
            as_path,
            attributes.origin,
            attributes.local_pref,
            attributes.med,
            attributes.communities,
            attributes.originator,
            attributes.cluster_list,
            attributes.extended,
            passed_on,
            partial,
            path_id,
        )


def _has_more(attributes: PathAttributes) -> bool:
    return bool(
        attributes.others
        or attributes.atomic_aggregate
        or attributes.aggregator
        or attributes.only_to_customer is not None
    )


@lru_cache(maxsize=1024)
def _as_path(segments: tuple[Segment, ...]) -> AsPath:
    """Without the part inside a confederation, which counts as nothing; none of our nodes is in one."""
    items: list[Asn | AsSet] = []
    for segment in without_confederation(segments):
        items += segment.asns if segment.kind is SegmentKind.SEQUENCE else (AsSet(segment.asns),)
    return tuple(items)


def _passed_on(attributes: PathAttributes) -> tuple[RawAttribute, ...]:
    """In the order of their codes."""
    return tuple(sorted((*_known(attributes), *attributes.others), key=lambda raw: raw.code))


def _known(attributes: PathAttributes) -> Iterator[RawAttribute]:
    if attributes.atomic_aggregate:
        yield RawAttribute(TRANSITIVE, ATOMIC_AGGREGATE, b"")
    if attributes.aggregator:
        asn, router_id = attributes.aggregator
        yield _optional(attributes, AGGREGATOR, asn.to_bytes(4, "big") + router_id.packed)
    if attributes.only_to_customer is not None:
        yield _optional(attributes, ONLY_TO_CUSTOMER, attributes.only_to_customer.to_bytes(4, "big"))


def _optional(attributes: PathAttributes, code: int, value: bytes) -> RawAttribute:
    return RawAttribute(OPTIONAL | TRANSITIVE | (PARTIAL if code in attributes.partial else 0), code, value)
