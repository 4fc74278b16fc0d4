"""
rtnetlink messages → nouns; None for what bgpctl does not understand. Pure. Attributes may come in any order.

Refuses to know: sockets, which links are ours beyond their alias, which encapsulation a link is of.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Mac,
    Prefix,
)
from bgpctl.core.net.objects import (
    ALIAS,
    LOCAL_TABLE,
    PROTOCOL,
    WORKLOADS,
    FdbEntry,
    Link,
    LinkAddress,
    LinkKind,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    RouteType,
    Traffic,
)
from bgpctl.kernel.encode import (
    AF_BRIDGE,
    FAMILY,
    GROUP_ENTRY,
    IFADDRMSG,
    IFINFOMSG,
    NDA_DST,
    NDA_LLADDR,
    NDA_MASTER,
    NDA_SRC_VNI,
    NDMSG,
    NHA_GATEWAY,
    NHA_GROUP,
    NHA_ID,
    NHA_OIF,
    NHMSG,
    NTF_PROXY,
    NUD_PERMANENT,
    RT_SCOPE_LINK,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_MULTIPATH,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PRIORITY,
    RTA_TABLE,
    RTA_VIA,
    RTAX_MTU,
    RTMSG,
    RTNEXTHOP,
    RTNH_F_ONLINK,
)
from bgpctl.kernel.netlink import attribute, attributes

_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_LINKINFO: Final = 18
_IFLA_IFALIAS: Final = 20
_IFLA_GROUP: Final = 27
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_RESTLESS: Final = frozenset({"bridge", "bond", "hsr"})
"""Kinds with timers and counters among their details: a message about one need not report a change."""
_IFLA_STATS64: Final = 23
_STATS: Final = struct.Struct("=4Q")
"""struct rtnl_link_stats64 begins with packets received and sent, and the bytes of both."""
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_PROTO: Final = 11
_IFA_F_OPTIMISTIC: Final = 0x04
_IFA_F_TENTATIVE: Final = 0x40
_UNUSABLE: Final = _IFA_F_TENTATIVE | _IFA_F_OPTIMISTIC
"""Of these flags: tentative, unless it may be used optimistically (RFC 4429)."""

_IFF_UP: Final = 0x1
_IFF_RUNNING: Final = 0x40
RTM_F_CLONED: Final = 0x200
_MAC_BYTES: Final = 6
_RTNH_F_DEAD: Final = 1
_BY_NEXT_HOP: Final = struct.Struct("=BBHxBxBIIII4sIIII")
"""family, prefix length, source length and tos, protocol, type, flags; then each attribute's header and value"""
_BY_NEXT_HOP_FIXED: Final = (
    FAMILY[4],
    0,
    *(
        int.from_bytes(attribute(kind, bytes(4))[:4], sys.byteorder)
        for kind in (RTA_TABLE, RTA_DST, RTA_PRIORITY, RTA_NH_ID)
    ),
)

_PLAIN_NEXT_HOP: Final = struct.Struct("=BBBxIIIIII4s")
"""NHMSG, then each attribute's header and value"""
_PLAIN_NEXT_HOP_FIXED: Final = tuple(
    int.from_bytes(attribute(kind, bytes(4))[:4], sys.byteorder) for kind in (NHA_ID, NHA_OIF, NHA_GATEWAY)
)

_VERSION: Final = {family: version for version, family in FAMILY.items()}
SHOWN: Final = {
    int(kind): kind
    for kind in (RouteType.UNICAST, RouteType.BLACKHOLE, RouteType.UNREACHABLE, RouteType.PROHIBIT, RouteType.THROW)
}
"""Local, broadcast, anycast and multicast routes are the kernel's own."""

_GROUP_BIT: Final = 0x01
"""Of a MAC's first byte: multicast."""
_NO_MAC: Final = Mac("00:00:00:00:00:00")

FdbKey: TypeAlias = tuple[str, Mac]
"""Link and MAC."""

RouteNextHop: TypeAlias = tuple[str | None, Address | None]
"""A link and a gateway."""

Names = Mapping[int, str]
"""Interface index → link name."""


class LinkFacts(NamedTuple):
    """
    A link as one message shows it, other links by number. `number` is its interface index.

    `kind` is IFLA_INFO_KIND, `""` for hardware, and `details` are the attributes of that kind, for the encapsulation
    that has made it. `running` falls with the carrier, and takes next-hop objects along.
    """

    number: int
    name: str
    kind: str
    mtu_bytes: int
    mac: Mac | None
    up: bool
    running: bool
    alias: str
    details: bytes
    group: int = 0


