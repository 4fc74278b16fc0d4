"""
Operations → netlink messages, for the kinds that are sent in batches. Layouts as in decode.py.

Always replace, never delete and add; metric, table and protocol are always explicit.

Refuses to know: sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, TypeAlias

from bgpctl.core.effects import Op, Put
from bgpctl.core.model import Address, FdbEntry, Neighbour, NextHop, Route, RouteType
from bgpctl.kernel.netlink import DELETE, PUT, Message, attribute

Indexes: TypeAlias = Mapping[str, int]
"""Link indexes by name."""

Batched: TypeAlias = Route | NextHop | Neighbour | FdbEntry

_FAMILIES: Final = {4: 2, 6: 10}
_AF_BRIDGE: Final = 7
_U32: Final = struct.Struct("=I")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NHMSG: Final = struct.Struct("=BBBBI")
_NDMSG: Final = struct.Struct("=BxxxiHBB")
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_RTM_NEWNEXTHOP, _RTM_DELNEXTHOP = 104, 105
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_RTNH_F_ONLINK: Final = 4
_NUD_PERMANENT, _NUD_NOARP = 0x80, 0x40
_NTF_SELF: Final = 2


def message(op: Op, thing: Batched, indexes: Indexes) -> Message:
    """Raises KeyError for a link that does not exist."""
    put = isinstance(op, Put)
    match thing:
        case Route():
            return Message(_RTM_NEWROUTE if put else _RTM_DELROUTE, PUT if put else DELETE, _route(thing, indexes))
        case NextHop():
            body = _next_hop(thing, indexes) if put else _NHMSG.pack(0, 0, 0, 0, 0) + attribute(1, _U32.pack(thing.id))
            return Message(_RTM_NEWNEXTHOP if put else _RTM_DELNEXTHOP, PUT if put else DELETE, body)
        case Neighbour():
            body = _NDMSG.pack(_FAMILIES[thing.address.version], indexes[thing.link], _NUD_PERMANENT, 0, 1)
            body += attribute(1, thing.address.packed) + attribute(2, _mac(thing.mac))
            return Message(_RTM_NEWNEIGH if put else _RTM_DELNEIGH, PUT if put else DELETE, body)
        case FdbEntry():
            body = _NDMSG.pack(_AF_BRIDGE, indexes[thing.link], _NUD_PERMANENT | _NUD_NOARP, _NTF_SELF, 0)
            body += attribute(2, _mac(thing.mac)) + attribute(1, thing.remote.packed)
            return Message(_RTM_NEWNEIGH if put else _RTM_DELNEIGH, PUT if put else DELETE, body)


def _route(route: Route, indexes: Indexes) -> bytes:
    scope = _SCOPE_UNIVERSE if route.type is not RouteType.UNICAST or route.next_hop or route.gateway else _SCOPE_LINK
    family = _FAMILIES[route.prefix.version]
    table = route.table if route.table < 256 else 0
    body = _RTMSG.pack(family, route.prefix.length, 0, 0, table, route.protocol, scope, route.type, 0)
    body += attribute(1, route.prefix.first.packed) + attribute(6, _U32.pack(route.metric))
    body += attribute(15, _U32.pack(route.table))
    if route.next_hop:
        return body + attribute(30, _U32.pack(route.next_hop))
    if route.gateway:
        body += attribute(5, route.gateway.packed)
    return body + (attribute(4, _U32.pack(indexes[route.link])) if route.link else b"")


def _next_hop(hop: NextHop, indexes: Indexes) -> bytes:
    family = _FAMILIES[hop.gateway.version] if hop.gateway else _FAMILIES[4]
    body = _NHMSG.pack(family, _SCOPE_UNIVERSE, hop.protocol, 0, _RTNH_F_ONLINK if hop.onlink else 0)
    body += attribute(1, _U32.pack(hop.id)) + attribute(5, _U32.pack(indexes[hop.link]))
    return body + (_gateway(hop.gateway) if hop.gateway else b"")


def _gateway(gateway: Address) -> bytes:
    return attribute(6, gateway.packed)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
