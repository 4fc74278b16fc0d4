"""Nodes that send to others through IP in IP or VXLAN, with the kernel objects of both."""

from __future__ import annotations

from dataclasses import dataclass

from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Vni,
    vtep_mac,
)
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    KernelObject,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    Sysctl,
)
from tests.contract.ipip_rig import NODES


@dataclass(frozen=True)
class Tunnel:
    """How n1 sends to a node, and the IP protocol number of the outer header on the wire."""

    link: str
    protocol: int


IPIP, VXLAN = Tunnel("tunl0", 4), Tunnel("vxlan.test", 17)


def node_address(number: int) -> Address:
    return Address.parse(f"10.0.0.{number}")


def tunnel_address(number: int) -> Address:
    return Address.parse(f"10.244.{number}.3")


def wanted(number: int) -> list[KernelObject]:
    """The tunnels of one node, which it receives by, and its own part of what all reach."""
    others = [other for other in NODES if other != number]
    kind = Vxlan(Vni(4096), 4789, node_address(number), "eth0")
    return [
        Sysctl("net/ipv4/ip_forward", "1"),
        Link("vxlan.test", kind, 1450, vtep_mac(f"n{number}")),
        Link("tunl0", Ipip(), 1480),
        Sysctl("net/ipv4/conf/tunl0/forwarding", "1"),
        LinkAddress("vxlan.test", InterfaceAddress(tunnel_address(number), 32)),
        LinkAddress("tunl0", InterfaceAddress(tunnel_address(number), 32)),
        *(
            Decap(link, "eth0", node_address(number), tuple(map(node_address, others)))
            for link in ("tunl0", "vxlan.test")
        ),
        *(FdbEntry("vxlan.test", vtep_mac(f"n{other}"), node_address(other)) for other in others),
        *(Neighbour("vxlan.test", tunnel_address(other), vtep_mac(f"n{other}")) for other in others),
    ]


def hop(number: int, tunnel: Tunnel) -> NextHop:
    gateway = node_address(number) if tunnel is IPIP else tunnel_address(number)
    return NextHop(0x42000000 + number, tunnel.link, gateway, onlink=True)
