"""
Nouns → rtnetlink requests. Every put replaces; metric, table and protocol are always explicit. Pure.

Refuses to know: link names (it is given interface indexes), sockets, answers.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, assert_never

from bgpctl.core.net.addresses import Address, Mac, Prefix
from bgpctl.core.net.objects import PROTOCOL, FdbEntry, Neighbour, NextHop, NextHopGroup, Route, RouteType
from bgpctl.kernel.netlink import NLM_F_CREATE, NLM_F_REPLACE, Request, attribute

Batched: TypeAlias = FdbEntry | Neighbour | NextHop | NextHopGroup | Route
"""The objects that are sent in batches, because there are many of them."""

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_NEWNEIGH: Final = 28
RTM_DELNEIGH: Final = 29
RTM_GETNEIGH: Final = 30
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
RTM_GETRULE: Final = 34
RTM_NEWNETCONF: Final = 80
RTM_NEWNEXTHOP: Final = 104
RTM_DELNEXTHOP: Final = 105
RTM_GETNEXTHOP: Final = 106

RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RTA_METRICS: Final = 8
RTA_MULTIPATH: Final = 9
RTA_TABLE: Final = 15
RTA_VIA: Final = 18
RTA_NH_ID: Final = 30
RTAX_MTU: Final = 2
"""Inside RTA_METRICS."""
NDA_DST: Final = 1
NDA_LLADDR: Final = 2
NDA_MASTER: Final = 9
NDA_SRC_VNI: Final = 11
NHA_ID: Final = 1
NHA_GROUP: Final = 2
NHA_OIF: Final = 5
NHA_GATEWAY: Final = 6

RTNH_F_ONLINK: Final = 4
NUD_PERMANENT: Final = 0x80
_NUD_NOARP: Final = 0x40
_NTF_SELF: Final = 2
NTF_PROXY: Final = 8
_RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
_RT_SCOPE_NOWHERE: Final = 255
_PUT: Final = NLM_F_CREATE | NLM_F_REPLACE

IFINFOMSG: Final = struct.Struct("=BxHiII")
"""family, hardware type, interface index, flags, change mask"""
IFADDRMSG: Final = struct.Struct("=BBBBI")
"""family, prefix length, flags, scope, interface index"""
RTMSG: Final = struct.Struct("=BBBBBBBBI")
"""family, prefix length, source length, tos, table, protocol, scope, type, flags"""
NDMSG: Final = struct.Struct("=BxxxiHBB")
"""family, interface index, state, flags, type"""
NHMSG: Final = struct.Struct("=BBBxI")
"""family, scope, protocol, flags"""
RTNEXTHOP: Final = struct.Struct("=HBBi")
"""length, flags, weight less one, interface index"""
GROUP_ENTRY: Final = struct.Struct("=IBBH")
"""struct nexthop_grp: id, weight less one, two reserved"""
_U32: Final = struct.Struct("=HHI")
_ROUTE_KEY: Final = {4: struct.Struct("=BBBBBBBBIHH4sHHIHHI"), 6: struct.Struct("=BBBBBBBBIHH16sHHIHHI")}
"""By IP version: RTMSG, then RTA_DST, RTA_PRIORITY and RTA_TABLE. Packed at once: there are 100,000 routes."""
_NEXT_HOP4: Final = struct.Struct("=BBBxIHHIHHIHH4s")
"""NHMSG, then NHA_ID, NHA_OIF and an IPv4 NHA_GATEWAY."""

_PROTOCOL_AT: Final = {
    **dict.fromkeys((RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE), 5),
    **dict.fromkeys((RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP), 2),
}
"""Where RTMSG and NHMSG have the protocol number."""

FAMILY: Final = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
AF_BRIDGE: Final = int(socket.AF_BRIDGE)


def exchanging(number: int) -> Callable[[int, bytes], bytes]:
    """
    The exchange of our protocol number for `number` in requests, and the reverse in answers, so that objects marked
    with ours are foreign. For hosts where another program uses our number.
    """
    exchanged = {PROTOCOL: number, number: PROTOCOL}

    def exchange(kind: int, body: bytes) -> bytes:
        at = _PROTOCOL_AT.get(kind)
        if at is None or body[at] not in exchanged:
            return body
        return body[:at] + bytes([exchanged[body[at]]]) + body[at + 1 :]

    return exchange


def put(obj: Batched, link_index: int, *, unset: bool = False) -> Request:
    """
    Create the object or replace the one with the same key. `link_index` is that of its link, 0 without one. `unset`: a
    route without metrics says so (route_metrics.py).
    """
    match obj:
        case Route():  # first, because there are most of them
            return Request(RTM_NEWROUTE, _PUT, _route(obj, link_index, unset=unset))
        case NextHop():
            return Request(RTM_NEWNEXTHOP, _PUT, _next_hop(obj, link_index))
        case NextHopGroup():
            return Request(RTM_NEWNEXTHOP, _PUT, _group(obj))
        case Neighbour():
            body = NDMSG.pack(FAMILY[obj.address.version], link_index, NUD_PERMANENT, 0, 0)
            lladdr = attribute(NDA_LLADDR, _mac(obj.mac))
            return Request(RTM_NEWNEIGH, _PUT, body + attribute(NDA_DST, obj.address.packed) + lladdr)
        case FdbEntry():
            body = NDMSG.pack(AF_BRIDGE, link_index, NUD_PERMANENT | _NUD_NOARP, _NTF_SELF, 0)
            remote = attribute(NDA_DST, obj.remote.packed)
            return Request(RTM_NEWNEIGH, _PUT, body + attribute(NDA_LLADDR, _mac(obj.mac)) + remote)
        case _:
            assert_never(obj)


def remove(obj: Batched, link_index: int) -> Request:
    """Remove the object with this key. A route only if its protocol is the given one too: others' stay."""
    match obj:
        case Route():
            # Scope and type as wildcards: the key does not contain them.
            return Request(RTM_DELROUTE, 0, _route_key(obj, scope=_RT_SCOPE_NOWHERE, kind=0))
        case NextHop() | NextHopGroup():
            return Request(RTM_DELNEXTHOP, 0, NHMSG.pack(0, 0, 0, 0) + _U32.pack(8, NHA_ID, obj.id))
        case Neighbour():
            body = NDMSG.pack(FAMILY[obj.address.version], link_index, 0, 0, 0)
            return Request(RTM_DELNEIGH, 0, body + attribute(NDA_DST, obj.address.packed))
        case FdbEntry():
            body = NDMSG.pack(AF_BRIDGE, link_index, 0, _NTF_SELF, 0)
            return Request(RTM_DELNEIGH, 0, body + attribute(NDA_LLADDR, _mac(obj.mac)))
        case _:
            assert_never(obj)


