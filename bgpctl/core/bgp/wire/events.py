"""
A decoded UPDATE as the events that the core takes: paths, withdrawals, End-of-RIB.

Refuses to know: bytes, and errors in them.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.speaker import EndOfRib, Update
from bgpctl.core.bgp.wire.message import Announcement, UpdateMessage
from bgpctl.core.net.addresses import Address


def events(peer: Address, message: UpdateMessage) -> tuple[Update | EndOfRib, ...]:
    """
    The events of one message of a peer, at most two. Several paths to one prefix (RFC 7911) become the last of them:
    no session asks for them.
    """
    found: list[Update | EndOfRib] = []
    if message.announced or message.withdrawn:
        announced = tuple(path for item in message.announced for path in _paths(item))
        withdrawn = tuple(prefix for nlri in message.withdrawn for prefix in nlri.prefixes)
        found.append(Update(peer, announced, withdrawn))
    if message.end_of_rib:
        found.append(EndOfRib(peer, message.end_of_rib.version))
    return tuple(found)


def _paths(item: Announcement) -> Iterator[Path]:
    attributes, next_hop = item.attributes, item.next_hop.address
    as_path = tuple(asn for segment in attributes.as_path for asn in segment.asns)
    for prefix in item.nlri.prefixes:
        yield Path(
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
        )
