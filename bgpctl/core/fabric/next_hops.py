"""
Routes to remote prefixes, and the next hops that they share.

Linux finds a route with many equal gateways slowly, and a change of one gateway would be a message per route. So all
prefixes of one pool behind one remote share a next-hop object, and all that are spread over the same remotes share a
group (docs/decisions/0006, 0011). The encapsulation is the content of a next hop, not part of its identity: changing it
is one message per pool and remote, and touches no route.

Refuses to know: how an encapsulation reaches a remote, where prefixes were learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric.crossing import encapsulation_to, same_subnet
from bgpctl.core.fabric.desired import NextHopKey, Reasoned, RemotePrefix, group_ids, next_hop_ids
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.fabric.protocol import Site
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop, NextHopGroup, Route


def resolved(site: Site, prefixes: Iterable[RemotePrefix]) -> tuple[Mapping[NextHopKey, NextHop], list[Unmet]]:
    """The next hop of each key that these prefixes need, and the keys that have none."""
    pools = {key: item.pool for item in prefixes for key in item.keys}
    members = _members(site.intent)
    hops: dict[NextHopKey, NextHop] = {}
    missing: list[Unmet] = []
    for key, number in next_hop_ids(pools).items():
        used = behaviour_of(encapsulation_to(pools[key], site.node, key.remote))
        hop = used.next_hop(site, number, key.remote, members.get(key.remote))
        if hop:
            hops[key] = hop
        else:
            pool = f"pool {pools[key].name or 'none'}"
            missing.append(Unmet(UnmetCode.NEXT_HOP_UNRESOLVED, str(key.remote), pool))
    return hops, missing


def _members(intent: Intent) -> Mapping[Address, Node]:
    return {own.address: member for member in intent.nodes for version in (4, 6) if (own := member.underlay(version))}


def routes(node: Node, prefixes: Iterable[RemotePrefix], hops: Mapping[NextHopKey, NextHop]) -> Iterator[Reasoned]:
    """Next hops, groups and routes. A prefix of which no next hop is usable has none."""
    together: dict[tuple[tuple[NextHopKey, ...], str], list[RemotePrefix]] = {}
    for item in prefixes:
        together.setdefault((item.keys, item.source), []).append(item)
    usable = [([hops[key] for key in keys if key in hops], alike) for (keys, _), alike in together.items()]
    groups = group_ids(_ids(found) for found, _ in usable if len(found) > 1)
    for found, alike in usable:
        if found:
            yield from _routes(node, found, groups.get(_ids(found), found[0].id), alike)


def _routes(node: Node, hops: Sequence[NextHop], number: int, alike: Sequence[RemotePrefix]) -> Iterator[Reasoned]:
    """Of prefixes with the same next hops; `number` is the next hop's id, or of several, their group's."""
    # The reason is made once for all: tables have many times more prefixes than next hops.
    why = _why(node, alike[0])
    yield from ((hop, why) for hop in hops)
    if len(hops) > 1:
        yield NextHopGroup(number, _ids(hops)), why
    yield from ((Route(item.prefix, next_hop=number), why) for item in alike)


def _ids(hops: Iterable[NextHop]) -> tuple[int, ...]:
    return tuple(sorted(hop.id for hop in hops))


def _why(node: Node, item: RemotePrefix) -> Reason:
    return Reason(
        ReasonCode.BEST_PATH if item.pool.by_bgp else ReasonCode.MEMBER,
        pool=item.pool.name or None,
        source=item.source,
        remote=item.remote,
        encapsulation=encapsulation_to(item.pool, node, item.remote),
        same_subnet=same_subnet(node, item.remote),
    )
