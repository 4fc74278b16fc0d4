"""
Packets too big for the path of a tunnel are answered with "fragmentation needed" (RFC 1191), as the kernel's ipip does.

The kernel keeps the path MTU of each remote end (docs/explanation/path-mtu.md), and a lookup with the packet's length
names it. The answer is made of the packet itself: cut after its first 40 octets, behind an IP and an ICMP header of
ours, and redirected into the tunnel device, as if it had come out. There it passes the inner filter, because its source
is the packet's destination: a host that reads it (RFC 1122, 3.2.2.1) goes by the header that it quotes.

- A packet of many segments (GSO) is as long as its longest segment: the card cuts it later. The kernel's driver sends
  such a one, loses it, and answers the repeated segment alone.
- A packet without DF is not answered, and goes out whole: a router cuts it.
- The trimmed packet may be marked to have its TCP checksum added later; it lies in what is quoted, which is only
  compared as far as the ports and the sequence number.

Refuses to know: how the path MTU is learned, which program needs it.
"""

from __future__ import annotations

import socket
from typing import Final

from bgpctl.kernel.bpf.asm import FP, R0, R1, R2, R3, R6, R7, R9, B, H, Program, W
from bgpctl.kernel.bpf.packet import (
    CHECKSUM,
    DESTINATION,
    DF,
    ETHERNET_BYTES,
    FIB,
    FRAGMENT,
    HEADER_BYTES,
    INNER,
    LENGTH,
    OUTER,
    PLAIN_HEADER,
    PROTOCOL,
    SOURCE,
    TTL,
    address_to,
    adjust,
    into_ingress,
    load_packet,
    store_checksum,
    store_packet,
)

_SKB_GSO_SIZE: Final = 176
_CHANGE_TAIL: Final = 38
_FIB_LENGTH: Final = 6
"""Of struct bpf_fib_lookup: the packet's length in, the path MTU out."""
_QUOTED_BYTES: Final = 40
_ICMP: Final = FIB
_ICMP_BYTES: Final = 8
_ICMP_CHECKSUM, _ICMP_MTU = 2, 6
_FRAG_NEEDED: Final = 3 | 4 << 8
"""Type and code, as they lie in memory."""
_OFFSET_BITS: Final = socket.htons(0x1FFF)
_UDP_BYTES: Final = 8
_TCP_WORDS_AT: Final = 12
_TTL: Final = 64


def length_of_segment(p: Program) -> None:
    """R9 becomes the length of the inner packet, or of its longest segment; 0 where no answer is due."""
    p.op("mov", R9, 0)
    p.load(H, R1, FP, INNER + FRAGMENT)
    p.op_reg("mov", R2, R1)
    p.op("and", R2, DF)
    p.jump("jeq", R2, 0, "length-known")
    p.jump("jset", R1, _OFFSET_BITS, "length-known")  # RFC 1122, 3.2.2: not for a fragment that is not the first
    p.load(B, R1, FP, INNER)
    p.jump("jne", R1, PLAIN_HEADER, "length-known")
    p.load(W, R7, R6, _SKB_GSO_SIZE)
    p.jump("jne", R7, 0, "segments")
    p.load(H, R9, FP, INNER + LENGTH)
    p.big_endian(R9, 16)
    p.go("length-known")
    p.label("segments")
    p.op("add", R7, HEADER_BYTES)
    p.load(B, R1, FP, INNER + PROTOCOL)
    p.jump("jne", R1, socket.IPPROTO_TCP, "udp-segments")
    load_packet(p, ETHERNET_BYTES + HEADER_BYTES + _TCP_WORDS_AT, OUTER, 1, "drop")
    p.load(B, R9, FP, OUTER)
    p.op("rsh", R9, 4)
    p.op("lsh", R9, 2)
    p.op_reg("add", R9, R7)
    p.go("length-known")
    p.label("udp-segments")
    p.op("mov", R9, _UDP_BYTES)
    p.op_reg("add", R9, R7)
    p.label("length-known")


def give_length(p: Program) -> None:
    """The lookup that comes next is for a packet of R9 octets with its outer header; for any, if R9 is 0."""
    p.jump("jeq", R9, 0, "any-length")
    p.op_reg("mov", R1, R9)
    p.op("add", R1, HEADER_BYTES)
    p.store(H, FP, FIB + _FIB_LENGTH, R1)
    p.label("any-length")


def answer(p: Program, tunnel_index: int, tunnel_mac: bytes) -> None:
    """After a lookup that found the path MTU too small: the packet becomes the answer, and comes out of the tunnel."""
    p.jump("jeq", R9, 0, "drop")
    p.load(H, R7, FP, FIB + _FIB_LENGTH)
    p.op("sub", R7, HEADER_BYTES)
    p.big_endian(R7, 16)
    load_packet(p, ETHERNET_BYTES, _ICMP + _ICMP_BYTES, _QUOTED_BYTES, "drop")
    p.op_reg("mov", R1, R6)
    p.op("mov", R2, ETHERNET_BYTES + _QUOTED_BYTES)
    p.op("mov", R3, 0)
    p.call(_CHANGE_TAIL)
    p.jump("jne", R0, 0, "drop")
    adjust(p, HEADER_BYTES + _ICMP_BYTES, 0)
    p.jump("jne", R0, 0, "drop")
    _icmp(p)
    store_packet(p, ETHERNET_BYTES + HEADER_BYTES, _ICMP, _ICMP_BYTES)
    _header(p)
    store_packet(p, ETHERNET_BYTES, OUTER, HEADER_BYTES)
    address_to(p, tunnel_mac)
    into_ingress(p, tunnel_index)


def _icmp(p: Program) -> None:
    """R7 has the MTU, in network order."""
    p.store_constant(W, FP, _ICMP, _FRAG_NEEDED)
    p.store_constant(W, FP, _ICMP + 4, 0)
    p.store(H, FP, _ICMP + _ICMP_MTU, R7)
    store_checksum(p, _ICMP, _ICMP_BYTES + _QUOTED_BYTES, _ICMP + _ICMP_CHECKSUM)


def _header(p: Program) -> None:
    for offset in range(0, HEADER_BYTES, 4):
        p.store_constant(W, FP, OUTER + offset, 0)
    p.store_constant(B, FP, OUTER, PLAIN_HEADER)
    p.store_constant(H, FP, OUTER + LENGTH, socket.htons(HEADER_BYTES + _ICMP_BYTES + _QUOTED_BYTES))
    p.store_constant(B, FP, OUTER + TTL, _TTL)
    p.store_constant(B, FP, OUTER + PROTOCOL, socket.IPPROTO_ICMP)
    for field, other in ((SOURCE, DESTINATION), (DESTINATION, SOURCE)):
        p.load(W, R1, FP, INNER + other)
        p.store(W, FP, OUTER + field, R1)
    store_checksum(p, OUTER, HEADER_BYTES, OUTER + CHECKSUM)
