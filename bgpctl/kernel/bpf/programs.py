"""
The two programs of the BPF driver: IP in IP (RFC 2003) out of a device's egress, and back in at the underlay's ingress.

They do what the kernel's ipip device does in its default mode, to the bit: TTL and DF inherited, DSCP zero, ECN as RFC
6040 has it, the identification of the inner packet. Nodes with the module and nodes without exchange packets.

Out: the gateway of the inner packet's route is the remote tunnel end. So the program resolves the inner destination
(bpf_fib_lookup), then the gateway, which gives the underlay link; it extends the packet, writes the outer header and
redirects.
In: a packet of IP protocol 4 from a member to one of our addresses loses its outer header and is redirected into the
tunnel device. Everything else passes on untouched, for about 45 ns.

Each of these was wrong first, and is there for a packet that was lost:

- Redirecting with an explicit next hop sends what waits for ARP with the tunnel neighbour's MAC: the first packet to a
  remote is lost. Without one the kernel routes the outer packet itself, and holds it until the neighbour is known.
- A lookup that names the device (BPF_FIB_LOOKUP_OUTPUT) takes the first of several next hops. As for a forwarded
  packet, with the same addresses and ports, the kernel takes the one that it took when it selected the tunnel
  (docs/decisions/0011); only if that answers with another link is the device named.
- A route without a gateway has the inner destination as its remote end, whose route leads to the tunnel again: the
  packet would be wrapped without end. The underlay must be another link.
- bpf_skb_adjust_room without FIXED_GSO shrinks the segments of UDP GSO by the header: all are lost. On a packet that
  was unwrapped here before it answers EALREADY, as no helper clears that mark: node to node to node through two tunnels
  loses all, unless the call is repeated without the type of encapsulation.
- Congestion marked on the outer header is copied to the inner packet, or drops it if it is not ECN-capable (RFC 6040,
  section 4.2). Congestion inside becomes "capable" outside, not "experienced" (RFC 3168, section 9.1.1).
- A frame with a VLAN tag belongs to a VLAN device above the link, a fragment to the stack that can put it together, and
  a packet for another host was only seen by a promiscuous device: all three pass.
- A packet is unwrapped into the tunnel device, not in place: a strict reverse-path filter and rules on `-i tunl0` see
  it where the module would have delivered it.

Constants (the local address, the index and the MAC of the device, file descriptors of maps) are arguments of the
assembler. So a program is a function of them, and its digest identifies them (kernel/ipip/bpf.py).

Refuses to know: how they are attached (docs/decisions/0015), which addresses are in the maps.
"""

from __future__ import annotations

import socket
from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.kernel.bpf import packet, path_mtu
from bgpctl.kernel.bpf.asm import DW, FP, R0, R1, R2, R3, R4, R6, R7, R8, R9, B, H, Program, W
from bgpctl.kernel.bpf.packet import (
    DF,
    ETHERNET_BYTES,
    FIB,
    FIB_BYTES,
    FRAGMENT,
    HEADER_BYTES,
    ID,
    INNER,
    LENGTH,
    OUTER,
    PLAIN_HEADER,
    PROTOCOL,
    TOS,
    TTL,
    address_to,
    adjust,
    into_ingress,
    load_packet,
    raw,
    store_checksum,
    store_packet,
)

# struct __sk_buff, linux/bpf.h
_SKB_LENGTH, _SKB_PACKET_TYPE, _SKB_PROTOCOL, _SKB_VLAN_PRESENT = 0, 4, 16, 20
_PACKET_HOST: Final = 0
_ETH_P_IP: Final = socket.htons(0x0800)

# Return values of a traffic-control program, linux/pkt_cls.h
NEXT_FILTER, DROP, REDIRECT = -1, 2, 7

# Helpers, by their number in linux/bpf.h
_MAP_LOOKUP, _FIB_LOOKUP, _ECN_SET_CE, _REDIRECT_NEIGH = 1, 69, 97, 152

_FIXED_GSO, _ENCAP_IPV4, _NO_CHECKSUM_RESET = 0x1, 0x2, 0x20

# struct bpf_fib_lookup: where its fields stand
_FIB_FAMILY, _FIB_IFINDEX, _FIB_SOURCE, _FIB_DESTINATION = 0, 8, 16, 32
_FIB_OUTPUT: Final = 2
_FIB_NO_NEIGHBOUR, _FIB_FRAG_NEEDED = 7, 8

_FIB_PROTOCOL, _FIB_PORTS = 1, 2

# Counters: 64-bit numbers, one after the other
SENT, RECEIVED, DROPPED = 0, 16, 32
"""Where in the counters' value: packets, and bytes behind them."""
COUNTERS_BYTES: Final = 48

