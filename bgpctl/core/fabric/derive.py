"""
From the known facts to the desired state.

A prefix from BGP or from the list of members becomes a RemotePrefix; what a pool needs from its encapsulation is
requested through `protocol.py`. So this file is the same for every encapsulation.

Refuses to know: which encapsulations there are, the objects of ours in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from bgpctl.core.bgp.decision import Choice
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode, Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric import members, nat, next_hops
from bgpctl.core.fabric.desired import Desired, Reasoned, RemotePrefix, gather
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.fabric.facts import Underlay, outer_mtu_bytes, underlay_of
from bgpctl.core.fabric.protocol import Site
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route, RouteType, Sysctl

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
    prune_holds: Iterable[PruneHold] = (),
) -> Desired:
    """
    The objects that should be in the kernel of `node`.

    `names` has the name of each BGP peer, for the reasons; `choices` the best path of each prefix that policy let
    in. Of `observed`, this node's kernel, only objects that are not ours are used, and the names of our tunnels.
    """
    own = [address for version in _versions(intent, node) if (address := node.underlay(version))]
    underlays = {item.version: item for address in own if (item := underlay_of(observed, address))}
    unknown = [str(address.address) for address in own if address.address.version not in underlays]
    site = Site(intent, node, observed, underlays, _link_names(intent, underlays, observed))
    by_bgp = (item for item in _by_bgp(intent, names, choices) if item.remote.version in underlays)
    found = [*by_bgp, *(item for version in underlays for item in members.remote_prefixes(intent, node, version))]
    prefixes = [item for item in found if isinstance(item, RemotePrefix)]
    missing = [item for item in found if isinstance(item, Unmet)]
    hops, unresolved = next_hops.resolved(site, prefixes)
    wanted = chain(
        _local(intent, node, own),
        _heeding_routers(underlays, observed),
        nat.masquerade(intent),
        _tunnels(site),
        next_hops.routes(node, prefixes, hops),
    )
    missing += [*unresolved, *(Unmet(UnmetCode.UNDERLAY_UNKNOWN, subject) for subject in unknown)]
    return gather(
        wanted, missing, [*prune_holds, *(PruneHold(PruneHoldCode.FACTS_UNKNOWN, subject) for subject in unknown)]
    )


def _link_names(intent: Intent, underlays: Iterable[int], observed: Dataplane) -> Mapping[tuple[str, int], str]:
    return {
        (name, version): item.link_name(intent, version, observed)
        for name, item in BEHAVIOURS.items()
        for version in underlays
        if item.link_names(version)
    }


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


def _tunnels(site: Site) -> Iterator[Reasoned]:
    """Where a pool uses an encapsulation, every node receives it."""
    used = {(pool.encapsulation.name, pool.cidr.version) for pool in site.intent.pools}
    others = [other for other in site.intent.nodes if other != site.node]
    for version, underlay in site.underlays.items():
        remotes = [there.address for other in others if (there := other.underlay(version))]
        carrier = replace(underlay, mtu_bytes=outer_mtu_bytes(site.observed, underlay, remotes))
        for name, item in BEHAVIOURS.items():
            if (name, version) in used:
                yield from item.objects(site, carrier)


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
