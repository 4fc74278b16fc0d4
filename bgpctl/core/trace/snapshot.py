"""
One kernel at one time, with all that decides about a packet: the dataplane that the agent observes, and what the agent
has no need of, which is read on demand (kernel/snapshot.py).

What could not be read is listed in `unread`, so that an answer can name it. An empty tuple of chains means that there
are none, not that they were not read.

Refuses to know: how it was read, packets.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, Route
from bgpctl.core.trace.netfilter import Chain


class OwnAddress(NamedTuple):
    """An address of a link. `secondary`: an earlier one has the same network (IFA_F_SECONDARY)."""

    link: str
    address: InterfaceAddress
    scope: int = 0
    secondary: bool = False


class Neighbour(enum.Enum):
    """The state of a neighbour that matters to a packet (NUD_…)."""

    KNOWN = "known"
    ASKED = "asked"
    """It is being asked for, and has not answered yet."""
    FAILED = "failed"
    """It was asked for and did not answer."""


class RouteDetails(NamedTuple):
    """
    Of a route what `Route` leaves out.

    Attributes:
        hops: link and gateway of each of several next hops; empty if there is one, or a next-hop object.
        source: the address that local packets get by it (`src`).
        mtu_bytes: the metric `mtu`; 0 for none.
    """

    hops: tuple[tuple[str | None, Address | None], ...] = ()
    source: Address | None = None
    mtu_bytes: int = 0


class LostPath(NamedTuple):
    """
    A path to a member by which probes are lost (core/proof).

    Attributes:
        link: by which the node sends its packets there.
        remote: the member's address on the underlay.
        passes_bytes: the largest packet that arrives, before encapsulation; 0 for none.
    """

    link: str
    remote: Address
    passes_bytes: int = 0


class Unread(NamedTuple):
    """Something that could not be read, or is not understood. `prefix`: it is only about packets to there."""

    subject: str
    reason: str
    prefix: Prefix | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Everything of one network namespace that decides about a packet.

    Attributes:
        dataplane: links, addresses, rules, routes but for the local table, next hops, tunnels and filters of ours.
        details: of routes that have any, by the route.
        local: the routes of the local table; None: those that follow from addresses.
        addresses: in the kernel's order.
        neighbours: by link and address.
        sysctls: values by name, with slashes.
        chains: base chains of other programs, with their rules.
        unread: what is not known.
        lost: paths to members by which probes are lost, as the agent knows them.
        declared: it is no kernel that was read, but the one that the cluster file would make.
        open_blocks: an address of its own blocks that no workload has stands for those that one may have.
    """

    dataplane: Dataplane
    details: Mapping[Route, RouteDetails] = field(default_factory=dict)
    local: tuple[Route, ...] | None = None
    addresses: tuple[OwnAddress, ...] = ()
    neighbours: Mapping[tuple[str, Address], Neighbour] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    chains: tuple[Chain, ...] = ()
    unread: tuple[Unread, ...] = ()
    lost: tuple[LostPath, ...] = ()
    declared: bool = False
    open_blocks: bool = False

    def link(self, name: str) -> Link | None:
        return self.dataplane.link(name)

    def has_address(self, address: Address) -> bool:
        """True if it is an address of one of the links."""
        return any(item.address.address == address for item in self.addresses)

    def links_with(self, address: Address) -> tuple[str, ...]:
        return tuple(item.link for item in self.addresses if item.address.address == address)

    def links_beside(self, address: Address) -> tuple[str, ...]:
        """The links in whose networks the address lies, the narrowest first."""
        found = [item for item in self.addresses if item.address.network.holds(address)]
        return tuple(item.link for item in sorted(found, key=lambda item: -item.address.length))

    def forwards(self, version: int, link: str) -> bool:
        """True if packets that arrive by the link are sent on (ip-sysctl)."""
        if version == 6:
            return self._number("net/ipv6/conf/all/forwarding") > 0
        own = self.sysctls.get(f"net/ipv4/conf/{link}/forwarding")
        return (own if own is not None else self.sysctls.get("net/ipv4/ip_forward", "0")) != "0"

    def reverse_path_filter(self, link: str) -> int:
        """0 off, 1 strict, 2 loose: the larger one of the link's value and that for all (RFC 3704)."""
        return max(self._number(f"net/ipv4/conf/{name}/rp_filter") for name in ("all", link))

    def accepts_local(self, link: str) -> bool:
        """True if packets from addresses of this host's own are taken."""
        return any(self._number(f"net/ipv4/conf/{name}/accept_local") for name in ("all", link))

    def _number(self, name: str) -> int:
        return int(self.sysctls.get(name, "0"))


def declared(dataplane: Dataplane) -> Snapshot:
    """The kernel that is this dataplane alone: what the agent switches on is on, and no other program has filters."""
    addresses = sorted(dataplane.addresses, key=lambda item: (item.link, item.address))
    own = tuple(OwnAddress(item.link, item.address) for item in addresses)
    switches = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
    given = {item.name: item.value for item in dataplane.sysctls}
    return Snapshot(dataplane, addresses=own, sysctls={**switches, **given}, declared=True, open_blocks=True)


def unread_about(snapshot: Snapshot, destination: Address) -> Iterable[Unread]:
    """The unread parts that are about packets to the destination alone."""
    return (item for item in snapshot.unread if item.prefix and item.prefix.holds(destination))
