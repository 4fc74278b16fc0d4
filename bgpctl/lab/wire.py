"""
The format of each encapsulation's packets on a wire, and the packets inside: the one place in a lab that knows it.

Refuses to know: how packets are captured, which format is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.cluster.encapsulation import IPIP, VXLAN, Table
from bgpctl.core.cluster.intent import Intent

BARE: Final = "bare"
"""The shape of a packet that no tunnel carries."""
_PROTOCOL_IPIP, _PROTOCOL_UDP = 4, 17
_UDP_BYTES, _VXLAN_BYTES, _ETHERNET_BYTES = 8, 8, 14


class Carried(NamedTuple):
    """The IP packet inside a tunnel packet; `vni` where there is one; `shape` None if the tunnel is none of ours."""

    data: bytes
    vni: int | None
    shape: str | None


Format: TypeAlias = Callable[[int, int | None, bytes, Intent], Carried | None]
"""The contents of a packet, by its IP protocol, its destination port and the bytes after the IP header."""


def carried(protocol: int, port: int | None, payload: bytes, intent: Intent) -> Carried | None:
    """The contents of a packet by any of the formats."""
    return next((found for item in FORMATS.values() if (found := item(protocol, port, payload, intent))), None)


def shapes() -> tuple[str, ...]:
    """The words for all."""
    return (BARE, *FORMATS)


def _ipip(protocol: int, _: int | None, payload: bytes, __: Intent) -> Carried | None:
    return Carried(payload, None, IPIP.name) if protocol == _PROTOCOL_IPIP else None


def _vxlan(protocol: int, port: int | None, payload: bytes, intent: Intent) -> Carried | None:
    if protocol != _PROTOCOL_UDP or port != intent.vxlan_port:
        return None
    found = ethernet_in_udp(payload)
    return found._replace(shape=VXLAN.name if found.vni == intent.vxlan_vni else None) if found else None


def ethernet_in_udp(payload: bytes) -> Carried | None:
    """A VXLAN header behind that of UDP, its VNI in octets 4 to 6 (RFC 7348, section 5), and a frame behind both."""
    inner = _UDP_BYTES + _VXLAN_BYTES + _ETHERNET_BYTES
    vni = payload[_UDP_BYTES + 4 : _UDP_BYTES + 7]
    return Carried(payload[inner:], int.from_bytes(vni, "big"), None) if len(payload) >= inner else None


FORMATS: Final[Table[Format]] = Table({IPIP.name: _ipip, VXLAN.name: _vxlan})
