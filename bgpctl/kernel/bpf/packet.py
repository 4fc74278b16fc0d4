"""
The parts of a packet that programs have in common: where fields stand, on the wire and on the stack, and steps on them.

R6 has the context (struct __sk_buff) in all of them.

Refuses to know: the purpose of a program.
"""

from __future__ import annotations

import socket
from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.kernel.bpf.asm import FP, R0, R1, R2, R3, R4, R5, R6, H, Program, W

HEADER_BYTES: Final = 20
ETHERNET_BYTES: Final = 14

# Helpers, by their number in linux/bpf.h
_STORE_BYTES, _LOAD_BYTES, _CSUM_DIFF, _ADJUST_ROOM = 9, 26, 28, 50
REDIRECT: Final = 23
_ROOM_MAC: Final = 1
TO_INGRESS: Final = 1

# Fields of an IPv4 header
TOS, LENGTH, ID, FRAGMENT, TTL, PROTOCOL, CHECKSUM, SOURCE, DESTINATION = 1, 2, 4, 6, 8, 9, 10, 12, 16
PLAIN_HEADER: Final = 0x45
"""Version 4, five words: no options."""
DF: Final = socket.htons(0x4000)

# The stack, below the frame pointer
INNER: Final = -24
OUTER: Final = -48
FIB: Final = -112
FIB_BYTES: Final = 64
"""struct bpf_fib_lookup"""


def raw(address: Address) -> int:
    """As a load from the packet sees it: network order in a host-order register."""
    return int.from_bytes(address.packed, "little")


def load_packet(p: Program, offset: int, to: int, length: int, otherwise: str) -> None:
    """Copy octets of the packet to the stack."""
    p.op_reg("mov", R1, R6)
    p.op("mov", R2, offset)
    p.op_reg("mov", R3, FP)
    p.op("add", R3, to)
    p.op("mov", R4, length)
    p.call(_LOAD_BYTES)
    p.jump("jne", R0, 0, otherwise)


def store_packet(p: Program, offset: int, source: int, length: int) -> None:
    """Copy octets of the stack into the packet, or drop it."""
    p.op_reg("mov", R1, R6)
    p.op("mov", R2, offset)
    p.op_reg("mov", R3, FP)
    p.op("add", R3, source)
    p.op("mov", R4, length)
    p.op("mov", R5, 0)
    p.call(_STORE_BYTES)
    p.jump("jne", R0, 0, "drop")


def adjust(p: Program, change: int, flags: int) -> None:
    """So many octets more or fewer behind the Ethernet header; R0 becomes 0, or the error."""
    p.op_reg("mov", R1, R6)
    p.op("mov", R2, change)
    p.op("mov", R3, _ROOM_MAC)
    p.op("mov", R4, flags)
    p.call(_ADJUST_ROOM)


def store_checksum(p: Program, start: int, length: int, field: int) -> None:
    """RFC 1071 over octets on the stack, into a field among them that is zero."""
    p.op("mov", R1, 0)
    p.op("mov", R2, 0)
    p.op_reg("mov", R3, FP)
    p.op("add", R3, start)
    p.op("mov", R4, length)
    p.op("mov", R5, 0)
    p.call(_CSUM_DIFF)
    for _ in range(2):  # fold the carries in, as the helper itself does since Linux 6.13
        p.op_reg("mov", R1, R0)
        p.op("rsh", R1, 16)
        p.op("and", R0, 0xFFFF)
        p.op_reg("add", R0, R1)
    p.op("xor", R0, 0xFFFF)
    p.store(H, FP, field, R0)


def address_to(p: Program, mac: bytes) -> None:
    """Set the destination MAC to the tunnel device's: it drops frames for any other (PACKET_OTHERHOST)."""
    p.store_constant(W, FP, OUTER, int.from_bytes(mac[:4], "little"))
    p.store_constant(H, FP, OUTER + 4, int.from_bytes(mac[4:], "little"))
    store_packet(p, 0, OUTER, 6)


def into_ingress(p: Program, index: int) -> None:
    """End as if the packet had come in by the device with this interface index."""
    p.op("mov", R1, index)
    p.op("mov", R2, TO_INGRESS)
    p.call(REDIRECT)
    p.exit()
