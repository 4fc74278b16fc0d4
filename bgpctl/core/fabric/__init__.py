"""
From what we know to what should be: (intent, chosen paths, kernel facts) -> Desired, whole, every time.

VXLAN reads members where the others read BGP paths; below this file only `vxlan.py` and `ipip.py` know a difference.

Refuses to know: what is in the kernel of ours already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from bgpctl.core.bgp.decision import Choice
from bgpctl.core.cluster.configuration import Mode, Node, Pool
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode, Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric import direct, ipip, nat, vxlan
from bgpctl.core.fabric.desired import (
    Desired,
    NextHopKey,
    Reasoned,
    RemotePrefix,
    gather,
    group_ids,
    next_hop_ids,
)
from bgpctl.core.fabric.facts import Underlay, outer_mtu_bytes, underlay_of
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import NextHop, NextHopGroup, Route, RouteType, Sysctl

__all__ = ["Desired", "derive", "encapsulation_to", "same_subnet"]

_FORWARDING: Final = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_FORWARDED: Final = Reason(ReasonCode.FORWARDING)

_OUTSIDE: Final = {4: Pool("", Prefix.parse("0.0.0.0/0")), 6: Pool("", Prefix.parse("::/0"))}
"""Stands for no pool at all."""


def derive(
    intent: Intent,
    node: Node,
    names: Mapping[Address, str],
    choices: Iterable[Choice],
    observed: Dataplane,
    withheld: Iterable[PruneHold] = (),
) -> Desired:
    """
    The objects that should be in the kernel of `node`.

    `names` has the name of each BGP peer, for the reasons; `choices` the best path of each prefix that policy let
    in. Of `observed`, this node's kernel, only objects that are not ours are looked at, and our tunnel devices.
    """
    own = [address for version in _versions(intent, node) if (address := node.underlay(version))]
    underlays = {item.version: item for address in own if (item := underlay_of(observed, address))}
    unknown = [str(address.address) for address in own if address.address.version not in underlays]
    by_bgp = (reach for reach in _by_bgp(intent, names, choices) if reach.remote.version in underlays)
    found = [*by_bgp, *(item for version in underlays for item in vxlan.reaches(intent, node, version))]
    reaches = [item for item in found if isinstance(item, RemotePrefix)]
    missing = [item for item in found if isinstance(item, Unmet)]
    vteps = {version: vxlan.link_name(intent, version, observed) for version in underlays}
    hops, unresolved = _hops(intent, node, reaches, underlays, vteps, observed)
    wanted = chain(
        _local(intent, node, own),
        _heeding_routers(underlays, observed),
        nat.masquerade(intent),
        _tunnels(intent, node, underlays, vteps, observed),
        _remote(node, reaches, hops),
    )
    missing += [*unresolved, *(Unmet(UnmetCode.UNDERLAY_UNKNOWN, subject) for subject in unknown)]
    return gather(
        wanted, missing, [*withheld, *(PruneHold(PruneHoldCode.FACTS_UNKNOWN, subject) for subject in unknown)]
    )


def encapsulation_to(pool: Pool, node: Node, remote: Address) -> Encapsulation:
    """How `node` sends to the node at `remote`."""
    if pool.mode is Mode.CROSS_SUBNET and same_subnet(node, remote):
        return Encapsulation.DIRECT
    return pool.encapsulation


def same_subnet(node: Node, remote: Address) -> bool:
    """True if `remote` lies inside the *local* node's own network."""
    own = node.underlay(remote.version)
    return own is not None and own.network.holds(remote)


def _versions(intent: Intent, node: Node) -> list[int]:
    """The IP versions that the cluster routes, and the one that others know the node by."""
    return sorted({node.address.address.version, *(pool.cidr.version for pool in intent.pools)})


def _local(intent: Intent, node: Node, own: Iterable[InterfaceAddress]) -> Iterator[Reasoned]:
    for address in own:
        yield Sysctl(_FORWARDING[address.address.version], "1"), _FORWARDED
    for block in intent.blocks_of(node):
        # Unassigned addresses of an own block must not follow the default route. A host prefix is the workload itself.
        if block.size > 1:
            yield Route(block, RouteType.BLACKHOLE), Reason(ReasonCode.OWN_BLOCK, source=node.name)


def _heeding_routers(underlays: Mapping[int, Underlay], observed: Dataplane) -> Iterator[Reasoned]:
    """
    A host that begins to forward IPv6 drops the default route that a router advertised, and heeds advertisements no
    more, unless accept_ra is 2. Where it is 0 the operator does without.
    """
    if 6 in underlays:
        name = f"net/ipv6/conf/{underlays[6].link}/accept_ra"
        if not observed.sysctls.isdisjoint({Sysctl(name, "1"), Sysctl(name, "2")}):
            yield Sysctl(name, "2"), _FORWARDED


