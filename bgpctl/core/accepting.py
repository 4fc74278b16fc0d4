"""
What a node says it accepts, beside its blocks in BGP: the Encapsulation extended community of RFC 9012, section 4.1.

Only members of the cluster are told; there it says which tunnels a node takes packets from at this moment. A member
that says nothing, as Calico's, may accept anything.

Refuses to know: when a statement is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from bgpctl.core.cluster import Encapsulation, Node
from bgpctl.core.model import Dataplane, Vxlan
from bgpctl.core.rib import Rib
from bgpctl.core.terms import addresses

Said: TypeAlias = Callable[[Node, int], frozenset[Encapsulation]]
"""What a member says of one IP version; nothing at all if it says nothing."""

_TUNNEL_TYPES: Final = {Encapsulation.IPIP: 7, Encapsulation.VXLAN: 8}
"""IANA's BGP Tunnel Encapsulation Attribute Tunnel Types."""
_ENCAPSULATION: Final = 0x030C
"""Type and sub-type, the first two octets of eight; the last two have the tunnel type."""
_TYPE_SHIFT: Final = 48
_NON_TRANSITIVE: Final = 0x4000
"""RFC 4360, section 2: not for another AS."""


def nobody_says(_: Node, __: int) -> frozenset[Encapsulation]:
    """For want of BGP."""
    return frozenset()


def communities(accepted: Iterable[Encapsulation]) -> tuple[int, ...]:
    """As extended communities."""
    return tuple(sorted(_ENCAPSULATION << _TYPE_SHIFT | _TUNNEL_TYPES[item] for item in accepted))


def accepted(extended: Iterable[int]) -> frozenset[Encapsulation]:
    """What extended communities say."""
    return frozenset(item for item in _TUNNEL_TYPES if communities([item])[0] in extended)


def may_leave(extended: Iterable[int]) -> tuple[int, ...]:
    """Those that another AS may be told: what our tunnels accept is nobody else's business (RFC 9012, section 11)."""
    kinds = ((community, community >> _TYPE_SHIFT) for community in extended)
    return tuple(community for community, kind in kinds if kind != _ENCAPSULATION and not kind & _NON_TRANSITIVE)


def received_now(observed: Dataplane) -> Mapping[int, frozenset[Encapsulation]]:
    """What a node with this kernel takes packets from, by their IP version."""
    kinds = [link.kind for link in observed.links if link.owned]
    vxlan = {kind.local.version for kind in kinds if isinstance(kind, Vxlan) and kind.local}
    ipip = {4} if observed.decaps else set[int]()
    found = ((Encapsulation.IPIP, ipip), (Encapsulation.VXLAN, vxlan))
    return {version: frozenset(item for item, versions in found if version in versions) for version in (4, 6)}


def said_in(rib: Rib) -> Said:
    """What members say of their own blocks, directly or through reflectors."""

    def said(member: Node, version: int) -> frozenset[Encapsulation]:
        own = addresses(member)
        blocks = [block for block in member.blocks if block.version == version]
        received = (table.paths.get(block) for table in rib.values() for block in blocks)
        paths = (item.path for item in received if item and item.path.next_hop in own)
        return frozenset(item for path in paths for item in accepted(path.extended))

    return said
