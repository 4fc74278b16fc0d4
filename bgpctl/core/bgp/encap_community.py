"""
The tunnels that a node accepts packets from, announced with its blocks: the Encapsulation extended community (RFC
9012, section 4.1).

A node derives its own statement from the kernel it observes, not from the cluster file: it announces a tunnel once
the device is there to receive by, and as long as it is. So the statement follows a migration step by step.

A statement of a member can only forbid. What it contains proves nothing, since the underlay may drop the
encapsulation (migration/probes.py proves it). Without any statement, as from Calico's nodes, every tunnel may be
accepted. The cluster file can forbid as well, for a member whose kernel accepts by chance what its operator does
not want; both count.

The community stays within the cluster (RFC 9012, section 11, wants a scope): it is sent to members alone, and
believed from peers in our AS alone, as a router outside could delay a migration by a false one. A member's own
session is believed before any reflector; of several reflectors the tunnels that all of them report count, because
one that is late still reports the tunnels that the member had before.

Refuses to know: when a statement is needed, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import reduce
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.peer_table import PeerTable
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import ENCAPSULATIONS, Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix

AdvertisedTunnels: TypeAlias = Callable[[Node, int], frozenset[Encapsulation]]
"""The tunnels that a member announces for one IP version; empty without a statement."""


class AcceptedTunnels(NamedTuple):
    """The tunnels that a member accepts: by the cluster file, or by its own statement in BGP."""

    tunnels: frozenset[Encapsulation]
    in_file: bool


_ENCAPSULATION: Final = 0x030C
"""Type and sub-type, the first two octets of eight; the last two have the tunnel type."""
_TYPE_SHIFT: Final = 48
_TUNNEL_TYPE: Final = 0xFFFF
_NON_TRANSITIVE: Final = 0x4000
"""RFC 4360, section 2: not for another AS."""


def nothing_advertised(_: Node, __: int) -> frozenset[Encapsulation]:
    """No member has made a statement: there is no BGP."""
    return frozenset()


def communities(accepted: Iterable[Encapsulation]) -> tuple[int, ...]:
    """The tunnels as extended communities."""
    return tuple(sorted(_ENCAPSULATION << _TYPE_SHIFT | item.tunnel_type for item in accepted if item.tunnel_type))


def accepted(extended: Collection[int]) -> frozenset[Encapsulation]:
    """The tunnels among extended communities; the four octets in the middle are reserved (RFC 9012, section 4.1)."""
    types = {community & _TUNNEL_TYPE for community in extended if community >> _TYPE_SHIFT == _ENCAPSULATION}
    return frozenset(item for item in ENCAPSULATIONS.values() if item.tunnel_type in types)


def transitive(extended: Iterable[int]) -> tuple[int, ...]:
    """Extended communities that may be sent to another AS: no non-transitive ones, no Encapsulation (section 11)."""
    kinds = ((community, community >> _TYPE_SHIFT) for community in extended)
    return tuple(community for community, kind in kinds if kind != _ENCAPSULATION and not kind & _NON_TRANSITIVE)


def refusal(member: Node, wanted: Encapsulation, advertised: AdvertisedTunnels, version: int) -> AcceptedTunnels | None:
    """The statement that forbids to send the member what is wanted; that of the cluster file comes first."""
    if member.accepts is not None and wanted not in member.accepts:
        return AcceptedTunnels(member.accepts, in_file=True)
    tunnels = advertised(member, version)
    return AcceptedTunnels(tunnels, in_file=False) if tunnels and wanted not in tunnels else None


def advertised_tunnels(adj_rib_in: AdjRibIn, inside: Collection[Address], intent: Intent) -> AdvertisedTunnels:
    """
    The statements in established sessions with the peers in `inside`, those in our AS: a session that is down has
    statements of the past.
    """
    tables = {peer: table for peer, table in adj_rib_in.items() if table.established and peer in inside}

    def advertised(member: Node, version: int) -> frozenset[Encapsulation]:
        own_sessions = [tables[address] for address in member.addresses if address in tables]
        blocks = [block for block in intent.blocks_of(member) if block.version == version]
        statements = _statements(own_sessions or tables.values(), member, blocks)
        return reduce(frozenset.intersection, statements) if statements else frozenset()

    return advertised


def _statements(
    tables: Iterable[PeerTable], member: Node, blocks: Collection[Prefix]
) -> list[frozenset[Encapsulation]]:
    """The statements beside paths to the member's blocks by its own address; a path without any is none."""
    received = (table.paths.get(block) for table in tables for block in blocks)
    found = (accepted(item.path.extended) for item in received if item and item.path.next_hop in member.addresses)
    return [tunnels for tunnels in found if tunnels]
