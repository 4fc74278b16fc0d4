"""
Echo requests as bytes (RFC 792, RFC 4443), and the socket filter that passes only their replies.

Refuses to know: how they are sent, what a reply proves.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address, Mac

_HOPS: Final = 64
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_ECHO: Final = struct.Struct("!BBHHH")
# linux/in.h, linux/in6.h.
IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, PMTUDISC_DONT, _PMTUDISC_PROBE = 10, 23, 0, 3
_DONT_FRAGMENT: Final = 0x4000
"""RFC 791, section 3.1."""
NONCE_BYTES: Final = 16
"""So long is the secret that a request carries, and its reply repeats (RFC 792, RFC 4443 section 4.2)."""
_INSTRUCTION: Final = struct.Struct("=HBBI")
_ETHERTYPE: Final = 0xFFFFF000
"""Where a filter finds it: SKF_AD_OFF + SKF_AD_PROTOCOL, linux/filter.h."""
_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x28, 0x20, 0x15, 0x06
_SO_ATTACH_FILTER: Final = 26


class Family(NamedTuple):
    """
    Differences between the two IP versions; `protocol_at` is the offset of the protocol (next header) field, and
    `source_at` that of the source address.
    """

    family: socket.AddressFamily
    ethertype: int
    protocol: int
    request: int
    reply: int
    header_bytes: int
    protocol_at: int
    source_at: int


FAMILIES: Final = {
    4: Family(socket.AF_INET, 0x0800, socket.IPPROTO_ICMP, 8, 0, _IPV4.size, 9, 12),
    6: Family(socket.AF_INET6, 0x86DD, socket.IPPROTO_ICMPV6, 128, 129, _IPV6.size, 6, 8),
}


def request(
    source: Address, target: Address, ident: int, number: int, nonce: bytes, size_bytes: int = 0, note: bytes = b""
) -> bytes:
    """
    A whole packet; `nonce` is NONCE_BYTES long, and a `note` of an even length follows it. The packet has `size_bytes`,
    and then no router may cut it, or is as small as can be.
    """
    data = nonce + note
    family = FAMILIES[source.version]
    # Zeros add nothing to a checksum, so they are left out while it is made.
    padding = max(0, size_bytes - family.header_bytes - _ECHO.size - len(data))
    # ICMPv6 sums up the addresses too (RFC 4443, section 2.3).
    beside = _pseudo_header(source, target, len(data) + padding) if source.version == 6 else b""
    bare = _ECHO.pack(family.request, 0, 0, ident, number) + data
    echo = _ECHO.pack(family.request, 0, _checksum(beside + bare), ident, number) + data + bytes(padding)
    return header(len(echo), family.protocol, source, target, whole=size_bytes > 0) + echo


def header(length: int, protocol: int, source: Address, target: Address, *, whole: bool = False) -> bytes:
    """The IP header of a packet with `length` bytes after it; `whole`: no router may cut it (IPv6 has none that do)."""
    if source.version == 6:
        return _IPV6.pack(6 << 28, length, protocol, _HOPS, source.packed, target.packed)
    fields = (0x45, 0, _IPV4.size + length, 0, _DONT_FRAGMENT if whole else 0, _HOPS, protocol)
    bare = _IPV4.pack(*fields, 0, source.packed, target.packed)
    return _IPV4.pack(*fields, _checksum(bare), source.packed, target.packed)


class Wrapping(NamedTuple):
    """
    The mark of an encapsulation's outer header of an IP version: the byte at `at` has this value. The inner packet
    begins after `header_bytes`; the outer source address is at `source_at`.
    """

    version: int
    at: int
    value: int
    header_bytes: int
    source_at: int


class Reply(NamedTuple):
    """
    The answer to a request.

    Attributes:
        number: the one in the request.
        nonce: the first bytes of the data that it repeats; shorter than a request's if it has less.
        source: the sender.
        outer: the source of the IP header around it, where there is one.
    """

    number: int
    nonce: bytes
    source: Address
    outer: Address | None


def reply(version: int, packet: bytes, wrappings: Sequence[Wrapping]) -> Reply | None:
    """
    The reply in a packet that `program` has passed. One that was on its way to the socket when the filter came may be
    any other: None of what is too short, and the nonce shows the rest.
    """
    family = FAMILIES[version]
    around = next((item for item in wrappings if packet[item.at : item.at + 1] == bytes([item.value])), None)
    inner = packet[around.header_bytes if around else 0 :]
    if len(inner) < family.header_bytes + _ECHO.size:
        return None
    _, _, _, _, number = _ECHO.unpack_from(inner, family.header_bytes)
    data = inner[family.header_bytes + _ECHO.size :]
    outer = _address(version, packet, around.source_at) if around else None
    return Reply(number, data[:NONCE_BYTES], _address(version, inner, family.source_at), outer)


def _address(version: int, packet: bytes, at: int) -> Address:
    length = 4 if version == 4 else 16
    return Address(version, int.from_bytes(packet[at : at + length], "big"))


def program(version: int, ident: int, wrappings: Sequence[Wrapping]) -> bytes:
    """
    A classic BPF program that passes echo replies with this identifier, in packets without options, and packets that
    carry one in one of these `wrappings`, which it sees where they come in, before the outer header is gone.
    """
    family = FAMILIES[version]
    of_family = (_LOAD_HALF, _ETHERTYPE, family.ethertype)
    code = _passing((of_family, *_reply(family, ident, 0)))
    for around in wrappings:
        inside = _reply(family, ident, around.header_bytes)
        code += _passing((of_family, (_LOAD_BYTE, around.at, around.value), *inside))
    return code + _INSTRUCTION.pack(_RETURN, 0, 0, 0)


def echo_program(version: int, ident: int, wrappings: Sequence[Wrapping]) -> bytes:
    """As `program`, for requests too, and for ICMP errors about packets with the identifier."""
    family = FAMILIES[version]
    of_family = (_LOAD_HALF, _ETHERTYPE, family.ethertype)
    quoted_at = family.header_bytes + _ECHO.size
    code = b""
    for around in (None, *wrappings):
        wrapped = ((_LOAD_BYTE, around.at, around.value),) if around else ()
        at = around.header_bytes if around else 0
        for ident_at in (0, quoted_at):
            is_icmp = (_LOAD_BYTE, at + family.protocol_at, family.protocol)
            has_ident = (_LOAD_HALF, at + ident_at + family.header_bytes + 4, ident)
            code += _passing((of_family, *wrapped, is_icmp, has_ident))
    return code + _INSTRUCTION.pack(_RETURN, 0, 0, 0)


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
        skip = 2 * (len(checks) - place) - 1
        code += _INSTRUCTION.pack(load, 0, 0, offset) + _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, skip, value)
    return code + _INSTRUCTION.pack(_RETURN, 0, 0, 0xFFFF)


def _pseudo_header(source: Address, target: Address, length: int) -> bytes:
    """RFC 8200, section 8.1."""
    return source.packed + target.packed + struct.pack("!II", _ECHO.size + length, socket.IPPROTO_ICMPV6)


def _checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~((total >> 16) + total) & 0xFFFF


def note_at(version: int) -> int:
    """Where the note of a request is, in the form in which raw sockets give packets: IPv6 without its header."""
    header_bytes = FAMILIES[4].header_bytes if version == 4 else 0
    return header_bytes + _ECHO.size + NONCE_BYTES


def note_program(version: int, magic: bytes) -> bytes:
    """A classic BPF program for a raw socket of ICMP that passes requests whose note begins with these four octets."""
    at = note_at(version)
    is_request = (_LOAD_BYTE, at - NONCE_BYTES - _ECHO.size, FAMILIES[version].request)
    is_noted = (_LOAD_WORD, at, int.from_bytes(magic, "big"))
    return _passing((is_request, is_noted)) + _INSTRUCTION.pack(_RETURN, 0, 0, 0)


def attach(listener: socket.socket, code: bytes) -> None:
    """Let the program decide what the socket receives."""
    held = ctypes.create_string_buffer(code)  # must live until the call that copies it
    instructions = struct.pack("@HP", len(code) // _INSTRUCTION.size, ctypes.addressof(held))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, instructions)


def raw_socket(version: int) -> socket.socket:
    """
    Sends whole packets with the headers that they have (raw(7)). Of the path MTU that the kernel has learned it takes
    no notice: whether that still holds is what a probe is to show.
    """
    out = socket.socket(FAMILIES[version].family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    if version == 4:
        out.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        out.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    return out


def mac(text: Mac) -> bytes:
    """Six bytes."""
    return bytes.fromhex(text.replace(":", ""))