SOURCE, OWN = 1, 2
"""The role of an address in the decapsulating program's map."""

_ECN_BITS, _ECN_CAPABLE, _ECN_CONGESTED = 3, 2, 3
_FRAGMENTED: Final = socket.htons(0x3FFF)


def discard() -> bytes:
    """Drop every packet."""
    p = Program()
    p.op("mov", R0, DROP)
    p.exit()
    return p.assemble()


def encapsulate(local: Address, tunnel_index: int, tunnel_mac: bytes, counters_fd: int) -> bytes:
    """
    For the egress of the tunnel device, whose index and MAC are given. The gateway of the inner packet's route is the
    remote tunnel end; a second lookup gives the underlay link towards it. The kernel resolves the neighbour itself.
    A packet that is too big for its path is answered. Packets that leave are counted in the map of one value,
    COUNTERS_BYTES long, that is open as `counters_fd`.
    """
    p = Program()
    p.op_reg("mov", R6, R1)
    p.load(W, R0, R6, _SKB_PROTOCOL)
    p.jump("jne", R0, _ETH_P_IP, "drop")
    load_packet(p, ETHERNET_BYTES, INNER, HEADER_BYTES, "drop")
    _find_remote_end(p, tunnel_index)
    _find_underlay(p, local, tunnel_index)
    _outer_header(p, local)
    _count(p, counters_fd, SENT)
    _extend(p)
    store_packet(p, ETHERNET_BYTES, OUTER, HEADER_BYTES)
    # No next hop given: the kernel routes the outer packet itself and holds it while it asks for the neighbour. With
    # a next hop, the held packets would go out with the MAC header of the tunnel device's neighbour, garbage.
    p.op_reg("mov", R1, R7)
    p.op("mov", R2, 0)
    p.op("mov", R3, 0)
    p.op("mov", R4, 0)
    p.call(_REDIRECT_NEIGH)
    p.exit()
    p.label("too-big")
    path_mtu.answer(p, tunnel_index, tunnel_mac)
    _end(p, "drop", DROP)
    return p.assemble()


def _find_remote_end(p: Program, tunnel_index: int) -> None:
    """R8 becomes the gateway of the inner packet's route: many remotes share the device, as with the kernel's tunl0."""
    # As for a forwarded packet: of several next hops the kernel takes the one that it took when it selected the
    # tunnel. A lookup that names the device takes the first.
    _inner_into_fib(p, tunnel_index)
    _flow_into_fib(p)
    _ask_fib(p, 0)
    p.jump("jeq", R0, 0, "forwarded")
    p.jump("jne", R0, _FIB_NO_NEIGHBOUR, "by-device")
    p.label("forwarded")
    p.load(W, R1, FP, FIB + _FIB_IFINDEX)
    p.jump("jeq", R1, tunnel_index, "remote-found")
    p.label("by-device")
    _inner_into_fib(p, tunnel_index)
    _look_up(p, _FIB_OUTPUT, "remote-found")
    p.load(W, R8, FP, FIB + _FIB_DESTINATION)


def _inner_into_fib(p: Program, tunnel_index: int) -> None:
    _clear_fib(p, tunnel_index)
    p.load(W, R1, FP, INNER + packet.SOURCE)
    p.store(W, FP, FIB + _FIB_SOURCE, R1)
    p.load(W, R1, FP, INNER + packet.DESTINATION)
    p.store(W, FP, FIB + _FIB_DESTINATION, R1)


def _flow_into_fib(p: Program) -> None:
    """Protocol and ports, which net.ipv4.fib_multipath_hash_policy=1 hashes; zeros where a packet has none."""
    p.load(B, R1, FP, INNER)
    p.jump("jne", R1, PLAIN_HEADER, "no-ports")
    p.load(H, R1, FP, INNER + FRAGMENT)
    p.jump("jset", R1, _FRAGMENTED, "no-ports")
    p.load(B, R1, FP, INNER + PROTOCOL)
    p.store(B, FP, FIB + _FIB_PROTOCOL, R1)
    p.jump("jeq", R1, socket.IPPROTO_UDP, "ports")
    p.jump("jne", R1, socket.IPPROTO_TCP, "no-ports")
    p.label("ports")
    load_packet(p, ETHERNET_BYTES + HEADER_BYTES, FIB + _FIB_PORTS, 4, "drop")
    p.label("no-ports")


