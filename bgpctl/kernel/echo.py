"""
Echo requests as bytes (RFC 792, RFC 4443), and the socket filter that tells their answers from all other packets.

Refuses to know: how they are sent, what an answer is good for.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

from bgpctl.core.model import Address

_HOPS: Final = 64
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_ECHO: Final = struct.Struct("!BBHHH")
_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD_BYTE, _LOAD_HALF, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x28, 0x15, 0x06


class Family(NamedTuple):
    """What differs between the two IP versions; `protocol_at` is where the header says what follows it."""

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


def number_of(version: int, packet: bytes) -> int:
    """The number in the answer to a request."""
    number: int = _ECHO.unpack_from(packet, FAMILIES[version].header_bytes)[4]
    return number


def program(version: int, ident: int) -> bytes:
    """A classic BPF program that passes echo replies with this identifier, in packets without options."""
    family = FAMILIES[version]
    checks = (
        (_LOAD_BYTE, family.protocol_at, family.protocol),
        (_LOAD_BYTE, family.header_bytes, family.reply),
        (_LOAD_HALF, family.header_bytes + 4, ident),
    )
    code = b""
    for place, (load, offset, value) in enumerate(checks):
        refused = 2 * (len(checks) - place) - 1
        code += _INSTRUCTION.pack(load, 0, 0, offset) + _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, refused, value)
    return code + _INSTRUCTION.pack(_RETURN, 0, 0, 0xFFFF) + _INSTRUCTION.pack(_RETURN, 0, 0, 0)


def _pseudo_header(source: Address, target: Address) -> bytes:
    """RFC 8200, section 8.1."""
    return source.packed + target.packed + struct.pack("!II", _ECHO.size, socket.IPPROTO_ICMPV6)


def _checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~((total >> 16) + total) & 0xFFFF
