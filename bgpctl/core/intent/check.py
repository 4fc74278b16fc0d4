"""
What the whole must obey: rules that need more than one value.

Refuses to know: which form a value was written in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from bgpctl.core.cluster import Backend, Encapsulation, Intent, Mode, Node, Peer, Pool
from bgpctl.core.intent.draft import BlockDraft, Draft, Stated
from bgpctl.core.model import Address, InterfaceAddress, Prefix

T = TypeVar("T")

_LINK_LOCAL: Final = tuple(map(Prefix.parse, ("169.254.0.0/16", "fe80::/10")))
_MOST_NAMED: Final = 5
_BLOCK_SIZES: Final = {4: (20, 32), 6: (116, 128)}
"""Calico's limits: a block is allocated by one node as a whole, and has a bitmap of at most 4096 addresses."""


class _Breach(NamedTuple):
    """A rule that is broken; `part` says by which part of the object."""

    part: str
    message: str
    rule: str


def check(intent: Intent, draft: Draft) -> None:
    """Note every rule that `intent` breaks, at the place in the draft that broke it."""
    for pool in draft.pools.values():
        _note(draft, pool, _pool_rules(intent, pool.value))
    for node in draft.nodes.values():
        _note(draft, node, _node_rules(intent, draft, node.value))
    for peer in intent.peers:
        _note(draft, draft.peers[peer.name], _peer_rules(intent, draft, peer))
    for block in draft.blocks:
        _note(draft, block, _block_rules(intent, draft, block.value))
    _pool_overlaps(draft)
    _block_overlaps(draft)
    _same_addresses(draft)
    _peers_of_one_node(intent, draft)
    _asymmetric_masks(draft)


def _note(draft: Draft, stated: Stated[T], breaches: Iterable[_Breach]) -> None:
    for part, message, rule in breaches:
        draft.wrong(stated.part(part), message, rule)


# One object ----------------------------------------------------------------------------------------------------


def _pool_rules(intent: Intent, pool: Pool) -> Iterator[_Breach]:
    yield from _mode_rules(intent, pool)
    low, high = _BLOCK_SIZES[pool.cidr.version]
    if not low <= pool.block_size <= high:
        message = f"blockSize {pool.block_size} is not from {low} to {high}, as IPv{pool.cidr.version} needs"
        yield _Breach("block_size", message, "block-size")
    elif pool.block_size < pool.cidr.length and not pool.disabled:
        message = f"blockSize {pool.block_size}: a block would be larger than the pool {pool.cidr}"
        yield _Breach("block_size", message, "block-size")
    for forbidden in _LINK_LOCAL:
        if forbidden.overlaps(pool.cidr):
            yield _Breach("cidr", f"{pool.cidr} overlaps {forbidden}, which is link-local", "link-local")
    covered = [f"{node.name} ({node.address})" for node in intent.nodes if pool.cidr.holds(node.address.address)]
    if covered:
        message = f"{pool.cidr} covers the address of node {_some(covered)}: the underlay would be routed into itself"
        yield _Breach("cidr", message, "covers-node")


def _mode_rules(intent: Intent, pool: Pool) -> Iterator[_Breach]:
    ipip, vxlan = pool.ipip_mode, pool.vxlan_mode
    if Mode.NEVER not in (ipip, vxlan):
        message = f"ipipMode and vxlanMode cannot both be set (ipipMode: {ipip.value}, vxlanMode: {vxlan.value})"
        yield _Breach("vxlan", message, "both-modes")
    if pool.cidr.version == 6 and ipip is not Mode.NEVER:
        message = f"IPIP carries IPv4 only (ipipMode: {ipip.value}, cidr: {pool.cidr}); use VXLAN"
        yield _Breach("ipip", message, "ipip-ipv6")
    if intent.backend is not Backend.BIRD and pool.by_bgp:
        what = "IPIP" if pool.encapsulation is Encapsulation.IPIP else "a pool without encapsulation"
        message = f"{what} needs BGP, and calico_backend is {intent.backend.value}; use VXLAN, or calico_backend bird"
        yield _Breach("ipip", message, "needs-bgp")


