"""
Calico's keys, and ours, for the settings of each encapsulation: modes of pools, ends of tunnels, MTUs.

Where Calico's keys follow a rule, so do those of any other encapsulation; where they do not, they stand in tables.

Refuses to know: documents, the effect of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from bgpctl.core.cluster.encapsulation import ENCAPSULATIONS, IPIP, VXLAN, Encapsulation, Mode, tunnels
from bgpctl.core.cluster.tunnel_addresses import every_tunnel
from bgpctl.core.intent.draft import Setting

T = TypeVar("T")


def per_encapsulations(make: Callable[[], T]) -> Callable[[], T]:
    """Make a value once for each set of encapsulations: it is read for every object of a cluster."""
    made = lru_cache(maxsize=4)(lambda _: make())
    return lambda: made(tuple(ENCAPSULATIONS))


def mode_key(encapsulation: Encapsulation) -> str:
    """The key of a pool for the mode of one encapsulation: ipipMode, vxlanMode."""
    return f"{encapsulation.name}Mode"


def mode_keys(encapsulation: Encapsulation, mode: Mode) -> Mapping[str, Mode]:
    """Every such key of a pool that has this encapsulation in this mode."""
    return {mode_key(item): mode if item == encapsulation else Mode.NEVER for item in tunnels().values()}


class EndKeys(NamedTuple):
    """The keys of a form for a node's end of the tunnel of one IP version."""

    encapsulation: Encapsulation
    version: int
    address: str
    mac: str | None = None


BGP_END_KEYS: Final = (EndKeys(IPIP, 4, "ipv4IPIPTunnelAddr"),)
"""In spec.bgp of Calico's Node."""
SPEC_END_KEYS: Final = (
    EndKeys(VXLAN, 4, "ipv4VXLANTunnelAddr", "vxlanTunnelMACAddr"),
    EndKeys(VXLAN, 6, "ipv6VXLANTunnelAddr", "vxlanTunnelMACAddrV6"),
)
"""In spec of Calico's Node."""
ANNOTATED_END_KEYS: Final = (
    EndKeys(IPIP, 4, "projectcalico.org/IPv4IPIPTunnelAddr"),
    EndKeys(VXLAN, 4, "projectcalico.org/IPv4VXLANTunnelAddr", "projectcalico.org/VXLANTunnelMACAddr"),
    EndKeys(VXLAN, 6, "projectcalico.org/IPv6VXLANTunnelAddr", "projectcalico.org/VXLANTunnelMACAddrV6"),
)
"""On the Node of Kubernetes."""


@per_encapsulations
def short_end_keys() -> tuple[EndKeys, ...]:
    """The keys of the short form: vxlanTunnelAddress, vxlanTunnelMACAddressV6."""
    return tuple(_short_end_keys(encapsulation, version) for encapsulation, version in every_tunnel())


def _short_end_keys(encapsulation: Encapsulation, version: int) -> EndKeys:
    suffix = "" if version == 4 else f"V{version}"
    # A node has one MAC on all its tunnels of an IP version, by the key that it has in Calico.
    mac = f"vxlanTunnelMACAddress{suffix}" if encapsulation == VXLAN else None
    return EndKeys(encapsulation, version, f"{encapsulation.name}TunnelAddress{suffix}", mac)


class MtuKey(NamedTuple):
    """The key for the MTU of a tunnel of one IP version, and the setting that it makes."""

    key: str
    setting: Setting
    encapsulation: Encapsulation
    version: int


MTU_KEYS: Final = (
    MtuKey("ipipMTU", "ipip_mtu", IPIP, 4),
    MtuKey("vxlanMTU", "vxlan_mtu", VXLAN, 4),
    MtuKey("vxlanMTUV6", "vxlan_mtu6", VXLAN, 6),
)
"""By the names of FelixConfiguration, in all forms."""