def link_facts(body: bytes) -> LinkFacts:
    """The link of an RTM_NEWLINK or RTM_DELLINK."""
    _, _, index, flags, _ = IFINFOMSG.unpack_from(body)
    found = attributes(body, IFINFOMSG.size)
    info = attributes(found.get(_IFLA_LINKINFO, b""))
    kind = _text(info.get(_IFLA_INFO_KIND, b""))
    return LinkFacts(
        index,
        _text(found.get(_IFLA_IFNAME, b"")),
        kind,
        u32(found.get(_IFLA_MTU, bytes(4))),
        _mac(found.get(_IFLA_ADDRESS, b"")),
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_RUNNING),
        alias=_text(found.get(_IFLA_IFALIAS, b"")),
        details=b"" if kind in _RESTLESS else info.get(_IFLA_INFO_DATA, b""),
        group=u32(found.get(_IFLA_GROUP, bytes(4))),
    )


def link(facts: LinkFacts, kind: LinkKind | None = None) -> Link:
    """The link, of no encapsulation unless its kind is given."""
    known = kind or Plain(facts.kind)
    owned = facts.alias == ALIAS
    workload = not owned and facts.group == WORKLOADS
    return Link(facts.name, known, facts.mtu_bytes, facts.mac, facts.up, owned=owned, workload=workload)


def link_traffic(body: bytes) -> Traffic:
    """The counters of the link, from an RTM_NEWLINK."""
    stats = attributes(body, IFINFOMSG.size).get(_IFLA_STATS64, bytes(_STATS.size))
    received_packets, sent_packets, received_bytes, sent_bytes = _STATS.unpack_from(stats)
    return Traffic(received_packets, received_bytes, sent_packets, sent_bytes)


def link_address(body: bytes, names: Names) -> LinkAddress | None:
    """
    The address of an RTM_NEWADDR or RTM_DELADDR; None for an IPv6 one that cannot be used, while duplicate address
    detection runs or after it failed (RFC 4862, section 5.4). The kernel's notification comes when it has succeeded.
    """
    family, length, flags, _, index = IFADDRMSG.unpack_from(body)
    if family not in _VERSION or index not in names or flags & _UNUSABLE == _IFA_F_TENTATIVE:
        return None
    is_ours = attributes(body, IFADDRMSG.size).get(_IFA_PROTO) == bytes((PROTOCOL,))
    own = InterfaceAddress(address(own_address(body)), length)
    return LinkAddress(names[index], own, PROTOCOL if is_ours else 0)


def own_address(body: bytes) -> bytes:
    """The address itself. On a point-to-point link IFA_ADDRESS is the other end's."""
    found = attributes(body, IFADDRMSG.size)
    return found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")


def is_link_local(body: bytes) -> bool:
    """True if an RTM_NEWADDR is of an IPv6 link-local address."""
    family, _, _, scope, _ = IFADDRMSG.unpack_from(body)
    return bool(family == FAMILY[6] and scope == RT_SCOPE_LINK)


def neighbour(body: bytes, names: Names) -> Neighbour | None:
    """The permanent ARP or NDP entry of an RTM_NEWNEIGH."""
    family, index, state, _, _ = NDMSG.unpack_from(body)
    found = attributes(body, NDMSG.size)
    mac = _mac(found.get(NDA_LLADDR, b""))
    if family not in _VERSION or not state & NUD_PERMANENT or mac is None or index not in names:
        return None
    return Neighbour(names[index], address(found[NDA_DST]), mac)


def neighbour_key(body: bytes, names: Names) -> tuple[str, Address] | None:
    """The link and the address by which the kernel tells neighbours apart; None for one that is answered for others."""
    family, index, _, flags, _ = NDMSG.unpack_from(body)
    found = attributes(body, NDMSG.size)
    if family not in _VERSION or flags & NTF_PROXY or NDA_DST not in found:
        return None
    return names[index], address(found[NDA_DST])


def fdb_entry(body: bytes, names: Names) -> FdbEntry | None:
    """
    A permanent forwarding entry with a remote, which only tunnel devices have. Not one of a device for all VNIs, which
    has entries by MAC and VNI: ours has one.
    """
    family, index, state, _, _ = NDMSG.unpack_from(body)
    found = attributes(body, NDMSG.size)
    mac = _mac(found.get(NDA_LLADDR, b""))
    remote = found.get(NDA_DST)
    if family != AF_BRIDGE or not state & NUD_PERMANENT or mac is None or remote is None or index not in names:
        return None
    if NDA_SRC_VNI in found:
        return None
    return FdbEntry(names[index], mac, address(remote))


