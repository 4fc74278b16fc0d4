"""
The addresses that nodes have been given out of the pools: blocks, single addresses, the ends of tunnels. Values only.

IP address management writes these while the cluster runs, a block or an address at a time, and they are not edited by
hand: Calico keeps them in BlockAffinity, IPAMBlock and in what calico/node writes into its Node, among it the VTEP's
MAC. They refer to the configuration (core/cluster/configuration.py), which refers to none of them.

Refuses to know: pools and nodes other than by name, who allocates and how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.net.addresses import Address, Mac, Prefix


class TunnelAddress(NamedTuple):
    """An address that was given to a node's end of the tunnel of its IP version."""

    encapsulation: Encapsulation
    address: Address


class VtepMac(NamedTuple):
    """The MAC address of a node's ends of tunnels that carry Ethernet, over one IP version."""

    version: int
    mac: Mac


@dataclass(frozen=True, slots=True)
class NodeAllocations:
    """
    Everything that one node has been given.

    Attributes:
        blocks: affine to the node, sorted.
        borrowed: host prefixes of its workloads inside other nodes' blocks, sorted.
        home: blocks that the node claimed first in their pools, of which its tunnel addresses are taken. Declared ones
            are in order instead; a claimed one may sort before the first, and no tunnel address moves for it.
        tunnel_addresses, vtep_macs: one of each tunnel at most; without one it is derived (tunnel_addresses.py).
    """

    blocks: tuple[Prefix, ...] = ()
    borrowed: tuple[Prefix, ...] = ()
    tunnel_addresses: frozenset[TunnelAddress] = frozenset()
    vtep_macs: frozenset[VtepMac] = frozenset()
    home: tuple[Prefix, ...] = ()

    def tunnel_address(self, encapsulation: Encapsulation, version: int) -> Address | None:
        """The address that was given to one end of a tunnel; None where none was."""
        ends = (end.address for end in self.tunnel_addresses if end.encapsulation == encapsulation)
        return next((address for address in ends if address.version == version), None)

    def vtep_mac(self, version: int) -> Mac | None:
        """The MAC that was given to the tunnel devices; None where none was."""
        return next((given.mac for given in self.vtep_macs if given.version == version), None)


_NOTHING: Final = NodeAllocations()


@dataclass(frozen=True, slots=True)
class Allocations:
    """Of the whole cluster, by the name of the node; a node that has nothing is absent."""

    by_node: Mapping[str, NodeAllocations] = field(default_factory=dict)

    def of(self, name: str) -> NodeAllocations:
        """The allocations of one node."""
        return self.by_node.get(name, _NOTHING)
