"""
Counters of the tunnel devices of the calling thread's namespace. Safe in any thread.

Refuses to know: which devices are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bgpctl.core.net.objects import Traffic
from bgpctl.kernel import decode
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.encode import IFINFOMSG, RTM_GETLINK
from bgpctl.kernel.netlink import Netlink

_HEAD_LINES: Final = 2
_SENT_AT: Final = 9
"""Of the columns after the name (proc(5))."""


def packets_sent() -> int:
    """By all links but the loopback. Raises OSError."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[_HEAD_LINES:]
    counted = (line.partition(":") for line in lines)
    return sum(int(numbers.split()[_SENT_AT]) for name, _, numbers in counted if name.strip() != "lo")


def read() -> Mapping[str, Traffic]:
    """
    By the name of the device; devices without readable counters are left out.

    Raises:
        OSError: the counters of a driver cannot be read.
        Unavailable: no netlink here.
    """
    netlink = Netlink()
    try:
        found: dict[str, Traffic] = {}
        for body in netlink.dump(RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0)):
            facts = decode.link_facts(body)
            counted = (item.traffic(netlink, facts, body) for item in IMPLEMENTATIONS.values())
            traffic = next(filter(None, counted), None)
            if traffic:
                found[facts.name] = traffic
        return found
    finally:
        netlink.close()