def _find_underlay(p: Program, local: Address, tunnel_index: int) -> None:
    """
    R7 becomes the link that leads to the remote end. It must not be the tunnel, which would wrap without end: for
    instance where the route has no gateway, and the kernel leaves the inner destination as the remote end.
    """
    path_mtu.length_of_segment(p)
    _clear_fib(p, tunnel_index)
    p.op("mov", R1, raw(local))
    p.store(W, FP, FIB + _FIB_SOURCE, R1)
    p.store(W, FP, FIB + _FIB_DESTINATION, R8)
    path_mtu.give_length(p)
    _ask_fib(p, 0)
    p.jump("jeq", R0, _FIB_FRAG_NEEDED, "too-big")
    _if_found(p, "underlay-found")
    p.load(W, R7, FP, FIB + _FIB_IFINDEX)
    p.jump("jeq", R7, tunnel_index, "drop")


def decapsulate(tunnel_index: int, tunnel_mac: bytes, addresses_fd: int, counters_fd: int) -> bytes:
    """
    For the ingress of the underlay: IPIP from a SOURCE to an OWN address comes out of the tunnel device. The map that
    is open as `addresses_fd` has the role of each address, one byte.

    Packets that are not IPIP for us go on to the next filter; IPIP for us from other sources is dropped. Both are
    counted.
    """
    p = Program()
    p.op_reg("mov", R6, R1)
    _if_for_us(p, addresses_fd)
    _if_known_as(p, SOURCE, packet.SOURCE, addresses_fd, "unknown-source")
    # RFC 791, 3.2: a packet whose time is up is destroyed; no host sends one, and no router passes one on.
    p.load(B, R1, FP, INNER + TTL)
    p.jump("jeq", R1, 0, "drop")

    # RFC 2003, 3.1: the inner packet is IPv4 too.
    load_packet(p, ETHERNET_BYTES + HEADER_BYTES, OUTER, 1, "drop")
    p.load(B, R1, FP, OUTER)
    p.op("rsh", R1, 4)
    p.jump("jne", R1, 4, "drop")

    p.load(B, R9, FP, INNER + TOS)
    _remove_header(p)
    # RFC 6040, 4.2: congestion marked on the outer header is copied inside, or drops a packet without ECN.
    p.op("and", R9, _ECN_BITS)
    p.jump("jne", R9, _ECN_CONGESTED, "deliver")
    p.op_reg("mov", R1, R6)
    p.call(_ECN_SET_CE)
    p.jump("jeq", R0, 0, "drop")

    # As if it came in by the tunnel device, so that reverse-path filters and netfilter see where it came from.
    p.label("deliver")
    _count(p, counters_fd, RECEIVED)
    address_to(p, tunnel_mac)
    into_ingress(p, tunnel_index)
    p.label("unknown-source")
    _count(p, counters_fd, DROPPED)
    _end(p, "drop", DROP)
    _end(p, "next", NEXT_FILTER)
    return p.assemble()


def _if_for_us(p: Program, addresses_fd: int) -> None:
    """Leave the outer header on the stack, in the place of the inner one. Packets for the kernel's stack go there."""
    p.load(W, R0, R6, _SKB_PROTOCOL)
    p.jump("jne", R0, _ETH_P_IP, "next")
    # The kernel has taken the tag out of a tagged frame, which still belongs to a VLAN device on top of this one.
    p.load(W, R0, R6, _SKB_VLAN_PRESENT)
    p.jump("jne", R0, 0, "next")
    load_packet(p, ETHERNET_BYTES, INNER, HEADER_BYTES, "next")
    p.load(B, R1, FP, INNER + PROTOCOL)
    p.jump("jne", R1, socket.IPPROTO_IPIP, "next")
    _if_known_as(p, OWN, packet.DESTINATION, addresses_fd, "next")
    # Seen by a promiscuous device, or broadcast.
    p.load(W, R0, R6, _SKB_PACKET_TYPE)
    p.jump("jne", R0, _PACKET_HOST, "next")
    # A fragment goes to the stack, which alone could put it together.
    p.load(H, R1, FP, INNER + FRAGMENT)
    p.jump("jset", R1, _FRAGMENTED, "next")
    p.load(B, R1, FP, INNER)
    p.jump("jne", R1, PLAIN_HEADER, "drop")


def _if_known_as(p: Program, what: int, field: int, addresses_fd: int, otherwise: str) -> None:
    """Any host could otherwise send into the workloads' network."""
    p.load(W, R1, FP, INNER + field)
    p.store(W, FP, OUTER, R1)
    p.map_fd(R1, addresses_fd)
    p.op_reg("mov", R2, FP)
    p.op("add", R2, OUTER)
    p.call(_MAP_LOOKUP)
    p.jump("jeq", R0, 0, otherwise)
    p.load(B, R1, R0, 0)
    p.jump("jne", R1, what, otherwise)


