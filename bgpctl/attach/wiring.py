"""
The wiring of a workload, as a value: its cable to the node, its addresses, gateway, neighbours and routes.

As in Calico the cable is a veth pair, each address is a host prefix, and the gateway is one for all workloads: for IPv4
an address that no host has, for IPv6 the link-local one that the node's end has by itself. The node has a route to each
address and no address of its own on the cable.

Neighbours are permanent at both ends. So the node needs no ARP and no neighbour discovery of a workload, heeds none,
and a workload that answers for others is not believed.

The node's end is in the link group WORKLOADS. That is all that the agent has to know: the group goes with the link,
through restarts of the agent, and the kernel's filter (kernel/workload_filter.py) asks for it. The addresses that a
workload may send from are those whose route leads to its link.

Refuses to know: namespaces, who calls, pools.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bgpctl.core.net.addresses import Address, Mac, link_local
from bgpctl.core.net.objects import WORKLOADS

NODE_MAC: Final = Mac("ee:ee:ee:ee:ee:ee")
"""Of the node's end of every cable: a workload that moves keeps its gateway."""
GATEWAYS: Final = {4: Address.parse("169.254.1.1"), 6: link_local(NODE_MAC)}
RESOLVERS: Final = {4: GATEWAYS[4], 6: Address.parse("fd62:6770:6374:6c00::53")}
"""
Where workloads ask for names (dns/). The gateway of IPv6 would be asked from a link-local address, as RFC 6724 rule 2
has it, and nothing may come from there; so it is a unique local address (RFC 4193), the same on each node.
"""
_EVERYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}
_PLAIN: Final = {4: "scope link proto static", 6: "proto static"}
_NODE_SYSCTLS: Final = {
    "net/ipv4/conf/{}/accept_redirects": "0",
    "net/ipv4/conf/{}/arp_ignore": "8",
    "net/ipv4/conf/{}/proxy_arp": "0",
    "net/ipv6/conf/{}/accept_dad": "0",
    "net/ipv6/conf/{}/accept_ra": "0",
    "net/ipv6/conf/{}/accept_redirects": "0",
}


@dataclass(frozen=True, slots=True)
class Wiring:
    """
    Attributes:
        device: the node's end, at most 15 characters.
        addresses: the workload's own.
        inner: the workload's end.
        given_mac: of the workload's end; None for one that follows from `device`.
    """

    device: str
    addresses: tuple[Address, ...]
    mtu_bytes: int
    inner: str = "eth0"
    given_mac: Mac | None = None

    @property
    def mac(self) -> Mac:
        """Of the workload's end: locally administered, unicast, and known beforehand for the node's neighbours."""
        if self.given_mac:
            return self.given_mac
        octets = bytes((0x0A, *hashlib.sha256(self.device.encode()).digest()[:5]))
        return Mac(octets.hex(":"))

    def cable(self, node: str | None, workload: str | None) -> str:
        """
        The command of ip(8) that makes the link, from any namespace, or from the node's if `node` is None. The node's
        end is down, and in its group from the beginning. The workload's end stays there too if `workload` is None.
        """
        near = f"netns {node} " if node else ""
        far = f"netns {workload} " if workload else ""
        here = f"{near}group {WORKLOADS} address {NODE_MAC} mtu {self.mtu_bytes}"
        there = f"peer name {self.inner} {far}address {self.mac} mtu {self.mtu_bytes}"
        return f"link add {self.device} {here} type veth {there}"

    def node_sysctls(self) -> Mapping[str, str]:
        """The values below /proc/sys of the node, before its end is up."""
        return {name.format(self.device): value for name, value in _NODE_SYSCTLS.items()}

    def node_commands(self) -> Iterator[str]:
        """The commands of ip(8) in the node's namespace."""
        yield f"link set {self.device} up"
        for address in self.addresses:
            yield f"neighbour replace {address} lladdr {self.mac} dev {self.device} nud permanent"
            yield self.route(address)

    def route(self, address: Address) -> str:
        """The command of ip(8) for the node's route to one of the addresses."""
        return f"route add {address.host_prefix} dev {self.device} {_PLAIN[address.version]}"

    def workload_commands(self) -> Iterator[str]:
        """The commands of ip(8) in the workload's namespace."""
        yield f"link set {self.inner} up"
        for address in self.addresses:
            unasked = " nodad" if address.version == 6 else ""
            yield f"address add {address.host_prefix} dev {self.inner}{unasked}"
            yield from self._default_route(GATEWAYS[address.version])

    def _default_route(self, gateway: Address) -> Iterator[str]:
        if gateway.version == 4:
            yield f"route replace {gateway} dev {self.inner} scope link"
        yield f"route replace {_EVERYWHERE[gateway.version]} via {gateway} dev {self.inner}"
        yield gateway_neighbour(gateway, self.inner)


def gateway(version: int, number: int) -> Address:
    """
    The gateway of the n-th network of one workload, from 1: a routing table has one route to a gateway. No host has any
    of these addresses, but for the first of IPv6, which the node's end has by itself, and the first of IPv4 where names
    are resolved; a workload knows the neighbour.
    """
    first = GATEWAYS[version]
    return Address(version, first.value + number - 1)


def gateway_number(address: Address) -> int:
    """The reverse of `gateway`."""
    return address.value - GATEWAYS[address.version].value + 1


def gateway_neighbour(gateway: Address, inner: str) -> str:
    """The command of ip(8) in the workload's namespace by which its link `inner` needs no answer of the gateway."""
    return f"neighbour replace {gateway} lladdr {NODE_MAC} dev {inner} nud permanent"


def device_of(workload: str) -> str:
    """A name for the node's end of a workload's cable; at most 15 characters."""
    return "cali" + hashlib.sha256(workload.encode()).hexdigest()[:11]
