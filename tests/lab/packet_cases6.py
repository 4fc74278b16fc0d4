"""
The faults of packet_cases.py over IPv6: the same, in its addresses and words. Not those of what IPv6 has not, such as
reverse-path filters, nor masquerading: which address of a node that takes is not followed (RFC 6724).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.lab.packet_cases import Encapsulated, Row, rows

TOPOLOGY6: Final = """\
calico_backend: {backend}
pools:
  blue: {{cidr: "fd00:10:244::/64", blockSize: 122, encapsulation: {encapsulation}, natOutgoing: true}}
{bgp}nodes:
  a1: {{address: "fd00:10:a::1/64", blocks: ["fd00:10:244::40/122"]}}
  a2: {{address: "fd00:10:a::2/64", blocks: ["fd00:10:244::80/122"]}}
  b1: {{address: "fd00:10:b::3/64", blocks: ["fd00:10:244::c0/122"]}}
  b2: {{address: "fd00:10:b::4/64"}}
segments:
  rack-a: "fd00:10:a::/64"
  rack-b: "fd00:10:b::/64"
routers:
  core: {{addresses: ["fd00:10:a::fe/64", "fd00:10:b::fe/64"]}}
workloads:
  web-a1: {{node: a1, address: "fd00:10:244::4a"}}
  web-a2: {{node: a2, address: "fd00:10:244::8a"}}
  web-b1: {{node: b1, address: "fd00:10:244::ca"}}
"""
ENCAPSULATED6: Final = {
    "vxlan6": Encapsulated(
        "vxlan", "VXLANCrossSubnet", "", "vxlan-v6.bgpctl", "UDP port 4789", "udp dport 4789", TOPOLOGY6
    ),
}
_SIX: Final = (
    "a foreign route",
    "a rule that prohibits",
    "a chain that ends with reject",
    "the same by iptables",
    "the underlay drops the encapsulation",
    "the same where routers are not asked",
)
_WORDS_OF_IPV6: Final = {
    "10.244.0.0/16": "fd00:10:244::/64",
    "10.244.3.0/26": "fd00:10:244::c0/122",
    "10.0.0.254": "fd00:10:a::fe",
    "10.1.0.3": "fd00:10:b::3",
    "224.0.0.0/4": "ff00::/8",
    "ip route": "ip -6 route",
    "ip rule": "ip -6 rule",
    "table ip ": "table ip6 ",
    "chain ip ": "chain ip6 ",
    "ip saddr": "ip6 saddr",
    "ip daddr": "ip6 daddr",
    "iptables-nft": "ip6tables-nft",
    "icmp-host-prohibited": "icmp6-adm-prohibited",
    "metric 0": "metric 1",
}
"""Routes of other programs have a metric: without one it would be that of ours."""


def rows6(by: Encapsulated) -> Mapping[str, Row]:
    """All faults of one lab over IPv6, by name."""
    return {name: _over_ipv6(row) for name, row in rows(by).items() if name in _SIX}


def _over_ipv6(row: Row) -> Row:
    def command(text: str) -> str:
        return _in_ipv6(text) + (" metric 1" if text.endswith("proto bird") else "")

    return row._replace(
        make=tuple((part, command(text)) for part, text in row.make),
        undo=tuple((part, command(text)) for part, text in row.undo),
        state=_in_ipv6(row.state),
        cause=_in_ipv6(row.cause),
        doctor=_in_ipv6(row.doctor),
        verify=_in_ipv6(row.verify),
    )


def _in_ipv6(text: str) -> str:
    for four, six in _WORDS_OF_IPV6.items():
        text = text.replace(four, six)
    return text
