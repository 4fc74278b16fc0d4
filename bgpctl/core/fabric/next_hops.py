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

from collections.abc import Iterable, Mapping
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
from bgpctl.core.net.objects import Key, NextHop, NextHopGroup
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
        hops: the next hop of each key that has one.
        outs: of each next-hop set that has a usable next hop.
        dataplane: next hops and groups, with their `reasons` by key.
        unmet: the remotes that nothing leads to.
    """

    made_from: ResolutionInput
    hops: Mapping[NextHopKey, NextHop]
    outs: Mapping[NextHopSet, ResolvedSet]
    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    unmet: tuple[Unmet, ...]


def resolved(read: ResolutionInput, before: Resolution | None = None) -> Resolution:
    """The next hops of the next-hop sets. What equals a part of the result `before` is the same object."""
    if before and is_same(before.made_from, read):
        return before
    # From the same site every next hop that has its id still is as it was.
    known = before if before and is_same(before.made_from, read, but="hop_sets") else None
    site, hop_sets = read
    pools = {pool.cidr: pool for pool in (*_OUTSIDE.values(), *site.intent.pools)}
    hops, unmet = _next_hops(site, hop_sets, pools, known.hops if known else {})
    usable = {hop_set: found for hop_set in hop_sets if (found := [hops[key] for key in hop_set.keys if key in hops])}
    groups = group_ids(_ids(found) for found in usable.values() if len(found) > 1)
    outs: dict[NextHopSet, ResolvedSet] = {}
    for hop_set, found in usable.items():
        number = groups[_ids(found)] if len(found) > 1 else found[0].id
        out = known.outs.get(hop_set) if known else None
        same = out is not None and out.next_hop == number
        outs[hop_set] = out if out and same else ResolvedSet(number, _why(site.node, pools, hop_set, hop_set.remote))
    reasons = _reasons(site.node, pools, hops, outs)
    objects = Dataplane.of((*hops.values(), *(NextHopGroup(number, members) for members, number in groups.items())))
    now = Resolution(read, hops, outs, objects, reasons, unmet)
    return _sharing(now, before) if before else now


def _sharing(now: Resolution, before: Resolution) -> Resolution:
    return now._replace(
        outs=before.outs if now.outs == before.outs else now.outs,
        dataplane=now.dataplane.sharing(before.dataplane),
        reasons=before.reasons if now.reasons == before.reasons else now.reasons,
    )


def _next_hops(
    site: Site, hop_sets: Iterable[NextHopSet], pools: Mapping[Prefix, Pool], known: Mapping[NextHopKey, NextHop]
) -> tuple[Mapping[NextHopKey, NextHop], tuple[Unmet, ...]]:
    """The next hop of each key that the next-hop sets need, and the keys that have none."""
    members = _members(site.intent)
    hops: dict[NextHopKey, NextHop] = {}
    missing: list[Unmet] = []
    for key, number in next_hop_ids({key for hop_set in hop_sets for key in hop_set.keys}).items():
        hop = known.get(key)
        if hop is None or hop.id != number:
            used = behaviour_of(encapsulation_to(pools[key.pool], site.node, key.remote))
            hop = used.next_hop(site, number, key.remote, members.get(key.remote))
        if hop:
            hops[key] = hop
        else:
            pool = f"pool {pools[key.pool].name or 'none'}"
            missing.append(Unmet(UnmetCode.NEXT_HOP_UNRESOLVED, str(key.remote), pool))
    return hops, tuple(missing)


def _members(intent: Intent) -> Mapping[Address, Node]:
    return {own.address: member for member in intent.nodes for version in (4, 6) if (own := member.underlay(version))}


def _ids(hops: Iterable[NextHop]) -> tuple[int, ...]:
    return tuple(sorted(hop.id for hop in hops))


def _reasons(
    node: Node,
    pools: Mapping[Prefix, Pool],
    hops: Mapping[NextHopKey, NextHop],
    outs: Mapping[NextHopSet, ResolvedSet],
) -> Mapping[Key, Reason]:
    """Of several sources of the same next hop or group the first by name counts, whichever came first."""
    users: dict[int, tuple[NextHopSet, Address]] = {}
    for hop_set, out in outs.items():
        numbers = {hops[key].id: key.remote for key in hop_set.keys if key in hops}
        for number, remote in {out.next_hop: hop_set.remote, **numbers}.items():
            other = users.get(number)
            if other is None or (hop_set.source, hop_set) < (other[0].source, other[0]):
                users[number] = hop_set, remote
    return {
        ("next-hop", number): outs[hop_set].why if remote == hop_set.remote else _why(node, pools, hop_set, remote)
        for number, (hop_set, remote) in users.items()
    }


def _why(node: Node, pools: Mapping[Prefix, Pool], hop_set: NextHopSet, remote: Address) -> Reason:
    pool = pools[hop_set.pool]
    return Reason(
        ReasonCode.BEST_PATH if pool.by_bgp else ReasonCode.MEMBER,
        pool=pool.name or None,
        source=hop_set.source,
        remote=remote,
        encapsulation=encapsulation_to(pool, node, remote),
        same_subnet=same_subnet(node, remote),
    )
