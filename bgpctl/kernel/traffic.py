"""
Counters of the tunnel devices of the calling thread's namespace. Safe in any thread.

Refuses to know: which devices are ours.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from bgpctl.core.net.objects import IPIP_LINK, Traffic
from bgpctl.kernel import decode, ipip_bpf, ipip_kernel
from bgpctl.kernel.encode import IFINFOMSG, RTM_GETLINK
from bgpctl.kernel.netlink import Netlink, attributes

_IFLA_STATS64: Final = 23
_STATS: Final = struct.Struct("=4Q")
"""struct rtnl_link_stats64 begins with packets received and sent, and the bytes of both."""


def read() -> Mapping[str, Traffic]:
    """
    By the name of the device; what cannot be told is left out.

    Raises:
        OSError: the IPIP driver's counters cannot be read.
        Unavailable: no netlink here.
    """
    netlink = Netlink()
    try:
        found: dict[str, Traffic] = {}
        for body in netlink.dump(RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0)):
            facts = decode.link_facts(body)
            traffic = _of(netlink, facts.name, facts.kind, body)
            if traffic:
                found[facts.name] = traffic
        return found
    finally:
        netlink.close()


def _of(netlink: Netlink, name: str, kind: str, body: bytes) -> Traffic | None:
    if kind == "vxlan":
        return _counted_by_link(body)
    if name == IPIP_LINK and kind == "ipip":
        return _counted_by_link(body)._replace(dropped_packets=ipip_kernel.refused_packets())
    if name == IPIP_LINK and kind == "veth":
        return ipip_bpf.traffic(netlink)  # packets never reach the device itself
    return None


def _counted_by_link(body: bytes) -> Traffic:
    stats = attributes(body, IFINFOMSG.size).get(_IFLA_STATS64, bytes(_STATS.size))
    received_packets, sent_packets, received_bytes, sent_bytes = _STATS.unpack_from(stats)
    return Traffic(received_packets, received_bytes, sent_packets, sent_bytes)
