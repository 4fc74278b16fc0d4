"""
Prefixes that are learned from the list of members, where BGP does not announce them.

Refuses to know: how packets get there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Unmet, UnmetCode
from bgpctl.core.fabric.desired import NextHopSet
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.net.addresses import Prefix

Found: TypeAlias = tuple[Prefix, NextHopSet | Unmet]
"""A prefix, and the way to it, or why there is none."""


def remote_prefixes(
    intent: Intent, node: Node, versions: Iterable[int], others: Iterable[Node]
) -> Mapping[str, tuple[Found, ...]]:
    """
    Of `others`, by name, every block in a pool whose blocks BGP does not announce, and every address that it has in
    others' blocks there. A member without any is absent.
    """
    if all(pool.by_bgp for pool in intent.pools):
        return {}
    asked = (member for member in others if member is not node and member != node)
    found = ((member.name, tuple(_of_member(intent, member, tuple(versions)))) for member in asked)
    return {name: of_member for name, of_member in found if of_member}


def unmet(found: Mapping[str, Iterable[Found]], versions: Iterable[int]) -> tuple[Unmet, ...]:
    """The prefixes that nothing leads to, by IP version and by the name of the member."""
    missing = [
        (prefix, item)
        for _, of_member in sorted(found.items())
        for prefix, item in of_member
        if isinstance(item, Unmet)
    ]
    return tuple(item for version in versions for prefix, item in missing if prefix.version == version)


def _of_member(intent: Intent, member: Node, versions: Collection[int]) -> Iterator[Found]:
    for prefix in intent.prefixes_of(member):
        hop_set = _hop_set(intent, member, prefix) if prefix.version in versions else None
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
