"""
natOutgoing: what leaves the pools does so with the node's own address, because nobody outside knows the workloads'.

Refuses to know: how packets are rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.net.objects import Masquerade


def masquerade(configuration: Configuration) -> Iterator[Reasoned]:
    """Nothing for an IP version in which no pool has natOutgoing. Packets between pools keep their addresses."""
    for version in (4, 6):
        pools = [pool for pool in configuration.pools if pool.cidr.version == version]
        sources = tuple(sorted(pool.cidr for pool in pools if pool.nat_outgoing))
        if sources:
            inside = tuple(sorted(pool.cidr for pool in pools))
            yield Masquerade(sources, inside, configuration.vxlan_port), Reason(ReasonCode.NAT_OUTGOING)
