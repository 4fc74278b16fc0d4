"""
Everything that is wanted of a cluster: its configuration, and the allocations that were made under it.

The two have sources of their own. An operator writes the configuration, and it changes a few times a day at most; IP
address management writes the allocations, as workloads come and go. Code that needs the configuration alone (sessions,
policies, MTUs) takes a `Configuration`, which an `Intent` is; blocks, borrowed addresses and the ends of tunnels are
asked of the `Intent`, never of a `Node`.

Refuses to know: where either half comes from (ports.py), who owns a given prefix (ownership.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from bgpctl.core.cluster import tunnel_addresses
from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.net.addresses import Address, Mac, Prefix


@dataclass(frozen=True, slots=True)
class Intent(Configuration):
    """
    A configuration with its allocations.

    `remarks` are the warnings and notes of the reader; they are no part of the desired state.
    """

    allocations: Allocations = field(default_factory=Allocations)
    remarks: tuple[Problem, ...] = field(default=(), compare=False, repr=False)

    def blocks_of(self, node: Node) -> tuple[Prefix, ...]:
        """The blocks that are affine to the node, sorted."""
        return self.allocations.of(node.name).blocks

    def borrowed_by(self, node: Node) -> tuple[Prefix, ...]:
        """
        Host prefixes that are the node's although their block, if there is one, is not: sorted.

        A tunnel address that was given from elsewhere is one of them: answers to it must find the node.
        """
        given = self.allocations.of(node.name)
        return tuple(sorted({*given.borrowed, *tunnel_addresses.outside_blocks(self, given)}))

    def prefixes_of(self, node: Node) -> tuple[Prefix, ...]:
        """Every prefix that leads to the node: its blocks, then its borrowed addresses."""
        return (*self.blocks_of(node), *self.borrowed_by(node))

    def tunnel_address(self, node: Node, encapsulation: Encapsulation, version: int) -> Address | None:
        """The address of the node's end of a tunnel: the given one, or one taken from a pool."""
        given = self.allocations.of(node.name)
        address = given.tunnel_address(encapsulation, version)
        return address or tunnel_addresses.taken(self, node, given.blocks, encapsulation, version)

    def tunnel_addresses(self, node: Node) -> tuple[Address, ...]:
        """The addresses that the node has, on all tunnels."""
        found = (self.tunnel_address(node, *tunnel) for tunnel in tunnel_addresses.every_tunnel())
        return tuple(address for address in found if address)

    def vtep_mac(self, node: Node, version: int) -> Mac:
        """The MAC of the node's Ethernet tunnels over one IP version: the given one, or one derived from its name."""
        return self.allocations.of(node.name).vtep_mac(version) or tunnel_addresses.derived_mac(node, version)


def joined(configuration: Configuration, allocations: Allocations) -> Intent:
    """Both halves together."""
    halves = {item.name: getattr(configuration, item.name) for item in fields(Configuration)}
    return Intent(**halves, allocations=allocations)
