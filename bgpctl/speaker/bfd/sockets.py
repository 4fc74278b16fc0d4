"""
The UDP sockets of BFD: one to receive per kind of session, one to send per session.

A packet of a single hop is sent with a TTL of 255, and the kernel drops one that arrives with less (RFC 5881, section
5): so a host that is further away than this link can end no session, and costs no more than the drop.

Refuses to know: sessions, and what is in a packet.
"""

from __future__ import annotations

import errno
import socket
import struct
from array import array

TYPE_CHECKING = False  # as typing has it, without the module
if TYPE_CHECKING:
    from typing import Final

SINGLE_HOP_PORT: Final = 3784
"""RFC 5881, section 4."""
MULTIHOP_PORT: Final = 4784
"""RFC 5883, section 5."""
SOURCE_PORTS: Final = (49152, 65535)
_GREATEST_TTL: Final = 255
_TTL_OFFSETS: Final = {socket.AF_INET: 8, socket.AF_INET6: 7}
_NETWORK_HEADER: Final = 0xFFF00000
"""SKF_NET_OFF of linux/filter.h."""
_ATTACH_FILTER: Final = 26
"""SO_ATTACH_FILTER of asm-generic/socket.h."""
_INTERNETWORK_CONTROL: Final = 0xC0
"""The class of routing protocols (CS6, RFC 4594), so that queues of routers do not drop it first."""
_LOAD_OCTET, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x15, 0x06


def family_of(address: str) -> int:
    """The address family of an address in its usual notation."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def receiver(family: int, *, multihop: bool) -> socket.socket:
    """A socket on which the packets of all sessions of one kind arrive. Raises OSError: the port is in use."""
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not multihop:
            _drop_from_afar(opened)
        opened.bind(("", MULTIHOP_PORT if multihop else SINGLE_HOP_PORT))
    except OSError:
        opened.close()
        raise
    return opened


def sender(local: str, peer: str, port: int, *, multihop: bool) -> socket.socket:
    """A socket from `local` (any address, if it is empty) and `port` to the peer. Raises OSError."""
    family = family_of(peer)
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _GREATEST_TTL)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _INTERNETWORK_CONTROL)
        else:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _GREATEST_TTL)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _INTERNETWORK_CONTROL)
        opened.bind((local, port))
        opened.connect((peer, MULTIHOP_PORT if multihop else SINGLE_HOP_PORT))
    except OSError:
        opened.close()
        raise
    return opened


def port_is_taken(error: OSError) -> bool:
    """True if another port would do."""
    return error.errno == errno.EADDRINUSE


def _drop_from_afar(receiving: socket.socket) -> None:
    """A classic BPF program (bpf(4)); a socket that is not bound yet has received nothing before it."""
    program = array("B")
    for code, true, false, value in (
        (_LOAD_OCTET, 0, 0, _NETWORK_HEADER + _TTL_OFFSETS[socket.AddressFamily(receiving.family)]),
        (_JUMP_IF_EQUAL, 0, 1, _GREATEST_TTL),
        (_RETURN, 0, 0, 0xFFFFFFFF),
        (_RETURN, 0, 0, 0),
    ):
        program.frombytes(struct.pack("=HBBI", code, true, false, value))
    address, octets = program.buffer_info()
    receiving.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", octets // 8, address))
