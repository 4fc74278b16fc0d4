"""
The next hops that routes to remote prefixes share.

Linux finds a route with many equal gateways slowly, and a change of one gateway would be a message per route. So all
prefixes of one pool behind one remote share a next-hop object, and all that are spread over the same remotes share a
group (docs/decisions/0006, 0011). The encapsulation is the content of a next hop, not part of its identity: changing it
is one message per pool and remote, and touches no route.

Nothing here depends on the prefixes: with as many routes as there may be, the next-hop sets are few.

Refuses to know: how an encapsulation reaches a remote, where prefixes were learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric.crossing import encapsulation_to, same_subnet
from bgpctl.core.fabric.desired import NextHopKey, NextHopSet, group_ids, next_hop_ids
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.fabric.protocol import Site
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Key, NextHop, NextHopGroup, key_of
from bgpctl.core.net.table import is_same

_OUTSIDE: Final = {4: Pool("", Prefix.parse("0.0.0.0/0")), 6: Pool("", Prefix.parse("::/0"))}
"""Stands for no pool at all: what a filter let in from outside the pools. None asks for a tunnel."""


def outside(version: int) -> Pool:
    """The pool of prefixes that are in no pool."""
    return _OUTSIDE[version]


class ResolvedSet(NamedTuple):
    """The next hop, or of several their group, that routes of one next-hop set name, and the reason of these routes."""

    next_hop: int
    why: Reason


class ResolutionInput(NamedTuple):
    """All that next hops depend on."""

    site: Site
    hop_sets: AbstractSet[NextHopSet]


class Resolution(NamedTuple):
    """
    The next-hop sets as they are from this site.

    Attributes:
        site, next-hop sets: what it follows from.
        outs: of each next-hop set that has a usable next hop.
        dataplane: next hops and groups, with their `reasons` by key.
        unmet: the remotes that nothing leads to.
    """

    made_from: ResolutionInput
    outs: Mapping[NextHopSet, ResolvedSet]
    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    unmet: tuple[Unmet, ...]


def resolved(read: ResolutionInput, before: Resolution | None = None) -> Resolution:
    """The next hops of the next-hop sets. What equals a part of the result `before` is the same object."""
    if before and is_same(before.made_from, read):
        return before
    site, hop_sets = read
    pools = {pool.cidr: pool for pool in (*_OUTSIDE.values(), *site.intent.pools)}
    hops, unmet = _next_hops(site, hop_sets, pools)
    usable = {hop_set: found for hop_set in hop_sets if (found := [hops[key] for key in hop_set.keys if key in hops])}
    groups = group_ids(_ids(found) for found in usable.values() if len(found) > 1)
    outs = {
        hop_set: ResolvedSet(
            groups.get(_ids(found), found[0].id), _why(site.node, pools[hop_set.pool], hop_set.remote, hop_set.source)
        )
        for hop_set, found in usable.items()
    }
    reasons = dict(_reasons(site.node, pools, hops, usable, groups))
    objects = Dataplane.of((*hops.values(), *(NextHopGroup(number, members) for members, number in groups.items())))
    now = Resolution(read, outs, objects, reasons, unmet)
    return _sharing(now, before) if before else now


def _sharing(now: Resolution, before: Resolution) -> Resolution:
    return Resolution(
        now.made_from,
        before.outs if now.outs == before.outs else now.outs,
        now.dataplane.sharing(before.dataplane),
        before.reasons if now.reasons == before.reasons else now.reasons,
        now.unmet,
    )


def _next_hops(
    site: Site, hop_sets: Iterable[NextHopSet], pools: Mapping[Prefix, Pool]
) -> tuple[Mapping[NextHopKey, NextHop], tuple[Unmet, ...]]:
    """The next hop of each key that the next-hop sets need, and the keys that have none."""
    members = _members(site.intent)
    hops: dict[NextHopKey, NextHop] = {}
    missing: list[Unmet] = []
    for key, number in next_hop_ids({key for hop_set in hop_sets for key in hop_set.keys}).items():
        pool = pools[key.pool]
        used = behaviour_of(encapsulation_to(pool, site.node, key.remote))
        hop = used.next_hop(site, number, key.remote, members.get(key.remote))
        if hop:
            hops[key] = hop
        else:
            missing.append(Unmet(UnmetCode.NEXT_HOP_UNRESOLVED, str(key.remote), f"pool {pool.name or 'none'}"))
    return hops, tuple(missing)


def _members(intent: Intent) -> Mapping[Address, Node]:
    return {own.address: member for member in intent.nodes for version in (4, 6) if (own := member.underlay(version))}


def _ids(hops: Iterable[NextHop]) -> tuple[int, ...]:
    return tuple(sorted(hop.id for hop in hops))


def _reasons(
    node: Node,
    pools: Mapping[Prefix, Pool],
    hops: Mapping[NextHopKey, NextHop],
    usable: Mapping[NextHopSet, list[NextHop]],
    groups: Mapping[tuple[int, ...], int],
) -> Iterator[tuple[Key, Reason]]:
    """Of several sources that name the same next hop the first by name counts: the last one that is yielded."""
    for hop_set in sorted(usable, reverse=True, key=lambda hop_set: (hop_set.source, hop_set)):
        for key in hop_set.keys:
            if key in hops:
                yield key_of(hops[key]), _why(node, pools[key.pool], key.remote, hop_set.source)
        group = groups.get(_ids(usable[hop_set]))
        if group is not None and len(usable[hop_set]) > 1:
            yield ("next-hop", group), _why(node, pools[hop_set.pool], hop_set.remote, hop_set.source)


def _why(node: Node, pool: Pool, remote: Address, source: str) -> Reason:
    return Reason(
        ReasonCode.BEST_PATH if pool.by_bgp else ReasonCode.MEMBER,
        pool=pool.name or None,
        source=source,
        remote=remote,
        encapsulation=encapsulation_to(pool, node, remote),
        same_subnet=same_subnet(node, remote),
    )