def fdb_key(body: bytes, names: Names) -> FdbKey | None:
    """The link and the MAC, the key of a tunnel device's forwarding entry; None for what `fdb_entry` never shows."""
    _, index, _, _, _ = NDMSG.unpack_from(body)
    found = attributes(body, NDMSG.size)
    mac = _mac(found.get(NDA_LLADDR, b""))
    return None if mac is None or NDA_MASTER in found or NDA_SRC_VNI in found else (names[index], mac)


def has_many_remotes(mac: Mac) -> bool:
    """True if a tunnel device may have several entries for it: multicast, or all else (vxlan_fdb_append)."""
    return mac == _NO_MAC or bool(int(mac[:2], 16) & _GROUP_BIT)


def next_hop_id(body: bytes) -> tuple[int, int]:
    """The id of a next hop or group, and the interface index of its link, 0 without one."""
    found = attributes(body, NHMSG.size)
    return u32(found[NHA_ID]), u32(found[NHA_OIF]) if NHA_OIF in found else 0


def next_hop(body: bytes, names: Names) -> NextHop | None:
    """A next-hop object with a link: neither a group nor a blackhole."""
    if len(body) == _PLAIN_NEXT_HOP.size:
        _, _, protocol, flags, h1, number, h2, index, h3, packed = _PLAIN_NEXT_HOP.unpack(body)
        if (h1, h2, h3) == _PLAIN_NEXT_HOP_FIXED and index in names:
            gateway = Address(4, int.from_bytes(packed, "big"))
            return NextHop(number, names[index], gateway, bool(flags & RTNH_F_ONLINK), protocol)
    return _any_next_hop(body, names)


def _any_next_hop(body: bytes, names: Names) -> NextHop | None:
    _, _, protocol, flags = NHMSG.unpack_from(body)
    found = attributes(body, NHMSG.size)
    index = u32(found[NHA_OIF]) if NHA_OIF in found else 0
    if index not in names:
        return None
    packed = found.get(NHA_GATEWAY)
    onlink = bool(flags & RTNH_F_ONLINK)
    return NextHop(u32(found[NHA_ID]), names[index], address(packed) if packed else None, onlink, protocol)


def group(body: bytes, _: Names) -> NextHopGroup | None:
    """A group of next-hop objects; the weights of its members are ignored."""
    family, _, protocol, _ = NHMSG.unpack_from(body)
    if family:  # a next hop's; a group has none (AF_UNSPEC)
        return None
    found = attributes(body, NHMSG.size)
    if NHA_GROUP not in found:
        return None
    members = (entry[0] for entry in GROUP_ENTRY.iter_unpack(found[NHA_GROUP]))
    return NextHopGroup(u32(found[NHA_ID]), tuple(sorted(members)), protocol)


def route(body: bytes, names: Names) -> Route | None:
    """
    A route of any table but the local one, selected by destination alone (no source prefix, no TOS).

    Of a multipath route only the first next hop: callers need one path to a remote.
    """
    return _by_next_hop(body) or _any_route(body, names)


def _by_next_hop(body: bytes) -> Route | None:
    """
    An IPv4 route by next-hop object with its attributes in the order in which the kernel writes them.

    Tables of 100,000 routes consist of these, and parsing attribute by attribute takes five times as long.
    """
    if len(body) < _BY_NEXT_HOP.size:
        return None
    fields = _BY_NEXT_HOP.unpack_from(body)
    family, length, matched, protocol, kind, flags, h1, table, h2, network, h3, metric, h4, number = fields
    if (family, matched, h1, h2, h3, h4) != _BY_NEXT_HOP_FIXED or flags & RTM_F_CLONED or table == LOCAL_TABLE:
        return None
    prefix = Prefix(4, int.from_bytes(network, "big"), length)
    return Route(prefix, SHOWN[kind], number, None, None, metric, table, protocol) if kind in SHOWN else None


def _any_route(body: bytes, names: Names) -> Route | None:
    family, length, source_length, tos, table, protocol, _, kind, flags = RTMSG.unpack_from(body)
    if kind not in SHOWN or family not in _VERSION or source_length or tos or flags & RTM_F_CLONED:
        return None
    found = attributes(body, RTMSG.size)
    table = u32(found[RTA_TABLE]) if RTA_TABLE in found else table
    if table == LOCAL_TABLE:
        return None
    version = _VERSION[family]
    prefix = Prefix(version, int.from_bytes(found.get(RTA_DST, b""), "big"), length)
    metric = u32(found[RTA_PRIORITY]) if RTA_PRIORITY in found else 0
    number = u32(found[RTA_NH_ID]) if RTA_NH_ID in found else 0
    # A next-hop object's expansion is not repeated, and IPv6 hangs blackholes on the loopback link.
    led = not number and kind == RouteType.UNICAST
    gateway, link_name = _route_next_hop(found, names) if led else (None, None)
    return Route(prefix, SHOWN[kind], number, gateway, link_name, metric, table, protocol, _mtu(found))


