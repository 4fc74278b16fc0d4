"""
Settings of the whole cluster that stand under the same keys in several places.

Refuses to know: pools, nodes and peers.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.intent.field_kinds import ASN, BOOLEAN, MTU, PORT, integer
from bgpctl.core.intent.tables import Row
from bgpctl.core.intent.tunnel_keys import MTU_KEYS

ASN_ROW: Final = Row("asNumber", ASN, "asn", "AS of every node without one of its own; 64512 without it.", always=True)
LISTEN_PORT: Final = Row("listenPort", PORT, "listen_port", "TCP port that every node listens at.")
CHANNEL_PORT: Final = Row(
    "channelPort",
    PORT,
    "channel_port",
    "TCP port at which agents ask each other, with keys; 9179 is a free one. Without it they do not.",
    implied=lambda _: 0,
)
MTU_DISCOVERY: Final = Row(
    "mtuDiscovery",
    BOOLEAN,
    "mtu_discovery",
    "Routes to a member get the path MTU that probes have found, so senders of larger packets hear of it.",
    implied=lambda _: False,
)
TUNNELS: Final = (
    Row("vxlanVNI", integer(1, 16777215), "vxlan_vni", "VXLAN network identifier."),
    Row("vxlanPort", PORT, "vxlan_port", "UDP port of VXLAN."),
    *(Row(item.key, MTU, item.setting) for item in MTU_KEYS),
    Row("tcpMSS", integer(536, 65495), "tcp_mss", "Bytes; TCP through a tunnel has no larger segments, IPv6 20 less."),
)
"""VNI, UDP port and the MTUs of tunnel devices, by the names of FelixConfiguration."""
