"""
The kernel's own notifications of a namespace: when a route is there, leads elsewhere, or is gone.

Refuses to know: who changed the route.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.kernel.encode import RTM_NEWROUTE
from bgpctl.kernel.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    SOL_NETLINK,
    attributes,
    messages,
    open_socket,
    widen,
)
from bgpctl.lab import netns

_GROUPS: Final = {4: 7, 6: 11}
"""RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE"""
_RTA_DST, _RTA_GATEWAY = 1, 5
_BUFFER_BYTES: Final = 64 << 20


class FibWatch:
    """
    Notifications about routes of one IP version, from now on.

    Args:
        namespace: the node's.
        within_s: how long a change may take before the benchmark is given up.
    """

    def __init__(self, namespace: str, version: int, within_s: float = 30.0) -> None:
        self._socket = netns.inside(namespace, open_socket)
        widen(self._socket, _BUFFER_BYTES)
        self._socket.settimeout(within_s)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, _GROUPS[version])

    def leads(self, prefix: Prefix, gateway: Address) -> float:
        """The time (time.perf_counter) at which the route was seen to lead there. Raises TimeoutError."""
        packed = _packed(gateway)
        return next(at_s for at_s, is_new, hop in self._of(prefix) if is_new and hop == packed)

    def all_lead(self, prefixes: Iterable[Prefix], gateway: Address) -> float:
        """The time at which the last of these routes was seen to lead there. Raises TimeoutError."""
        packed = _packed(gateway)
        missing: set[tuple[bytes | None, int]] = {(_packed(prefix.first), prefix.length) for prefix in prefixes}
        at_s = time.perf_counter()
        notices = self._notices()
        while missing:
            at_s, is_new, prefix, hop = next(notices)
            if is_new and hop == packed:
                missing.discard(prefix)
        return at_s

    def first(self) -> float:
        """The time of the first route that leads to a gateway. Raises TimeoutError."""
        return next(at_s for at_s, is_new, _, hop in self._notices() if is_new and hop)

    def gone(self, prefix: Prefix) -> float:
        """The time at which the route was seen to be deleted. Raises TimeoutError."""
        return next(at_s for at_s, is_new, _ in self._of(prefix) if not is_new)

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def new(self, prefix: Prefix) -> float | None:
        """The time of a route for the prefix, if it is in the next datagram, which is there already."""
        wanted = _packed(prefix.first), prefix.length
        return next((at_s for at_s, is_new, found, _ in self._next() if is_new and found == wanted), None)

    def close(self) -> None:
        self._socket.close()

    def _of(self, prefix: Prefix) -> Iterator[tuple[float, bool, bytes | None]]:
        """Time, whether it is new, gateway."""
        wanted = _packed(prefix.first), prefix.length
        return ((at_s, is_new, hop) for at_s, is_new, found, hop in self._notices() if found == wanted)

    def _notices(self) -> Iterator[tuple[float, bool, tuple[bytes | None, int], bytes | None]]:
        while True:
            yield from self._next()

    def _next(self) -> Iterator[tuple[float, bool, tuple[bytes | None, int], bytes | None]]:
        """The notifications of one datagram: time, whether it is new, prefix, gateway."""
        datagram = self._socket.recv(1 << 17)
        at_s = time.perf_counter()
        for message in messages(datagram):
            (length,) = struct.unpack_from("B", message.body, 1)
            found = attributes(message.body, 12)
            yield at_s, message.type == RTM_NEWROUTE, (found.get(_RTA_DST), length), found.get(_RTA_GATEWAY)


def _packed(address: Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.inet_pton(family, str(address))


def routes_in_kernel(namespace: str, version: int) -> int:
    """How many routes the namespace has, by the kernel's own count: listing them would compete for the CPU."""
    return netns.inside(namespace, _routes4 if version == 4 else _routes6)


def _routes4() -> int:
    table = Path("/proc/thread-self/net/fib_triestat").read_text()
    return max(int(line.split()[-1]) for line in table.splitlines() if "Prefixes:" in line)


def _routes6() -> int:
    """The entries of all tables (rt6_stats: nodes, route nodes, allocations, entries, …, in hexadecimal)."""
    return int(Path("/proc/thread-self/net/rt6_stats").read_text().split()[3], 16)