def _node_rules(intent: Intent, draft: Draft, node: Node) -> Iterator[_Breach]:
    if _is_unusable(node.address):
        message = f"{node.address} is not an address that a node can have in {node.address.network}"
        yield _Breach("address", message, "unusable-address")
    crossing = [pool.name for pool in intent.pools if pool.mode is Mode.CROSS_SUBNET]
    if node.address.length == 32 and crossing:
        alone = f"{node.address.address} has no mask, so no node is in its subnet"
        message = f"{alone} and CrossSubnet (pool {_some(crossing)}) would always encapsulate; write it as 10.0.0.1/24"
        yield _Breach("address", message, "no-mask")
    for part, address, encapsulation in (
        ("ipip", node.ipip_address, Encapsulation.IPIP),
        ("vxlan", node.vxlan_address, Encapsulation.VXLAN),
    ):
        yield from _tunnel_rules(intent, draft, part, address, encapsulation)


def _tunnel_rules(
    intent: Intent, draft: Draft, part: str, address: Address | None, encapsulation: Encapsulation
) -> Iterator[_Breach]:
    if address is None:
        return
    pools = [pool for pool in intent.pools if pool.encapsulation is encapsulation]
    if draft.knows_all("pool") and not any(pool.cidr.holds(address) for pool in pools):
        known = _some([f"{pool.name} {pool.cidr}" for pool in pools])
        message = f"tunnel address {address} is in no {encapsulation.value.upper()} pool ({known})"
        yield _Breach(part, message, "tunnel-outside")


def _is_unusable(address: InterfaceAddress) -> bool:
    """Whether it is the first (RFC 1122, 3.2.1.3) or the broadcast address, 0.0.0.0, or multicast and above."""
    network, value = address.network, address.address.value
    edges = (network.network, network.network + network.size - 1) if address.length < 31 else ()
    if address.address.version == 6:
        return value == 0
    return value in edges or value == 0 or value >> 28 >= 0xE


def _peer_rules(intent: Intent, draft: Draft, peer: Peer) -> Iterator[_Breach]:
    if intent.backend is not Backend.BIRD:
        message = f"a peer needs BGP, and calico_backend is {intent.backend.value}"
        yield _Breach("", message, "needs-bgp")
    if peer.address is not None:
        yield from _peer_address_rules(intent, peer.address)
    if not peer.nodes and draft.knows_all("node"):
        yield _Breach("nodes", f"no node is selected (nodes: {_some([node.name for node in intent.nodes])})", "no-node")


def _peer_address_rules(intent: Intent, address: Address) -> Iterator[_Breach]:
    node = next((node for node in intent.nodes if node.address.address == address), None)
    if node:
        yield _Breach(
            "address", f"{address} is the address of node {node.name}; nodes peer by the mesh", "peer-is-node"
        )
    pool = intent.pool_of(address.host_prefix)
    if pool:
        yield _Breach("address", f"{address} is inside pool {pool.name} ({pool.cidr})", "peer-in-pool")


def _block_rules(intent: Intent, draft: Draft, block: BlockDraft) -> Iterator[_Breach]:
    if not draft.declared("node", block.node) and draft.knows_all("node"):
        yield _Breach("node", f"{block.prefix} belongs to node {block.node}, which is not given", "unknown-node")
    pool = intent.pool_of(block.prefix)
    if pool is None:
        if draft.knows_all("pool"):
            known = _some([f"{pool.name} {pool.cidr}" for pool in intent.pools])
            yield _Breach("", f"{block.prefix} is in no pool ({known})", "block-outside")
    elif block.prefix.length != pool.block_size and block.prefix.size != 1:
        message = f"{block.prefix} is not a block of pool {pool.name}: its blockSize is {pool.block_size}"
        yield _Breach("", message, "block-length")


# One object against the others ---------------------------------------------------------------------------------


def _pool_overlaps(draft: Draft) -> None:
    for outer, inner in _nested(draft.pools.values(), lambda pool: pool.cidr):
        first, second = _by_place(outer, inner)
        other = f"pool {first.value.name} ({first.value.cidr}) at {first.at.place}"
        draft.wrong(second.part("cidr"), f"{second.value.cidr} overlaps {other}", "pool-overlap")