def _tunnels(
    intent: Intent, node: Node, underlays: Mapping[int, Underlay], vteps: Mapping[int, str], observed: Dataplane
) -> Iterator[Reasoned]:
    for version, underlay in underlays.items():
        remotes = [there.address for other in intent.nodes if other != node and (there := other.underlay(version))]
        carrier = replace(underlay, mtu_bytes=outer_mtu_bytes(observed, underlay, remotes))
        if version == 4 and ipip.wanted(intent):
            yield from ipip.devices(intent, node, carrier)
        if vxlan.wanted(intent, version):
            yield from vxlan.devices(intent, node, vteps[version], carrier)


def _by_bgp(intent: Intent, names: Mapping[Address, str], choices: Iterable[Choice]) -> Iterator[RemotePrefix]:
    for choice in choices:
        path = choice.best.path
        # A filter let it in from outside the pools: no pool asks for a tunnel.
        pool = intent.pool_of(path.prefix) or _OUTSIDE[path.prefix.version]
        if pool.by_bgp and path.next_hop:
            peer = choice.best.peer
            others = {also.path.next_hop for also in choice.also} - {None, path.next_hop}
            also = tuple(sorted(remote for remote in others if remote and remote.version == path.next_hop.version))
            yield RemotePrefix(path.prefix, pool, path.next_hop, names.get(peer, str(peer)), also)


def _hops(
    intent: Intent,
    node: Node,
    reaches: Iterable[RemotePrefix],
    underlays: Mapping[int, Underlay],
    vteps: Mapping[int, str],
    observed: Dataplane,
) -> tuple[Mapping[NextHopKey, NextHop], list[Unmet]]:
    """The next hop of each slot, and the slots that have none."""
    pools = {slot: reach.pool for reach in reaches for slot in reach.slots}
    members = {
        own.address: member for member in intent.nodes for version in (4, 6) if (own := member.underlay(version))
    }
    hops: dict[NextHopKey, NextHop] = {}
    missing: list[Unmet] = []
    for slot, number in next_hop_ids(pools).items():
        remote = slot.remote
        match encapsulation_to(pools[slot], node, remote):
            case Encapsulation.IPIP:
                hop: NextHop | None = ipip.hop(number, remote)
            case Encapsulation.VXLAN:
                hop = vxlan.hop(number, vteps[remote.version], members[remote], intent, remote.version)
            case Encapsulation.DIRECT if same_subnet(node, remote):
                hop = direct.same_subnet_hop(number, remote, underlays[remote.version])
            case Encapsulation.DIRECT:
                hop = direct.routed_hop(number, remote, observed)
        if hop:
            hops[slot] = hop
        else:
            missing.append(Unmet(UnmetCode.NEXT_HOP_UNRESOLVED, str(remote), f"pool {pools[slot].name or 'none'}"))
    return hops, missing


def _remote(node: Node, reaches: Iterable[RemotePrefix], hops: Mapping[NextHopKey, NextHop]) -> Iterator[Reasoned]:
    together: dict[tuple[tuple[NextHopKey, ...], str], list[RemotePrefix]] = {}
    for reach in reaches:
        together.setdefault((reach.slots, reach.source), []).append(reach)
    usable = {key: [hops[slot] for slot in key[0] if slot in hops] for key in together}
    groups = group_ids(_members(found) for found in usable.values() if len(found) > 1)
    for key, found in usable.items():
        if not found:
            continue
        # Once for all prefixes that lead the same way: tables have many times more of these than ways.
        why = _why(node, together[key][0])
        yield from ((hop, why) for hop in found)
        number = groups.get(_members(found), found[0].id)
        if len(found) > 1:
            yield NextHopGroup(number, _members(found)), why
        yield from ((Route(reach.prefix, next_hop=number), why) for reach in together[key])


def _why(node: Node, reach: RemotePrefix) -> Reason:
    return Reason(
        ReasonCode.BEST_PATH if reach.pool.by_bgp else ReasonCode.MEMBER,
        pool=reach.pool.name or None,
        source=reach.source,
        remote=reach.remote,
        encapsulation=encapsulation_to(reach.pool, node, reach.remote),
        same_subnet=same_subnet(node, reach.remote),
    )


def _members(hops: Iterable[NextHop]) -> tuple[int, ...]:
    return tuple(sorted(hop.id for hop in hops))
