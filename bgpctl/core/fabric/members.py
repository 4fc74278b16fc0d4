"""
Prefixes that are learned from the list of members, where BGP does not announce them.

Refuses to know: how packets get there.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Unmet, UnmetCode
from bgpctl.core.fabric.desired import RemotePrefix
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.net.addresses import Prefix


def remote_prefixes(intent: Intent, node: Node, version: int) -> Iterator[RemotePrefix | Unmet]:
    """
    Every block of another member in a pool whose blocks BGP does not announce, and every address that it has in others'
    blocks there.
    """
    if all(pool.by_bgp for pool in intent.pools):
        return
    for member in intent.nodes:
        for prefix in intent.prefixes_of(member) if member != node else ():
            if prefix.version == version:
                yield from _remote_prefix(intent, member, prefix)


def _remote_prefix(intent: Intent, member: Node, prefix: Prefix) -> Iterator[RemotePrefix | Unmet]:
    pool = intent.pool_of(prefix)
    if pool is None or pool.by_bgp:
        return
    remote = member.underlay(prefix.version)
    if remote is None:
        yield Unmet(UnmetCode.NO_ADDRESS, str(prefix), member.name)
    elif not behaviour_of(pool.encapsulation).is_reachable(intent, member, prefix.version):
        yield Unmet(UnmetCode.NO_TUNNEL_ADDRESS, str(prefix), member.name)
    else:
        yield RemotePrefix(prefix, pool, remote.address, member.name)
