"""
What a node says it accepts, beside its blocks in BGP: the Encapsulation extended community of RFC 9012, section 4.1.

Only members of the cluster are told; there it says which tunnels a node takes packets from at this moment. A member
that says nothing, as Calico's, may accept anything.

Refuses to know: when a statement is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import reduce
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Dataplane, Vxlan

AdvertisedTunnels: TypeAlias = Callable[[Node, int], frozenset[Encapsulation]]
"""What a member says of one IP version in BGP; nothing at all if it says nothing."""


class AcceptedTunnels(NamedTuple):
    """The tunnels that a member accepts, as the cluster file says for it, or as it says itself."""

    tunnels: frozenset[Encapsulation]
    in_file: bool


_TUNNEL_TYPES: Final = {Encapsulation.IPIP: 7, Encapsulation.VXLAN: 8}
"""IANA's BGP Tunnel Encapsulation Attribute Tunnel Types."""
_ENCAPSULATION: Final = 0x030C
"""Type and sub-type, the first two octets of eight; the last two have the tunnel type."""
_TYPE_SHIFT: Final = 48
_TUNNEL_TYPE: Final = 0xFFFF
_NON_TRANSITIVE: Final = 0x4000
"""RFC 4360, section 2: not for another AS."""


def nothing_advertised(_: Node, __: int) -> frozenset[Encapsulation]:
    """For want of BGP."""
    return frozenset()


def communities(accepted: Iterable[Encapsulation]) -> tuple[int, ...]:
    """As extended communities."""
    return tuple(sorted(_ENCAPSULATION << _TYPE_SHIFT | _TUNNEL_TYPES[item] for item in accepted))


def accepted(extended: Collection[int]) -> frozenset[Encapsulation]:
    """What extended communities say; the four octets in the middle are reserved."""
    told = {community & _TUNNEL_TYPE for community in extended if community >> _TYPE_SHIFT == _ENCAPSULATION}
    return frozenset(item for item, number in _TUNNEL_TYPES.items() if number in told)


def transitive(extended: Iterable[int]) -> tuple[int, ...]:
    """Those that another AS may be told: what our tunnels accept is nobody else's business (RFC 9012, section 11)."""
    kinds = ((community, community >> _TYPE_SHIFT) for community in extended)
    return tuple(community for community, kind in kinds if kind != _ENCAPSULATION and not kind & _NON_TRANSITIVE)


def accepted_by_kernel(observed: Dataplane) -> Mapping[int, frozenset[Encapsulation]]:
    """What a node with this kernel takes packets from, by their IP version."""
    kinds = [link.kind for link in observed.links if link.owned]
    vxlan = {kind.local.version for kind in kinds if isinstance(kind, Vxlan) and kind.local}
    ipip = {4} if observed.decaps else set[int]()
    found = ((Encapsulation.IPIP, ipip), (Encapsulation.VXLAN, vxlan))
    return {version: frozenset(item for item, versions in found if version in versions) for version in (4, 6)}


def refusal(member: Node, wanted: Encapsulation, said: AdvertisedTunnels, version: int) -> AcceptedTunnels | None:
    """The statement about the member that does not have what is wanted in it."""
    told = said(member, version)
    if member.accepts is not None and wanted not in member.accepts:
        return AcceptedTunnels(member.accepts, in_file=True)
    return AcceptedTunnels(told, in_file=False) if told and wanted not in told else None


def advertised_tunnels(rib: AdjRibIn, inside: Collection[Address]) -> AdvertisedTunnels:
    """
    What members say of their own blocks: in their own sessions, or else by reflectors, of whom the slowest counts.
    Sessions that are down tell what was; peers that are not `inside` our AS cannot speak for a member.
    """
    tables = {peer: table for peer, table in rib.items() if table.established and peer in inside}

    def said(member: Node, version: int) -> frozenset[Encapsulation]:
        own = member.addresses
        direct = [tables[address] for address in own if address in tables]
        received = (
            table.paths.get(block)
            for table in direct or tables.values()
            for block in member.blocks
            if block.version == version
        )
        statements = [accepted(item.path.extended) for item in received if item and item.path.next_hop in own]
        return reduce(frozenset.intersection, filter(None, statements)) if any(statements) else frozenset()

    return said
