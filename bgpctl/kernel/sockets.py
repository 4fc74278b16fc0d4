"""
Sockets in use: the tables of /proc/net/tcp and udp, of the calling thread's network namespace.

Refuses to know: the callers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgpctl.core.net.addresses import Address

LISTENING: Final = "0A"
BOUND: Final = "07"
"""A UDP socket without a peer."""
_ESTABLISHED: Final = "01"
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""Begins an IPv4 address of an IPv6 socket (RFC 4291, section 2.5.5.2)."""


def ports(protocol: str, state: str) -> Iterator[int]:
    """The local ports of `tcp` or `udp` sockets in a state."""
    for columns in _rows(protocol, state):
        yield int(columns[1].rpartition(":")[2], 16)


def talking() -> frozenset[Address]:
    """The other ends of established TCP connections, without those on this host."""
    ends = (_address(columns[2].rpartition(":")[0]) for columns in _rows("tcp", _ESTABLISHED))
    own = {_address(columns[1].rpartition(":")[0]) for columns in _rows("tcp", _ESTABLISHED)}
    return frozenset(end for end in ends if end not in own)


def _rows(protocol: str, state: str) -> Iterator[list[str]]:
    """Local address and port are in the second column, the remote ones in the third, the state in the fourth."""
    for file in (Path("/proc/thread-self/net", protocol), Path("/proc/thread-self/net", f"{protocol}6")):
        with suppress(FileNotFoundError):  # IPv6 may be switched off
            for line in file.read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == state:
                    yield columns


def _address(text: str) -> Address:
    """Words of 32 bits, in the host's order of bytes."""
    words = [text[at : at + 8] for at in range(0, len(text), 8)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    if len(packed) == 4 or packed.startswith(_MAPPED):
        return Address(4, int.from_bytes(packed[-4:], "big"))
    return Address(6, int.from_bytes(packed, "big"))