def _block_overlaps(draft: Draft) -> None:
    for outer, inner in _nested(draft.blocks, lambda block: block.prefix):
        first, second = _by_place(outer, inner)
        prefix, other = second.value.prefix, f"node {first.value.node} at {first.at.place}"
        same = (outer.value.node, outer.value.prefix) == (inner.value.node, inner.value.prefix)
        if same and outer.value.by != inner.value.by:
            # A block and the claim to it say the same.
            continue
        if same:
            draft.wrong(second.at, f"{prefix} is already given at {first.at.place}", "duplicate")
        elif outer.value.prefix == inner.value.prefix:
            draft.wrong(second.at, f"{prefix} is already a block of {other}", "block-owners")
        elif inner.value.prefix.size > 1:
            # A host prefix inside another node's block is an address borrowed from it, as in Calico.
            draft.wrong(second.at, f"{prefix} overlaps block {first.value.prefix} of {other}", "block-overlap")


def _nested(things: Iterable[Stated[T]], prefix_of: Callable[[T], Prefix]) -> Iterator[tuple[Stated[T], Stated[T]]]:
    """Each thing whose prefix lies inside another's, after the one right around it. Sorted prefixes nest or part."""
    around: list[Stated[T]] = []
    for thing in sorted(things, key=lambda stated: (prefix_of(stated.value), stated.at.place)):
        while around and not prefix_of(around[-1].value).covers(prefix_of(thing.value)):
            around.pop()
        if around:
            yield around[-1], thing
        around.append(thing)


def _by_place(one: Stated[T], two: Stated[T]) -> tuple[Stated[T], Stated[T]]:
    return (one, two) if one.at.place <= two.at.place else (two, one)


_UNIQUE: Final[Mapping[str, Callable[[Node], object]]] = {
    "address": lambda node: node.address.address,
    "ipip": lambda node: node.ipip_address,
    "vxlan": lambda node: node.vxlan_address,
    "mac": lambda node: node.vxlan_mac,
}


def _same_addresses(draft: Draft) -> None:
    for part, read in _UNIQUE.items():
        owners: dict[object, Stated[Node]] = {}
        for node in draft.nodes.values():
            value = read(node.value)
            owner = owners.setdefault(value, node)
            if value is not None and owner is not node:
                other = f"node {owner.value.name} at {owner.part(part).place}"
                draft.wrong(node.part(part), f"{value} is also that of {other}", "duplicate-address")


def _peers_of_one_node(intent: Intent, draft: Draft) -> None:
    """A node has one session per address, so the second of two such peers would be lost."""
    sessions: dict[tuple[str, Address | None], Peer] = {}
    for peer in intent.peers:
        owners = [sessions.setdefault((node, peer.address), peer) for node in peer.nodes]
        twin = next((owner for owner in owners if owner is not peer), None)
        if twin:
            message = f"{peer.address} is already a peer of the same node, as {twin.name} at {twin.place}"
            draft.wrong(draft.peers[peer.name].part("address"), message, "duplicate-peer")


def _asymmetric_masks(draft: Draft) -> None:
    """
    Same-subnet is asked of the local mask, so two nodes can disagree, and then encapsulate one way only.

    If so, the network of one lies inside that of the other; a node is compared with the networks around its own.
    """
    nodes = [node for node in draft.nodes.values() if node.value.address.length < 32]
    members: dict[Prefix, list[Stated[Node]]] = {}
    for node in nodes:
        members.setdefault(node.value.address.network, []).append(node)
    lengths = sorted({network.length for network in members})
    for node in nodes:
        here = node.value.address
        wider = [InterfaceAddress(here.address, length).network for length in lengths if length < here.length]
        around = (other.value for network in wider for other in members.get(network, ()))
        other = next((other for other in around if not here.network.holds(other.address.address)), None)
        if other:
            message = f"node {other.name} ({other.address}) has this node in its subnet, but {here} leaves it outside"
            draft.wrong(node.part("address"), message, "asymmetric-masks")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more if names else "there is none"
