"""
The MTU of routes by a path that is narrower than its link (`mtuDiscovery`).

Proofs (core/proof) find the largest packet that reaches a member. As the MTU of the routes there it makes the kernel
answer the sender of a larger one: "fragmentation needed" (RFC 1191), "packet too big" (RFC 8201). IPv4 and IPv6 heed it
for packets that they forward, too (ip_dst_mtu_maybe_forward, ip6_dst_mtu_maybe_forward).

An agent that starts has proved nothing yet. Until it has, routes keep the MTU with which it found them in the kernel:
without it the larger packets would be lost until the path is found narrow again.

Refuses to know: how a size was found out, and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bgpctl.core.fabric.desired import NextHopSet
from bgpctl.core.fabric.next_hops import Resolution
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import PROTOCOL, Route

LEAST_BYTES: Final = {4: 68, 6: 1280}
"""Any link of the IP version takes it (RFC 791, section 3.2; RFC 8200, section 5): a smaller MTU helps no sender."""
Sizes: TypeAlias = Mapping[tuple[str, Address], int]
"""By a path's link and the member's address on the underlay: the MTU in bytes, 0 where that is the link's."""


@dataclass(frozen=True, slots=True)
class PathMtus:
    """
    Attributes:
        is_on: the cluster wants it.
        known: of the paths on which there was a verdict.
        found: of the other paths, as the kernel had it when it was first observed: by the id of the next hop.
    """

    is_on: bool = False
    known: Sizes = field(default_factory=dict)
    found: Mapping[int, int] = field(default_factory=dict)

    def limits(self, resolution: Resolution) -> Mapping[NextHopSet, int]:
        """The MTU of routes by these next-hop sets: that of the narrowest path of each, where one is known."""
        if not self.is_on or not (self.found or any(self.known.values())):
            return {}
        limits: dict[NextHopSet, int] = {}
        for hop_set, out in resolution.outs.items():
            least_bytes = LEAST_BYTES[hop_set.pool.version]
            sizes = [size for size in self._sizes(hop_set, out.next_hop, resolution) if size >= least_bytes]
            if sizes:
                limits[hop_set] = min(sizes)
        return limits

    def _sizes(self, hop_set: NextHopSet, number: int, resolution: Resolution) -> Iterator[int]:
        for key in hop_set.keys:
            hop = resolution.hops.get(key)
            if hop:
                size = self.known.get((hop.link, key.remote))
                yield self.found.get(number, 0) if size is None else size


NO_PATH_MTUS: Final = PathMtus()


def found_in(routes: Iterable[Route]) -> Mapping[int, int]:
    """The MTUs of our routes in the kernel, by the ids of their next hops."""
    return {
        route.next_hop: route.mtu_bytes
        for route in routes
        if route.mtu_bytes and route.next_hop and route.protocol == PROTOCOL
    }
