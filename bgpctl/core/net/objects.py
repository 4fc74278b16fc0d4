"""Kernel objects of one network namespace. Values only.

Everything here is frozen and hashable. Objects that come by the hundred thousand (Route, NextHop, Neighbour,
FdbEntry) are NamedTuples: they hash and compare in C. Links and whole dataplanes are frozen dataclasses.

Refuses to know: where a value came from, how it is written to a kernel, what time it is.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix

PROTOCOL: Final = 179
"""Route and next-hop protocol number of everything bgpctl installs (the BGP port; unnamed in iproute2's rt_protos)."""
METRIC: Final = 1024
"""Explicit, because IPv6 turns an omitted metric into 1024 and another metric would be a second route."""
DEFAULT_TABLE: Final = 253
MAIN_TABLE: Final = 254
LOCAL_TABLE: Final = 255
"""The RT_TABLE_ numbers of rtnetlink(7)."""
ALIAS: Final = "bgpctl"
"""IFLA_IFALIAS of the links bgpctl made or adopted."""
WORKLOADS: Final = 179
"""IFLA_GROUP of the links that lead to workloads (bgpctl/attach); unnamed in iproute2's group."""


# Kernel objects ------------------------------------------------------------------------------------------------


class Sysctl(NamedTuple):
    """A value below /proc/sys. `name` is the path there, with slashes because link names have dots."""

    name: str
    value: str


class LinkKind:
    """
    The kind of a link, and what the kernel makes of links of that kind: here the answers for most.

    Each encapsulation has a kind of its own. Kinds are values: two that are equal need nothing done.
    """

    __slots__ = ()

    def stands_on(self) -> str | None:
        """The link without which such a link cannot be made (ENODEV), and with which it goes."""
        return None

    def excludes(self) -> Hashable | None:
        """Of all links with this in common there can be one in a network namespace (EEXIST)."""
        return None

    def entries_version(self) -> int | None:
        """The IP version of the remotes in its forwarding entries; None if it takes no entries (EOPNOTSUPP)."""
        return None

    def refusal(self, present: Link) -> int:
        """The errno with which a link of the same name refuses to become such a link in place; 0 if it does not."""
        return 0 if present.owned or present.kind == self else errno.EEXIST

    def is_made_in_place_of(self, present: LinkKind) -> bool:
        """True if putting it removes such a link of the same name first, with all that stands on that."""
        del present
        return False

    def driver(self) -> str:
        """The part of the kernel that moves the packets."""
        return "kernel"

    def with_driver(self, driver: str) -> LinkKind:
        """The kind of link that another driver sees in it."""
        del driver
        return self

    def wire(self) -> Mapping[str, int]:
        """The numbers that its packets carry, by their names."""
        return {}

    def sends_from(self) -> Address | None:
        """The outer source address of its packets, if that is an attribute of the link; else its Decap's `local` is."""
        return None

    def sending_from(self, local: Address) -> LinkKind:
        """The same kind of link with another outer source address, where that is an attribute of the link."""
        del local
        return self


@dataclass(frozen=True, slots=True, order=True)
class Plain(LinkKind):
    """A link of no encapsulation; never ours. `kind` is IFLA_INFO_KIND, `""` for hardware."""

    kind: str


@dataclass(frozen=True, slots=True)
class Link:
    """
    A network device. MTU in bytes; `up` is the administrative state; `owned`: it carries our alias; `workload`: a
    foreign one in the group of those that lead to workloads.
    """

    name: str
    kind: LinkKind
    mtu_bytes: int
    mac: Mac | None = None
    up: bool = True
    owned: bool = True
    workload: bool = False


class LinkAddress(NamedTuple):
    """
    An address on a link. `protocol` is PROTOCOL if it is marked as ours (IFA_PROTO, since Linux 5.18), which only one
    on a link that is not ours needs; 0 otherwise, whatever the kernel has there.
    """

    link: str
    address: InterfaceAddress
    protocol: int = 0


class Decap(NamedTuple):
    """
    Tunnel packets to `local` come out of `link`, but only those sent by `sources`.

    So do those to `also`, other addresses of the node; what is sent comes from `local`. `sources` and `also` are
    sorted. One per link. The link named `underlay` carries the addresses; IP in IP is let in from there alone.
    """

    link: str
    underlay: str
    local: Address
    sources: tuple[Address, ...]
    also: tuple[Address, ...] = ()

    @property
    def own(self) -> tuple[Address, ...]:
        """Where packets may be sent to."""
        return tuple(sorted((self.local, *self.also)))


class InnerFilter(NamedTuple):
    """
    Of the packets that come out of the tunnel device `link` only those pass whose inner source is in `sources` or one
    of `members`, and whose inner destination is in `destinations`; and echo requests from these to `own`, which are
    probes. Nothing else does: no ARP, and no router or neighbour discovery.

    All are sorted and of one IP version; no prefix overlaps another of its tuple. One per link. The MSS option of a TCP
    SYN is lowered to `most_segment_bytes`; 0 leaves it as it is.
    """

    link: str
    version: int
    members: tuple[Address, ...]
    own: tuple[Address, ...]
    sources: tuple[Prefix, ...]
    destinations: tuple[Prefix, ...]
    most_segment_bytes: int = 0


class WorkloadFilter(NamedTuple):
    """
    By links that lead to workloads comes only what a workload may send: from addresses whose route leads to that link,
    no tunnel packets out of the pools (`inside`) by any of `udp_ports` and none in IP at all, no BGP (TCP `bgp_port`)
    out of the pools, no ARP and no neighbour or router discovery. This node's BGP is out of reach from the pools, but
    for `neighbours`: addresses there that are nodes' or BGP peers'. The channel between agents (TCP `channel_port`, 0
    without) is as BGP.

    What leaves the pools from `masqueraded` is known to connection tracking, or is dropped. All are sorted; prefixes
    are of both IP versions. One per network namespace.
    """

    inside: tuple[Prefix, ...]
    masqueraded: tuple[Prefix, ...]
    udp_ports: tuple[int, ...]
    bgp_port: int
    neighbours: tuple[Address, ...] = ()
    channel_port: int = 0


class Drops(NamedTuple):
    """
    Packets that a filter at a link has dropped for one reason, since the link has it; no object of the kernel.

    `last` is the source address of the last one, for about an hour: the outer one of a tunnel packet that was not let
    in, the inner one of a packet that came out of a tunnel. None where it is not known.
    """

    reason: str
    packets: int
    last: Address | None = None


class Traffic(NamedTuple):
    """
    Counters of a tunnel device, inner packets, since it or its programs were made; no object of the kernel.

    `dropped_packets` came from sources that are not known; None where none are dropped or it cannot be counted. `drops`
    are these by reason, where that is known.
    """

    received_packets: int
    received_bytes: int
    sent_packets: int
    sent_bytes: int
    dropped_packets: int | None = None
    drops: tuple[Drops, ...] = ()


class Masquerade(NamedTuple):
    """
    Packets from `sources` to anywhere outside `inside` leave with this node's own address (natOutgoing): by `link` with
    `address`, whatever other addresses it has or gets; by others with the one that the kernel chooses there.

    Both are sorted and of one IP version, and there is a source. UDP packets leave from `udp_ports`, the first to the
    last: from others they would be taken for packets of a tunnel. TCP to `bgp_ports` keeps its source: with a node's
    address a workload would be a peer. One per IP version.
    """

    sources: tuple[Prefix, ...]
    inside: tuple[Prefix, ...]
    udp_ports: tuple[int, int]
    bgp_ports: tuple[int, ...] = ()
    link: str = ""
    address: Address | None = None

    @property
    def version(self) -> int:
        return self.sources[0].version


class Neighbour(NamedTuple):
    """A permanent ARP or NDP entry."""

    link: str
    address: Address
    mac: Mac


class FdbEntry(NamedTuple):
    """A permanent forwarding entry of a tunnel device: frames to `mac` go to the tunnel end at `remote`."""

    link: str
    mac: Mac
    remote: Address


class NextHop(NamedTuple):
    """A next-hop object (RTM_NEWNEXTHOP). `gateway` None means on-link delivery."""

    id: int
    link: str
    gateway: Address | None
    onlink: bool
    protocol: int = PROTOCOL


class NextHopGroup(NamedTuple):
    """
    A next-hop object among whose `members`, ids of next hops in ascending order, flows are spread evenly.

    It has its id in common with next hops: the kernel numbers both alike.
    """

    id: int
    members: tuple[int, ...]
    protocol: int = PROTOCOL


class RouteType(enum.IntEnum):
    """The RTN_ values of rtnetlink(7) that a routing table can have."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9


class Route(NamedTuple):
    """
    A route. The kernel's key is (table, prefix, metric); a lower metric wins.

    Ours name a next-hop object or group in `next_hop` (0: none) and leave `gateway` and `link` empty;
    for a route by next-hop object the kernel's expansion of it is not repeated here. No larger packet than `mtu_bytes`
    is sent by it (RTAX_MTU); 0: the link decides.
    """

    prefix: Prefix
    type: RouteType = RouteType.UNICAST
    next_hop: int = 0
    gateway: Address | None = None
    link: str | None = None
    metric: int = METRIC
    table: int = MAIN_TABLE
    protocol: int = PROTOCOL
    mtu_bytes: int = 0


class RuleAction(enum.IntEnum):
    """The FR_ACT_ values of linux/fib_rules.h."""

    TABLE = 1
    GOTO = 2
    NOP = 3
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


class Rule(NamedTuple):
    """
    A policy rule (ip-rule(8)), which sends a lookup to a table. Never ours: no operation names one.

    The kernel consults the rules of an IP version by ascending `priority`, those of equal priority in the order of
    their addition (`place`). `destination` None is every destination. `selector` is empty, or names what else than
    the destination selects packets (fwmark, iif, from, uidrange, …), in ip-rule's words. An `inverted` rule matches
    the packets that its selectors do not match. `suppress_prefixlength`: routes with a prefix of at most that
    length do not count; -1 for none. `goto` is the priority of the rule to go on with.
    """

    version: int
    priority: int
    table: int = MAIN_TABLE
    action: RuleAction = RuleAction.TABLE
    destination: Prefix | None = None
    selector: str = ""
    inverted: bool = False
    suppress_prefixlength: int = -1
    goto: int = 0
    place: int = 0


KernelObject: TypeAlias = (
    Sysctl
    | Link
    | LinkAddress
    | InnerFilter
    | WorkloadFilter
    | Decap
    | Masquerade
    | FdbEntry
    | Neighbour
    | NextHop
    | NextHopGroup
    | Route
)
"""A kernel object that an operation can be about."""

Key: TypeAlias = tuple[str | int | Address | Prefix | InterfaceAddress, ...]


def key_of(obj: KernelObject) -> Key:
    """The kernel's key of an object among those of its kind; the first item names the kind."""
    match obj:
        case Route():  # first, because there are most of them
            return ("route", obj.table, obj.prefix, obj.metric)
        case Sysctl():
            return ("sysctl", obj.name)
        case Link():
            return ("link", obj.name)
        case LinkAddress():
            return ("address", obj.link, obj.address)
        case InnerFilter():
            return ("inner-filter", obj.link)
        case WorkloadFilter():
            return ("workload-filter",)
        case Decap():
            return ("decap", obj.link)
        case Masquerade():
            return ("masquerade", obj.version)
        case FdbEntry():
            return ("fdb", obj.link, obj.mac)
        case Neighbour():
            return ("neighbour", obj.link, obj.address)
        case NextHop() | NextHopGroup():
            return ("next-hop", obj.id)


def keys_of(routes: Iterable[Route]) -> list[Key]:
    """`key_of` each, in half the time: there are 100,000."""
    return [("route", table, prefix, metric) for prefix, _, _, _, _, metric, table, _, _ in routes]


def link_of_sysctl(name: str) -> str | None:
    """The link that a per-link sysctl belongs to; None for the others, `all` and `default` included."""
    match name.split("/"):
        case ["net", _, "conf" | "neigh", link, _] if link not in {"all", "default"}:
            return link
        case _:
            return None
