"""
Echo requests as bytes (RFC 792, RFC 4443), and the socket filter that tells their answers from all other packets.

Refuses to know: how they are sent, what an answer is good for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address

_HOPS: Final = 64
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_ECHO: Final = struct.Struct("!BBHHH")
_INSTRUCTION: Final = struct.Struct("=HBBI")
_ETHERTYPE: Final = 0xFFFFF000
"""Where a filter finds it: SKF_AD_OFF + SKF_AD_PROTOCOL, linux/filter.h."""
_LOAD_BYTE, _LOAD_HALF, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x28, 0x15, 0x06


class Family(NamedTuple):
    """Differences between the two IP versions; `protocol_at` is where the header says what follows it."""

    family: socket.AddressFamily
    ethertype: int
    protocol: int
    request: int
    reply: int
    header_bytes: int
    protocol_at: int


FAMILIES: Final = {
    4: Family(socket.AF_INET, 0x0800, socket.IPPROTO_ICMP, 8, 0, _IPV4.size, 9),
    6: Family(socket.AF_INET6, 0x86DD, socket.IPPROTO_ICMPV6, 128, 129, _IPV6.size, 6),
}


def request(source: Address, target: Address, ident: int, number: int) -> bytes:
    """A whole packet."""
    family = FAMILIES[source.version]
    # ICMPv6 sums up the addresses too (RFC 4443, section 2.3).
    beside = _pseudo_header(source, target) if source.version == 6 else b""
    bare = _ECHO.pack(family.request, 0, 0, ident, number)
    return header(_ECHO.size, family.protocol, source, target) + _ECHO.pack(
        family.request, 0, _checksum(beside + bare), ident, number
    )


def header(length: int, protocol: int, source: Address, target: Address) -> bytes:
    """The IP header of a packet with `length` bytes after it."""
    if source.version == 6:
        return _IPV6.pack(6 << 28, length, protocol, _HOPS, source.packed, target.packed)
    fields = (0x45, 0, _IPV4.size + length, 0, 0, _HOPS, protocol)
    bare = _IPV4.pack(*fields, 0, source.packed, target.packed)
    return _IPV4.pack(*fields, _checksum(bare), source.packed, target.packed)


class Reply(NamedTuple):
    """The number in the answer to a request; `outer`: the source of the IP header around it, where there is one."""

    number: int
    outer: Address | None


def reply(version: int, packet: bytes) -> Reply:
    """The reply in a packet that `program` has passed."""
    family = FAMILIES[version]
    carried = version == 4 and packet[family.protocol_at] == socket.IPPROTO_IPIP
    fields = _ECHO.unpack_from(packet, family.header_bytes + (_IPV4.size if carried else 0))
    return Reply(fields[4], Address(4, int.from_bytes(packet[12:16], "big")) if carried else None)


def program(version: int, ident: int) -> bytes:
    """
    A classic BPF program that passes echo replies with this identifier, in packets without options, and the packets
    that carry one by IP in IP: these it hears where they come in, before the tunnel's header is gone.
    """
    family = FAMILIES[version]
    of_family = (_LOAD_HALF, _ETHERTYPE, family.ethertype)
    bare = (of_family, *_reply(family, ident, 0))
    around = (_LOAD_BYTE, family.protocol_at, socket.IPPROTO_IPIP)
    carried = (of_family, around, *_reply(family, ident, _IPV4.size))
    return _passing(bare) + (_passing(carried) if version == 4 else b"") + _INSTRUCTION.pack(_RETURN, 0, 0, 0)


def _reply(family: Family, ident: int, at: int) -> tuple[tuple[int, int, int], ...]:
    return (
        (_LOAD_BYTE, at + family.protocol_at, family.protocol),
        (_LOAD_BYTE, at + family.header_bytes, family.reply),
        (_LOAD_HALF, at + family.header_bytes + 4, ident),
    )


def _passing(checks: Sequence[tuple[int, int, int]]) -> bytes:
    """Passes a packet for which every check holds; else goes on behind its own end."""
    code = b""
    for place, (load, offset, value) in enumerate(checks):
        refused = 2 * (len(checks) - place) - 1
        code += _INSTRUCTION.pack(load, 0, 0, offset) + _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, refused, value)
    return code + _INSTRUCTION.pack(_RETURN, 0, 0, 0xFFFF)


def _pseudo_header(source: Address, target: Address) -> bytes:
    """RFC 8200, section 8.1."""
    return source.packed + target.packed + struct.pack("!II", _ECHO.size, socket.IPPROTO_ICMPV6)


def _checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~((total >> 16) + total) & 0xFFFF