def _mtu(found: Mapping[int, bytes]) -> int:
    """The MTU in bytes among a route's metrics; 0 without one."""
    metrics = attributes(found[RTA_METRICS]) if RTA_METRICS in found else {}
    return u32(metrics[RTAX_MTU]) if RTAX_MTU in metrics else 0


def route_key(body: bytes) -> tuple[int, Prefix, int] | None:
    """Table, prefix and metric of a route of any type; None for one that `route` never shows, whatever its type."""
    family, length, source_length, tos, table, _, _, _, flags = RTMSG.unpack_from(body)
    if family not in _VERSION or source_length or tos or flags & RTM_F_CLONED:
        return None
    found = attributes(body, RTMSG.size)
    table = u32(found[RTA_TABLE]) if RTA_TABLE in found else table
    if table == LOCAL_TABLE:
        return None
    metric = u32(found[RTA_PRIORITY]) if RTA_PRIORITY in found else 0
    return table, Prefix(_VERSION[family], int.from_bytes(found.get(RTA_DST, b""), "big"), length), metric


def is_ipv6(body: bytes) -> bool:
    """True of a message whose body begins with the family of IPv6."""
    return body[0] == FAMILY[6]


def has_several_ways(body: bytes) -> bool:
    """True of a multipath route; one by a next-hop group has a single way, which is the group."""
    found = attributes(body, RTMSG.size)
    return RTA_MULTIPATH in found and RTA_NH_ID not in found


def owned_next_hop(body: bytes, _: Names) -> int | None:
    """The id of a next hop or group that is ours."""
    _, _, protocol, _ = NHMSG.unpack_from(body)
    return u32(attributes(body, NHMSG.size)[NHA_ID]) if protocol == PROTOCOL else None


def route_next_hops(body: bytes, names: Names) -> frozenset[RouteNextHop]:
    """The live next hops of a route without a next-hop object (no RTNH_F_DEAD)."""
    found = attributes(body, RTMSG.size)
    if RTA_NH_ID in found:
        return frozenset()
    if RTA_MULTIPATH in found:
        return frozenset(_live_next_hops(found[RTA_MULTIPATH], names))
    gateway, link_name = _route_next_hop(found, names)
    return frozenset({(link_name, gateway)})


def _live_next_hops(packed: bytes, names: Names) -> Iterator[RouteNextHop]:
    at = 0
    while at < len(packed):
        length, flags, _, index = RTNEXTHOP.unpack_from(packed, at)
        if not flags & _RTNH_F_DEAD:
            yield names.get(index), _gateway(attributes(packed[at : at + length], RTNEXTHOP.size))
        at += (length + 3) & ~3


def owner(body: bytes) -> tuple[int, int]:
    """A route's table and protocol, without decoding the rest."""
    _, _, _, _, table, protocol, _, _, _ = RTMSG.unpack_from(body)
    return table, protocol


def _route_next_hop(found: Mapping[int, bytes], names: Names) -> tuple[Address | None, str | None]:
    if RTA_MULTIPATH in found:
        return _first_next_hop(found[RTA_MULTIPATH], names)
    index = u32(found[RTA_OIF]) if RTA_OIF in found else 0
    return _gateway(found), names.get(index)


def _first_next_hop(hops: bytes, names: Names) -> tuple[Address | None, str | None]:
    length, _, _, index = RTNEXTHOP.unpack_from(hops)
    return _gateway(attributes(hops[:length], RTNEXTHOP.size)), names.get(index)


def _gateway(found: Mapping[int, bytes]) -> Address | None:
    if RTA_VIA in found:
        return address(found[RTA_VIA][2:])
    return address(found[RTA_GATEWAY]) if RTA_GATEWAY in found else None


def address(packed: bytes) -> Address:
    """Four bytes or sixteen."""
    return Address(4 if len(packed) == 4 else 6, int.from_bytes(packed, "big"))


def _mac(packed: bytes) -> Mac | None:
    """None where there is no Ethernet: a tunnel's link address is an IP address or nothing."""
    return Mac(packed.hex(":")) if len(packed) == _MAC_BYTES else None


def u32(packed: bytes) -> int:
    """In the host's byte order."""
    return int.from_bytes(packed, sys.byteorder)


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="replace")
