"""
The packets that a tunnel may carry to this node: from what is other members', to what is its own.

An outer source that is a member's proves only which node sent a packet. It must carry what members send: from the
pools, but not from this node's own blocks, and to this node's blocks and tunnel addresses. Then nothing is relayed to a
third host, nothing leaves with this node's address, and no service of the node is reached at its other addresses.

An address belongs to the longest prefix that covers it: one that another member has borrowed from an own block is the
other's, and one that is borrowed from another's block is our own. Every pool counts, whatever its encapsulation: while
it changes, a probe by the new tunnel is answered before this node knows that the pool will use it.

Refuses to know: how packets are kept out, who may send tunnel packets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Final

from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.fabric.protocol import Site, members_at
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import InnerFilter

_LONGER_HEADER_BYTES: Final = {4: 0, 6: 20}
"""Than IPv4's."""


def inner_filter(site: Site, link: str, underlay: Underlay) -> InnerFilter:
    """The filter of a tunnel device over this underlay."""
    version = underlay.version
    ours = _of_version(site.senders.made_from.ours, version)
    pools = _of_version((pool.cidr for pool in site.intent.pools), version)
    beside = _of_version(chain.from_iterable(site.senders.beside.values()), version)
    sources, destinations = _nearest((pools | beside) - ours, ours), _nearest(ours, beside)
    own = tuple(sorted((underlay.address.address, *underlay.also)))
    segment = site.intent.tcp_mss and site.intent.tcp_mss - _LONGER_HEADER_BYTES[version]
    return InnerFilter(link, version, members_at(site, version), own, sources, destinations, segment)


def _of_version(prefixes: Iterable[Prefix], version: int) -> set[Prefix]:
    return {prefix for prefix in prefixes if prefix.version == version}


def _nearest(wanted: Iterable[Prefix], others: Collection[Prefix]) -> tuple[Prefix, ...]:
    """The addresses whose longest prefix is a wanted one, as prefixes that do not overlap."""
    found = {part for prefix in wanted for part in _without(prefix, [o for o in others if prefix.covers(o)])}
    kept: list[Prefix] = []
    for prefix in sorted(found, key=lambda prefix: (prefix.network, prefix.length)):
        if not kept or not kept[-1].covers(prefix):
            kept.append(prefix)
    return tuple(sorted(kept))


def _without(prefix: Prefix, holes: Collection[Prefix]) -> Iterator[Prefix]:
    if not holes:
        yield prefix
    elif prefix not in holes:
        for network in (prefix.network, prefix.network + prefix.size // 2):
            half = Prefix(prefix.version, network, prefix.length + 1)
            yield from _without(half, [hole for hole in holes if half.covers(hole)])
