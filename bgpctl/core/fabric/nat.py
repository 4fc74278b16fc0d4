"""
natOutgoing: what leaves the pools does so with the node's own address, because the workloads' are unknown outside.

Refuses to know: how packets are rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from bgpctl.core.cluster.configuration import Backend, Configuration
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.net.objects import Masquerade

_FIRST_PORT: Final = 1024
_LAST_PORT: Final = 65535


def masquerade(configuration: Configuration, underlays: Mapping[int, Underlay]) -> Iterator[Reasoned]:
    """
    Nothing for an IP version in which no pool has natOutgoing. Packets between pools keep their addresses. `underlays`:
    where the node's address is, by IP version.
    """
    ports = free_udp_ports(port for item in BEHAVIOURS.values() if (port := item.udp_port(configuration)))
    for version in (4, 6):
        pools = [pool for pool in configuration.pools if pool.cidr.version == version]
        sources = tuple(sorted(pool.cidr for pool in pools if pool.nat_outgoing))
        if sources:
            inside = tuple(sorted(pool.cidr for pool in pools))
            found = underlays.get(version)
            own = (found.link, found.address.address) if found else ()
            yield Masquerade(sources, inside, ports, bgp_ports(configuration), *own), Reason(ReasonCode.NAT_OUTGOING)


def bgp_ports(configuration: Configuration) -> tuple[int, ...]:
    """Where nodes and their peers take BGP connections; none without BGP."""
    if configuration.backend is not Backend.BIRD:
        return ()
    return tuple(sorted({configuration.listen_port, *(peer.port for peer in configuration.peers)}))


def free_udp_ports(taken: Iterable[int]) -> tuple[int, int]:
    """The widest range between ports that tunnels have, as nftables takes one range: the first port and the last."""
    gaps = [(low + 1, high - 1) for low, high in pairwise((0, *sorted(taken), _LAST_PORT + 1))]
    low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
    return (_FIRST_PORT if low == 1 else low), high