def _count(p: Program, counters_fd: int, which: int) -> None:
    """One packet more, and its bytes as it is now, without the Ethernet header."""
    p.map_value(R1, counters_fd, which)
    p.op("mov", R2, 1)
    p.atomic_add(R1, 0, R2)
    p.load(W, R2, R6, _SKB_LENGTH)
    p.op("sub", R2, ETHERNET_BYTES)
    p.atomic_add(R1, 8, R2)


def _end(p: Program, label: str, verdict: int) -> None:
    p.label(label)
    p.op("mov", R0, verdict)
    p.exit()


def _clear_fib(p: Program, index: int) -> None:
    for offset in range(0, FIB_BYTES, 8):
        p.store_constant(DW, FP, FIB + offset, 0)
    p.store_constant(B, FP, FIB + _FIB_FAMILY, socket.AF_INET)
    p.store_constant(W, FP, FIB + _FIB_IFINDEX, index)


def _look_up(p: Program, flags: int, found: str) -> None:
    _ask_fib(p, flags)
    _if_found(p, found)


def _if_found(p: Program, found: str) -> None:
    # A missing neighbour does not matter: the helper fills in gateway and link before it resolves the neighbour.
    p.jump("jeq", R0, 0, found)
    p.jump("jne", R0, _FIB_NO_NEIGHBOUR, "drop")
    p.label(found)


def _ask_fib(p: Program, flags: int) -> None:
    p.op_reg("mov", R1, R6)
    p.op_reg("mov", R2, FP)
    p.op("add", R2, FIB)
    p.op("mov", R3, FIB_BYTES)
    p.op("mov", R4, flags)
    p.call(_FIB_LOOKUP)


def _outer_header(p: Program, local: Address) -> None:
    """RFC 2003, 3.1. R8 has the remote end."""
    for offset in range(0, 24, 8):
        p.store_constant(DW, FP, OUTER + offset, 0)
    p.store_constant(B, FP, OUTER, PLAIN_HEADER)
    _outer_ecn(p)
    p.load(H, R1, FP, INNER + LENGTH)
    p.big_endian(R1, 16)
    p.op("add", R1, HEADER_BYTES)
    p.big_endian(R1, 16)
    p.store(H, FP, OUTER + LENGTH, R1)
    # Any number that is not reused while a fragment may be in flight: the inner packet's is one.
    p.load(H, R1, FP, INNER + ID)
    p.store(H, FP, OUTER + ID, R1)
    # RFC 2003, 5.1: DF is copied to the outer header. A fragment is carried as a whole packet.
    p.load(H, R1, FP, INNER + FRAGMENT)
    p.op("and", R1, DF)
    p.store(H, FP, OUTER + FRAGMENT, R1)
    # The kernel's choice for its tunl0 ("ttl inherit"): a loop through tunnels ends.
    p.load(B, R1, FP, INNER + TTL)
    p.store(B, FP, OUTER + TTL, R1)
    p.store_constant(B, FP, OUTER + PROTOCOL, socket.IPPROTO_IPIP)
    p.store_constant(W, FP, OUTER + packet.SOURCE, raw(local))
    p.store(W, FP, OUTER + packet.DESTINATION, R8)
    store_checksum(p, OUTER, HEADER_BYTES, OUTER + packet.CHECKSUM)


def _outer_ecn(p: Program) -> None:
    """
    As the kernel's ipip does, RFC 3168, 9.1.1: "congestion experienced" inside becomes "capable" outside, since the
    inner mark stays where it is.
    """
    p.load(B, R1, FP, INNER + TOS)
    p.op("and", R1, _ECN_BITS)
    p.jump("jne", R1, _ECN_CONGESTED, "ecn")
    p.op("mov", R1, _ECN_CAPABLE)
    p.label("ecn")
    p.store(B, FP, OUTER + TOS, R1)


def _extend(p: Program) -> None:
    """
    Without FIXED_GSO the segments of UDP GSO would shrink by the new header. A packet that was decapsulated before
    is still marked as encapsulated, so that asking again is refused (EALREADY); its GSO type is right already.
    """
    adjust(p, HEADER_BYTES, _FIXED_GSO | _ENCAP_IPV4)
    p.jump("jeq", R0, 0, "extended")
    adjust(p, HEADER_BYTES, _FIXED_GSO)
    p.jump("jne", R0, 0, "drop")
    p.label("extended")


def _remove_header(p: Program) -> None:
    """
    IP in IP has no checksum of its own, so whatever the card found about the payload's still holds: without
    NO_CHECKSUM_RESET the stack would add it all up again.
    """
    adjust(p, -HEADER_BYTES, _FIXED_GSO | _NO_CHECKSUM_RESET)
    p.jump("jne", R0, 0, "drop")
