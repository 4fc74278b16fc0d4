"""
The paths to members that are to be proven: one for each member and link that next hops in the kernel use.

Many next hops, one for each pool, take the same path, and one proof serves them all. A router that is no member is not
probed. Neither is a member without encapsulation behind a router: no address is known there that must answer; nor are
more than MOST_NEIGHBOURS members in this node's own network.

Refuses to know: when a path is probed, and what the replies mean.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.encap_community import nothing_advertised
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.crossing import same_subnet
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import Desired
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.fabric.protocol import ProbeFrame
from bgpctl.core.migration.probe_choice import forward_probe
from bgpctl.core.migration.probes import NO_RESULTS, Probe
from bgpctl.core.migration.situation import Situation
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, Neighbour, NextHop

MOST_NEIGHBOURS: Final = 400
"""
Members in this node's own network that are probed. The kernel keeps a neighbour entry for each, and would not without
traffic; its table has room for 512 before it drops those in use (gc_thresh2, arp(7)).
"""
PathKey: TypeAlias = tuple[str, str, Address]
"""A path in short: the member, the link, and the member's address on the underlay."""


class MemberPath(NamedTuple):
    """
    One path to a member.

    Attributes:
        probe: the smallest request that takes it.
        full_bytes: the size of the largest packet that the link takes, before encapsulation.
        overhead_bytes: the bytes that encapsulation adds to a packet.
    """

    member: str
    probe: Probe
    full_bytes: int
    overhead_bytes: int

    @property
    def key(self) -> PathKey:
        return self.member, self.probe.hop.link, self.probe.remote

    @property
    def is_encapsulated(self) -> bool:
        return self.probe.encapsulation != DIRECT

    def sized(self, size_bytes: int) -> Probe:
        """A request of this size."""
        return replace(self.probe, size_bytes=size_bytes)

    @property
    def bare(self) -> Probe:
        """A request to the same member without encapsulation."""
        return replace(self.probe, encapsulation=DIRECT, frame=ProbeFrame(), by_routes=True)


class PathsInput(NamedTuple):
    """All that the paths depend on."""

    wanted: AbstractSet[NextHop]
    installed: AbstractSet[NextHop]
    links: AbstractSet[Link]
    wanted_links: AbstractSet[Link]
    neighbours: AbstractSet[Neighbour]
    addresses: AbstractSet[LinkAddress]
    intent: Intent
    node: Node

    def equals(self, before: PathsInput | None) -> bool:
        """True if the same paths follow; intents are compared as objects, for they are large."""
        if before is None or self.intent is not before.intent or self.node is not before.node:
            return False
        return all(one is other or one == other for one, other in zip(self[:6], before[:6], strict=True))


def paths_input(desired: Desired, observed: Dataplane, intent: Intent, node: Node) -> PathsInput:
    """The parts of these that the paths depend on."""
    wanted = desired.dataplane
    of_links = observed.links, wanted.links, wanted.neighbours, observed.addresses
    return PathsInput(wanted.next_hops, observed.next_hops, *of_links, intent, node)


def member_paths(desired: Desired, observed: Dataplane, intent: Intent, node: Node) -> tuple[MemberPath, ...]:
    """The paths of the next hops that are in the kernel as they are wanted, sorted by their keys."""
    situation = Situation(desired, observed, intent, node, NO_RESULTS, 0.0, nothing_advertised)
    found: dict[PathKey, MemberPath] = {}
    for hop in sorted(situation.member_next_hops & observed.next_hops):
        path = _path(situation, hop)
        if path:
            found.setdefault(path.key, path)
    paths = [found[key] for key in sorted(found)]
    near = [path for path in paths if same_subnet(node, path.probe.remote)]
    left_out = frozenset(path.key for path in near[MOST_NEIGHBOURS:])
    return tuple(path for path in paths if path.key not in left_out)


def _path(situation: Situation, hop: NextHop) -> MemberPath | None:
    probe = forward_probe(situation, hop)
    link = situation.observed.link(hop.link)
    if probe is None or link is None or probe.target != probe.remote:
        return None
    is_bare = probe.encapsulation == DIRECT
    overhead_bytes = 0 if is_bare else behaviour_of(probe.encapsulation).overhead_bytes(probe.remote.version)
    probe = replace(probe, by_routes=is_bare and _is_beside(situation.observed, hop.link, probe.remote))
    return MemberPath(situation.member_name(hop), probe, link.mtu_bytes, overhead_bytes)


def _is_beside(observed: Dataplane, link: str, remote: Address) -> bool:
    """
    True if the link's own network has the address: then the kernel's route to it leads where the next hop does. Where
    the file has a wider mask than the link, it leads to a router, and would prove another path.
    """
    return any(item.link == link and item.address.network.holds(remote) for item in observed.addresses)