def _route(route: Route, link_index: int, *, unset: bool) -> bytes:
    key = _route_key(route, scope=_scope(route), kind=route.type)
    key += _metrics(route) or (attribute(RTA_METRICS, b"") if unset and route.next_hop else b"")
    if route.next_hop:
        return key + _U32.pack(8, RTA_NH_ID, route.next_hop)
    oif = _U32.pack(8, RTA_OIF, link_index) if link_index else b""
    return key + oif + (_gateway(route.prefix, route.gateway) if route.gateway else b"")


def put_multipath(route: Route, hops: Sequence[tuple[NextHop, int]]) -> Request:
    """Create or replace a route with all of `hops`, at least one, each with the index of its link."""
    scope = _RT_SCOPE_UNIVERSE if any(hop.gateway for hop, _ in hops) else RT_SCOPE_LINK
    packed = b"".join(_multipath_hop(route.prefix, hop, index) for hop, index in hops)
    key = _route_key(route, scope=scope, kind=route.type) + _metrics(route)
    return Request(RTM_NEWROUTE, _PUT, key + attribute(RTA_MULTIPATH, packed))


def _metrics(route: Route) -> bytes:
    return attribute(RTA_METRICS, _U32.pack(8, RTAX_MTU, route.mtu_bytes)) if route.mtu_bytes else b""


def _multipath_hop(prefix: Prefix, hop: NextHop, link_index: int) -> bytes:
    gateway = _gateway(prefix, hop.gateway) if hop.gateway else b""
    flags = RTNH_F_ONLINK if hop.onlink and gateway else 0
    return RTNEXTHOP.pack(RTNEXTHOP.size + len(gateway), flags, 0, link_index) + gateway


def _route_key(route: Route, *, scope: int, kind: int) -> bytes:
    version, network, length = route.prefix
    size = 4 if version == 4 else 16
    # The header has one byte for the table; RTA_TABLE overrides it.
    header = (FAMILY[version], length, 0, 0, 0, route.protocol, scope, kind, 0)
    destination = (4 + size, RTA_DST, network.to_bytes(size, "big"))
    return _ROUTE_KEY[version].pack(*header, *destination, 8, RTA_PRIORITY, route.metric, 8, RTA_TABLE, route.table)


def _scope(route: Route) -> int:
    """IPv4 requires scope link for a route without a gateway; IPv6 ignores the scope."""
    on_link = not route.next_hop and route.gateway is None and route.type is RouteType.UNICAST
    return RT_SCOPE_LINK if on_link else _RT_SCOPE_UNIVERSE


def _gateway(prefix: Prefix, gateway: Address) -> bytes:
    if gateway.version == prefix.version:
        return attribute(RTA_GATEWAY, gateway.packed)
    return attribute(RTA_VIA, struct.pack("=H", FAMILY[gateway.version]) + gateway.packed)  # RFC 5549


def _next_hop(next_hop: NextHop, link_index: int) -> bytes:
    gateway = next_hop.gateway
    flags = RTNH_F_ONLINK if next_hop.onlink else 0
    if gateway and gateway.version == 4:
        id_and_link = (8, NHA_ID, next_hop.id, 8, NHA_OIF, link_index)
        return _NEXT_HOP4.pack(FAMILY[4], 0, next_hop.protocol, flags, *id_and_link, 8, NHA_GATEWAY, gateway.packed)
    # Without a gateway the family is IPv4's: an IPv4 route cannot use an IPv6 next hop.
    header = NHMSG.pack(FAMILY[6 if gateway else 4], 0, next_hop.protocol, flags)
    numbers = _U32.pack(8, NHA_ID, next_hop.id) + _U32.pack(8, NHA_OIF, link_index)
    return header + numbers + (attribute(NHA_GATEWAY, gateway.packed) if gateway else b"")


def _group(group: NextHopGroup) -> bytes:
    entries = b"".join(GROUP_ENTRY.pack(member, 0, 0, 0) for member in group.members)
    return NHMSG.pack(0, 0, group.protocol, 0) + _U32.pack(8, NHA_ID, group.id) + attribute(NHA_GROUP, entries)


def _mac(mac: Mac) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
