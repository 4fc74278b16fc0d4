"""
The packets that a workload may send to this node, whatever it has been made to send.

The links that lead to workloads are in a group of their own, from the moment they are made. The filter is there before
the first of them, so that its first packet is filtered, and keeps the pools away from this node's BGP. A workload's
addresses are not repeated here: they are those whose route leads to its link.

Tunnels trust a member's address; BGP sessions and the channel between agents begin with one. A workload has it as soon
as its packets are masqueraded. So it may speak the protocols of all these to other workloads alone, and never IP in IP.

Also the MTU of their links.

Refuses to know: how packets are kept out, what attaches workloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.encapsulations import BEHAVIOURS, behaviour_of
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import WorkloadFilter

_NONE: Final[Mapping[str, int]] = {}


def workload_filter(configuration: Configuration, observed: Dataplane) -> Iterator[Reasoned]:
    """Nothing without a pool. With one the filter is there before the first workload's link is."""
    if configuration.pools:
        inside = tuple(sorted(pool.cidr for pool in configuration.pools))
        masqueraded = tuple(sorted(pool.cidr for pool in configuration.pools if pool.nat_outgoing))
        ports = {port for item in BEHAVIOURS.values() if (port := item.udp_port(configuration))}
        # While a port changes, members may still take packets at the one that a device of ours has.
        ports |= {link.kind.wire()["port"] for link in observed.links if link.owned and "port" in link.kind.wire()}
        listening = configuration.listen_port, _neighbours(configuration), configuration.channel_port
        filtered = WorkloadFilter(inside, masqueraded, tuple(sorted(ports)), *listening)
        yield filtered, Reason(ReasonCode.WORKLOADS)


def mtu_bytes(
    configuration: Configuration, addresses: Iterable[Address], carrier_bytes: int, devices: Mapping[str, int] = _NONE
) -> int:
    """
    The MTU of a workload's link, with which its packets fit the encapsulation of each of its addresses' pools. The
    underlay's is `carrier_bytes`; `devices`: that of links that are there by name, of which a tunnel's may be smaller.
    """
    return min(found for address in addresses for found in _mtus_bytes(configuration, address, carrier_bytes, devices))


def _mtus_bytes(
    configuration: Configuration, address: Address, carrier_bytes: int, devices: Mapping[str, int]
) -> Iterator[int]:
    pool = configuration.pool_of(address.host_prefix)
    behaviour = behaviour_of(pool.encapsulation if pool else DIRECT)
    yield behaviour.mtu_bytes(configuration, address.version, carrier_bytes)
    yield from (devices[name] for name in behaviour.link_names(address.version) if name in devices)


def _neighbours(configuration: Configuration) -> tuple[Address, ...]:
    """The nodes and BGP peers that have an address of a pool. A pool that covers nodes is a disabled one."""
    pools = configuration.pools
    covering = [pool.cidr for pool in pools if pool.disabled]
    nodes = (address for node in configuration.nodes for address in node.addresses) if covering else ()
    peers = [peer.address for peer in configuration.peers if peer.address]
    found = {address for address in nodes if any(cidr.holds(address) for cidr in covering)}
    return tuple(sorted(found.union(peer for peer in peers if any(pool.cidr.holds(peer) for pool in pools))))
