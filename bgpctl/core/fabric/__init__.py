"""
From what we know to what should be: (intent, chosen paths, kernel facts) -> Desired, whole, every time.

VXLAN reads members where the others read BGP paths; below this file only `vxlan.py` and `ipip.py` know a difference.

Refuses to know: what is in the kernel of ours already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from bgpctl.core.cluster import Encapsulation, Intent, Mode, Node, Pool
from bgpctl.core.fabric import direct, ipip, nat, vxlan
from bgpctl.core.fabric.desired import Desired, Reach, Reasoned, Slot, gather, next_hop_ids
from bgpctl.core.fabric.facts import Underlay, underlay_of
from bgpctl.core.model import Address, Dataplane, NextHop, Route, RouteType, Sysctl
from bgpctl.core.rib import Choice
from bgpctl.core.why import Because, Hold, Lack, Missing, Why, Withheld

__all__ = ["Desired", "derive", "encapsulation_to"]


def derive(
    intent: Intent,
    node: Node,
    names: Mapping[Address, str],
    choices: Iterable[Choice],
    observed: Dataplane,
    withheld: Iterable[Withheld] = (),
) -> Desired:
    """
    What should be in the kernel of `node`.

    `names` has the name of each BGP peer, for the reasons; `choices` the best path of each prefix that policy let
    in. Of `observed`, this node's kernel, only objects that are not ours are looked at.
    """
    intent, not_yet = _ipv4_part(intent)
    node = next(member for member in intent.nodes if member.name == node.name)
    underlay = underlay_of(observed, node)
    if underlay is None:
        subject = str(node.address.address)
        unknown = Withheld(Hold.FACTS_UNKNOWN, subject)
        return gather(_local(node), [*not_yet, Missing(Lack.UNDERLAY_UNKNOWN, subject)], [*withheld, unknown])
    found = [*_by_bgp(intent, names, choices), *vxlan.reaches(intent, node)]
    reaches = [item for item in found if isinstance(item, Reach)]
    missing = [item for item in found if isinstance(item, Missing)]
    hops, unresolved = _hops(intent, node, reaches, underlay, observed)
    wanted = chain(
        _local(node),
        nat.masquerade(intent),
        _tunnels(intent, node, underlay),
        _remote(node, reaches, hops),
    )
    return gather(wanted, [*not_yet, *missing, *unresolved], withheld)


def encapsulation_to(pool: Pool, node: Node, remote: Address) -> Encapsulation:
    """How `node` sends to the node at `remote`: same-subnet means inside the *local* node's own network."""
    if pool.mode is Mode.CROSS_SUBNET and node.address.network.holds(remote):
        return Encapsulation.DIRECT
    return pool.encapsulation


def _ipv4_part(intent: Intent) -> tuple[Intent, list[Missing]]:
    """The intent without its IPv6 pools and blocks, which are not routed yet, and what is missing by that."""
    nodes = (
        replace(
            node,
            blocks=tuple(block for block in node.blocks if block.version == 4),
            borrowed=tuple(prefix for prefix in node.borrowed if prefix.version == 4),
        )
        for node in intent.nodes
    )
    pools = tuple(pool for pool in intent.pools if pool.cidr.version == 4)
    missing = [Missing(Lack.IPV6_POOL, pool.name) for pool in intent.pools if pool.cidr.version == 6]
    return replace(intent, pools=pools, nodes=tuple(nodes)), missing


def _local(node: Node) -> Iterator[Reasoned]:
    yield Sysctl("net/ipv4/ip_forward", "1"), Why(Because.FORWARDING)
    for block in node.blocks:
        # Unassigned addresses of an own block must not follow the default route. A /32 is the workload itself.
        if block.size > 1:
            yield Route(block, RouteType.BLACKHOLE), Why(Because.OWN_BLOCK, source=node.name)


def _tunnels(intent: Intent, node: Node, underlay: Underlay) -> Iterator[Reasoned]:
    for encapsulation in (ipip, vxlan):
        if encapsulation.wanted(intent):
            yield from encapsulation.devices(intent, node, underlay)


def _by_bgp(intent: Intent, names: Mapping[Address, str], choices: Iterable[Choice]) -> Iterator[Reach]:
    for choice in choices:
        path = choice.best.path
        pool = intent.pool_of(path.prefix)
        if pool and pool.by_bgp and path.next_hop:
            peer = choice.best.peer
            yield Reach(path.prefix, pool, path.next_hop, names.get(peer, str(peer)))


def _hops(
    intent: Intent, node: Node, reaches: Iterable[Reach], underlay: Underlay, observed: Dataplane
) -> tuple[Mapping[Slot, NextHop], list[Missing]]:
    """The next hop of each slot, and the slots that have none."""
    pools = {Slot(reach.pool.cidr, reach.remote): reach.pool for reach in reaches}
    members = {member.address.address: member for member in intent.nodes}
    hops: dict[Slot, NextHop] = {}
    missing: list[Missing] = []
    for slot, number in next_hop_ids(pools).items():
        remote = slot.remote
        match encapsulation_to(pools[slot], node, remote):
            case Encapsulation.IPIP:
                hop: NextHop | None = ipip.hop(number, remote)
            case Encapsulation.VXLAN:
                hop = vxlan.hop(number, members[remote], intent)
            case Encapsulation.DIRECT if node.address.network.holds(remote):
                hop = direct.same_subnet_hop(number, remote, underlay)
            case Encapsulation.DIRECT:
                hop = direct.routed_hop(number, remote, observed)
        if hop:
            hops[slot] = hop
        else:
            missing.append(Missing(Lack.NEXT_HOP_UNRESOLVED, str(remote), f"pool {pools[slot].name}"))
    return hops, missing


def _remote(node: Node, reaches: Iterable[Reach], hops: Mapping[Slot, NextHop]) -> Iterator[Reasoned]:
    for reach in reaches:
        hop = hops.get(Slot(reach.pool.cidr, reach.remote))
        if hop is None:
            continue
        why = Why(
            Because.BEST_PATH if reach.pool.by_bgp else Because.MEMBER,
            pool=reach.pool.name,
            source=reach.source,
            remote=reach.remote,
            encapsulation=encapsulation_to(reach.pool, node, reach.remote),
            same_subnet=node.address.network.holds(reach.remote),
        )
        yield hop, why
        yield Route(reach.prefix, next_hop=hop.id), why
