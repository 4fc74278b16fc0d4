"""
The facts that one step of a migration is decided from, and the questions about them that its parts share.

Members are found by their underlay addresses, because a next hop leads to that. Only members are waited
for: a router outside the cluster is configured by others, cannot be expected to answer probes, and gets none.

Refuses to know: the decisions from the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from bgpctl.core.bgp.encap_community import AcceptedTunnels, AdvertisedTunnels
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import Desired
from bgpctl.core.migration.probes import ProbeResults
from bgpctl.core.net.addresses import Address, Mac, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import NextHop, key_of

_VERSIONS: Final = (4, 6)


class PendingMember(NamedTuple):
    """
    A member that the migration waits for.

    Attributes:
        link: still used towards the member, or by it.
        wanted: the link that our traffic to it is to use; empty where that does not matter.
        accepts: the tunnels that it accepts by its announcement or by the file, where the wanted one is not among them.
    """

    member: str
    link: str
    wanted: str
    accepts: AcceptedTunnels | None = None


class HeldNextHop(NamedTuple):
    """A next hop as it is in the kernel, which stays, and as it is wanted."""

    present: NextHop
    wanted: NextHop


@dataclass(frozen=True)
class Situation:
    """
    The arguments of `next_step`. Without slots, so that an answer is computed once and only when it is needed: most
    observations find nothing to migrate.
    """

    desired: Desired
    observed: Dataplane
    intent: Intent
    node: Node
    probe_results: ProbeResults
    at_s: float
    advertised: AdvertisedTunnels

    @cached_property
    def other_nodes(self) -> tuple[Node, ...]:
        return tuple(other for other in self.intent.nodes if other.name != self.node.name)

    @cached_property
    def members(self) -> Mapping[Address, Node]:
        """The other nodes by their underlay addresses."""
        return {
            own.address: other
            for other in self.other_nodes
            for version in _VERSIONS
            if (own := other.underlay(version)) is not None
        }

    @cached_property
    def member_of_prefix(self) -> Mapping[Prefix, str]:
        """The names of members by their blocks and by the addresses that they borrow from others' blocks."""
        return {prefix: other.name for other in self.other_nodes for prefix in self.intent.prefixes_of(other)}

    @cached_property
    def member_next_hops(self) -> frozenset[NextHop]:
        """The wanted next hops that lead to members."""
        return frozenset(hop for hop in self.desired.dataplane.next_hops if self.remote_of(hop) in self.members)

    def remote_of(self, hop: NextHop) -> Address | None:
        """The underlay address that the next hop stands for; without encapsulation its gateway may be a router's."""
        reason = self.desired.reasons.get(key_of(hop))
        return reason.remote if reason else hop.gateway

    def is_over(self, hop: NextHop, version: int) -> bool:
        """True if the next hop leads over the underlay of this IP version."""
        remote = self.remote_of(hop)
        return remote is not None and remote.version == version

    def encapsulation_of(self, hop: NextHop) -> Encapsulation | None:
        """The encapsulation of a wanted next hop."""
        return self.desired.reasons[key_of(hop)].encapsulation

    def member_name(self, hop: NextHop) -> str:
        """The name of the member that the next hop leads to, or its address if it is no member."""
        remote = self.remote_of(hop)
        return self.members[remote].name if remote is not None and remote in self.members else str(remote)

    def address_in_pool(self, node: Node, hop: NextHop) -> Address | None:
        """The first address of the node's first block in the pool of a wanted next hop."""
        name = self.desired.reasons[key_of(hop)].pool
        pool = next((pool for pool in self.intent.pools if pool.name == name), None)
        return next((block.first for block in self.intent.blocks_of(node) if pool and pool.cidr.covers(block)), None)

    @cached_property
    def neighbour_macs(self) -> Mapping[tuple[str, Address | None], Mac]:
        """The wanted permanent neighbours' MACs, by link and address."""
        return {(entry.link, entry.address): entry.mac for entry in self.desired.dataplane.neighbours}
