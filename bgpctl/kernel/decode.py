"""
Netlink bodies → our nouns. Layouts: rtnetlink(7), linux/if_link.h, linux/nexthop.h, linux/neighbour.h.

Refuses to know: sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, TypeAlias

from bgpctl.core.model import (
    ALIAS,
    Address,
    FdbEntry,
    InterfaceAddress,
    Link,
    LinkAddress,
    Mac,
    Neighbour,
    NextHop,
    Plain,
    Prefix,
    Route,
    RouteType,
    Vni,
    Vxlan,
)
from bgpctl.kernel.netlink import attributes

Names: TypeAlias = Mapping[int, str]
"""Link names by index."""

_VERSIONS: Final = {2: 4, 10: 6}
_U32: Final = struct.Struct("=I")
_IFINFO: Final = struct.Struct("=BxHiII")
_IFADDR: Final = struct.Struct("=BBBBI")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NHMSG: Final = struct.Struct("=BBBBI")
_NDMSG: Final = struct.Struct("=BxxxiHBB")
_AF_INET6: Final = 10
_SCOPE_LINK: Final = 253
_IFF_UP: Final = 1
_RTNH_F_ONLINK: Final = 4
_NUD_PERMANENT: Final = 0x80
_KEPT_TYPES: Final = {t.value for t in RouteType} - {
    RouteType.LOCAL,
    RouteType.BROADCAST,
    RouteType.ANYCAST,
    RouteType.MULTICAST,
}


def link_index(body: bytes) -> tuple[int, str]:
    """A link's index and name."""
    return _IFINFO.unpack_from(body)[2], _text(attributes(body, 16)[3])


def link(body: bytes, names: Names) -> tuple[Link, str]:
    """The link, and its IFLA_INFO_KIND."""
    found = attributes(body, 16)
    info = attributes(found.get(18, b""), 0)
    kind = _text(info.get(1, b""))
    hardware = found.get(1, b"")
    decoded = Link(
        name=_text(found[3]),
        kind=(_vxlan(info.get(2, b""), names) if kind == "vxlan" else None) or Plain(kind),
        mtu_bytes=_u32(found[4]),
        mac=Mac(hardware.hex(":")) if len(hardware) == 6 else None,
        up=bool(_IFINFO.unpack_from(body)[3] & _IFF_UP),
        owned=_text(found.get(20, b"")) == ALIAS,
    )
    return decoded, kind


def _vxlan(data: bytes, names: Names) -> Vxlan | None:
    found = attributes(data, 0)
    local = found.get(4) or found.get(17)
    if local is None or 1 not in found:
        return None
    underlay = names.get(_u32(found[3]), "") if 3 in found else ""
    return Vxlan(Vni(_u32(found[1])), int.from_bytes(found[15], "big"), _address(local), underlay)


def link_address(body: bytes, names: Names) -> LinkAddress | None:
    """None for IPv6 link-local addresses: every device makes its own, and nobody wants or unwants them."""
    family, length, _, scope, index = _IFADDR.unpack_from(body)
    if family == _AF_INET6 and scope == _SCOPE_LINK:
        return None
    found = attributes(body, 8)
    value = found.get(2) or found.get(1)
    name = names.get(index)
    return LinkAddress(name, InterfaceAddress(_address(value), length)) if value and name else None


def route(body: bytes, names: Names) -> Route | None:
    """None for what is no route of an operator's: local, broadcast and multicast entries, groups of next hops."""
    family, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(body)
    found = attributes(body, 12)
    if family not in _VERSIONS or kind not in _KEPT_TYPES:
        return None
    version = _VERSIONS[family]
    table = _u32(found[15]) if 15 in found else table
    number = _u32(found[30]) if 30 in found else 0
    via = None if number else found.get(5)
    out = None if number or 4 not in found else names.get(_u32(found[4]))
    return Route(
        prefix=Prefix(version, int.from_bytes(found.get(1, b""), "big"), length),
        type=RouteType(kind),
        next_hop=number,
        gateway=_address(via) if via else None,
        link=out if RouteType(kind) is RouteType.UNICAST else None,
        metric=_u32(found[6]) if 6 in found else 0,
        table=table,
        protocol=protocol,
    )


def next_hop(body: bytes, names: Names) -> NextHop | None:
    """None for groups and blackholes, which we never make."""
    _, _, protocol, _, flags = _NHMSG.unpack_from(body)
    found = attributes(body, 8)
    if 5 not in found:
        return None
    via = found.get(6)
    name = names.get(_u32(found[5]), "")
    return NextHop(_u32(found[1]), name, _address(via) if via else None, bool(flags & _RTNH_F_ONLINK), protocol)


def neighbour(body: bytes, names: Names) -> Neighbour | None:
    """None unless it is permanent and has a MAC."""
    _, index, state, _, _ = _NDMSG.unpack_from(body)
    found = attributes(body, 12)
    name = names.get(index)
    if not state & _NUD_PERMANENT or name is None or len(found.get(2, b"")) != 6:
        return None
    return Neighbour(name, _address(found[1]), Mac(found[2].hex(":")))


def fdb_entry(body: bytes, names: Names) -> FdbEntry | None:
    """None unless it is permanent and leads to a remote VTEP."""
    _, index, state, _, _ = _NDMSG.unpack_from(body)
    found = attributes(body, 12)
    name = names.get(index)
    if not state & _NUD_PERMANENT or name is None or 1 not in found or len(found.get(2, b"")) != 6:
        return None
    return FdbEntry(name, Mac(found[2].hex(":")), _address(found[1]))


def _u32(data: bytes) -> int:
    return int(_U32.unpack(data)[0])


def _address(data: bytes) -> Address:
    return Address(4 if len(data) == 4 else 6, int.from_bytes(data, "big"))


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
