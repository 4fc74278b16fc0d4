"""
Prefixes that are learned from the list of members, where BGP does not announce them.

Refuses to know: how packets get there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Unmet, UnmetCode
from bgpctl.core.fabric.desired import NextHopSet
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.net.addresses import Prefix


def remote_prefixes(
    intent: Intent, node: Node, versions: Iterable[int]
) -> tuple[Mapping[Prefix, NextHopSet], tuple[Unmet, ...]]:
    """
    Every block of another member in a pool whose blocks BGP does not announce, and every address that it has in others'
    blocks there: the way to each, and those to which there is none.
    """
    if all(pool.by_bgp for pool in intent.pools):
        return {}, ()
    found = [item for version in versions for item in _of_version(intent, node, version)]
    hop_sets = {prefix: hop_set for prefix, hop_set in found if isinstance(hop_set, NextHopSet)}
    return hop_sets, tuple(unmet for _, unmet in found if isinstance(unmet, Unmet))


def _of_version(intent: Intent, node: Node, version: int) -> Iterator[tuple[Prefix, NextHopSet | Unmet]]:
    for member in intent.nodes:
        for prefix in intent.prefixes_of(member) if member != node else ():
            hop_set = _hop_set(intent, member, prefix) if prefix.version == version else None
            if hop_set:
                yield prefix, hop_set


def _hop_set(intent: Intent, member: Node, prefix: Prefix) -> NextHopSet | Unmet | None:
    pool = intent.pool_of(prefix)
    if pool is None or pool.by_bgp:
        return None
    remote = member.underlay(prefix.version)
    if remote is None:
        return Unmet(UnmetCode.NO_ADDRESS, str(prefix), member.name)
    if not behaviour_of(pool.encapsulation).is_reachable(intent, member, prefix.version):
        return Unmet(UnmetCode.NO_TUNNEL_ADDRESS, str(prefix), member.name)
    return NextHopSet(pool.cidr, remote.address, member.name)
