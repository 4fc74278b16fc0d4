"""
The behaviour of an encapsulation: all that the core asks of one. One file each beside this one answers.

Refuses to know: which encapsulations there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.fabric.host import Check
from bgpctl.core.fabric.senders import Senders
from bgpctl.core.net.addresses import Address, Mac
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkKind, NextHop


@dataclass(frozen=True, slots=True)
class ProbeFrame:
    """The fields of a probe's packet beside its addresses: here none. An encapsulation that needs some has its own."""


@dataclass(frozen=True, slots=True)
class Site:
    """
    All that is derived from: the cluster, this node in it, and its kernel.

    Attributes:
        underlays: by IP version, where the node's own address is.
        links: the names of the tunnel devices that are wanted, by the name of the encapsulation and the IP version.
        senders: the other members, as those who may send tunnel packets.
    """

    intent: Intent
    node: Node
    observed: Dataplane
    underlays: Mapping[int, Underlay]
    links: Mapping[tuple[str, int], str]
    senders: Senders

    def link(self, encapsulation: Encapsulation, version: int) -> str:
        """The name of the tunnel device that is wanted."""
        return self.links[encapsulation.name, version]


def members_at(site: Site, version: int) -> tuple[Address, ...]:
    """The underlay addresses of all other members, sorted: who may send tunnel packets."""
    return site.senders.addresses[version]


class Behaviour(Protocol):
    """
    How one encapsulation behaves. DIRECT has no device, so that its methods about devices yield nothing.

    A tunnel has one device per IP version of the underlay, and carries packets of that version.
    """

    @property
    def encapsulation(self) -> Encapsulation:
        """Its identity."""

    @property
    def checks(self) -> Mapping[str, Check]:
        """The doctor's checks where a pool uses it, by the words for it."""

    # Packets ---------------------------------------------------------------------------------------------------

    def overhead_bytes(self, version: int) -> int:
        """The bytes that each packet grows by, the outer IP header included."""

    def mtu_bytes(self, configuration: Configuration, version: int, carrier_bytes: int) -> int:
        """The MTU inside a packet that leaves by a link with this MTU, unless the operator gives another one."""

    def udp_port(self, configuration: Configuration) -> int | None:
        """The port that its packets are received at; None if they are not UDP."""

    def incoming(self, configuration: Configuration) -> str:
        """The packets that a firewall has to let in, in words; empty if none."""

    # Its device ------------------------------------------------------------------------------------------------

    def link_names(self, version: int) -> tuple[str, ...]:
        """The names that its device may have, the usual one first."""

    def link_name(self, configuration: Configuration, version: int, observed: Dataplane) -> str:
        """The name of the device that is wanted."""

    def recognises(self, kind: LinkKind) -> bool:
        """True if a link of this kind is a device of this encapsulation."""

    def objects(self, site: Site, underlay: Underlay) -> Iterator[Reasoned]:
        """
        The device, and all it needs to receive from every other member. `underlay` has the smallest MTU of all links by
        which packets leave for these.
        """

    def member_objects(self, intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
        """
        All that the device `link` needs to send to one member. Of `intent` it may read pools and settings, and what
        this member was given: no other member is another one because this one changes.
        """

    def accepts(self, observed: Dataplane) -> frozenset[int]:
        """The IP versions of which a node with this kernel takes such packets from other members at this moment."""

    # To one remote ---------------------------------------------------------------------------------------------

    def is_reachable(self, intent: Intent, member: Node, version: int) -> bool:
        """True if the member has all that packets to it need."""

    def next_hop(self, site: Site, number: int, remote: Address, member: Node | None) -> NextHop | None:
        """The next hop, with the id `number`, to the node at `remote`, a member or not; None if nothing leads there."""

    def frame(self, link: Link | None, destination: Mac | None) -> ProbeFrame | None:
        """
        The fields of a probe's packet beside its addresses, for the prober of this encapsulation: `destination` is the
        permanent neighbour entry of the next hop's gateway. None if nothing can be sent yet.
        """
