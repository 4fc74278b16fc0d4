"""
The kernel learns the path MTU of a tunnel's remote ends from ICMP only for protocols that a program here speaks.

The ipip module is such a one. Without it a raw socket of IP protocol 4 is enough: raw_err of the kernel hands the
"fragmentation needed" to the routing table, which keeps it for ten minutes (net.ipv4.route.mtu_expires), also when the
socket is gone. The socket takes no packets.

Refuses to know: who asks for the path MTU (kernel/bpf/path_mtu.py).
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

_SO_ATTACH_FILTER: Final = 26
_TAKE_NOTHING: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""One instruction of classic BPF: return 0."""


def listener() -> socket.socket | None:
    """
    A socket that, while it is open, lets the kernel of this namespace learn path MTUs; None without CAP_NET_RAW. Raises
    OSError.
    """
    try:
        opened = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_IPIP)
    except PermissionError:
        return None
    code = ctypes.create_string_buffer(_TAKE_NOTHING)
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(code)))
    return opened
