"""
What the whole must obey: rules that need more than one value.

Refuses to know: which form a value was written in.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Final

from bgpctl.core.intent.draft import Draft, Located
from bgpctl.core.model import Backend, Encapsulation, Intent, Mode, Node, Pool, Prefix

_FORBIDDEN: Final = tuple(map(Prefix.parse, ("169.254.0.0/16", "fe80::/10")))
_BLOCK_SIZES: Final = {4: (20, 32), 6: (116, 128)}


def check(intent: Intent, draft: Draft) -> None:
    """Note every rule that `intent` breaks, at the place in the draft that broke it."""
    for pool, at in draft.pools.values():
        for message, rule in _pool_rules(intent, pool):
            draft.problems.add(at.place, at.path, message, rule)
    for node, at in draft.nodes.values():
        for message, rule in _node_rules(intent, node):
            draft.problems.add(at.place, at.path, message, rule)
    _pairs(intent, draft)
    _blocks(intent, draft)
    _peers(intent, draft)


def _pool_rules(intent: Intent, pool: Pool) -> Iterator[tuple[str, str]]:
    low, high = _BLOCK_SIZES[pool.cidr.version]
    if pool.ipip_mode is not Mode.NEVER and pool.vxlan_mode is not Mode.NEVER:
        modes = f"(ipipMode: {pool.ipip_mode.value}, vxlanMode: {pool.vxlan_mode.value})"
        yield f"ipipMode and vxlanMode cannot both be set {modes}", "both-modes"
    if pool.cidr.version == 6 and pool.ipip_mode is not Mode.NEVER:
        yield f"ipipMode {pool.ipip_mode.value} on {pool.cidr}: IPIP carries IPv4 only; use vxlanMode", "ipip-ipv6"
    if not low <= pool.block_size <= high:
        yield f"blockSize {pool.block_size} is not from {low} to {high} (IPv{pool.cidr.version})", "block-size"
    elif pool.block_size < pool.cidr.length and not pool.disabled:
        yield f"blockSize {pool.block_size} is larger than the pool {pool.cidr}", "block-size"
    for forbidden in _FORBIDDEN:
        if forbidden.overlaps(pool.cidr):
            yield f"{pool.cidr} overlaps {forbidden}, which is link-local", "link-local"
    if intent.backend is not Backend.BIRD and pool.by_bgp:
        what = "IPIP" if pool.encapsulation is Encapsulation.IPIP else "no encapsulation"
        backend = intent.backend.value
        yield f"{what} needs BGP, and calico_backend is {backend}; use vxlanMode, or calico_backend bird", "needs-bgp"
    for node in intent.nodes:
        if pool.cidr.holds(node.address.address):
            yield f"{pool.cidr} covers the address {node.address} of node {node.name}", "covers-node"


def _node_rules(intent: Intent, node: Node) -> Iterator[tuple[str, str]]:
    if node.address.address.version == 6:
        yield f"{node.address}: IPv6 node addresses are not supported yet", "ipv6-node"
        return
    crossing = [pool.name for pool in intent.pools if pool.mode is Mode.CROSS_SUBNET]
    if node.address.length == 32 and crossing:
        pools = ", ".join(crossing)
        alone = f"{node.address.address} has no mask, so no other node is in its subnet"
        yield f"{alone} and CrossSubnet (pool {pools}) would always encapsulate; write it as in 10.0.0.1/24", "no-mask"
    for address, encapsulation in (
        (node.ipip_address, Encapsulation.IPIP),
        (node.vxlan_address, Encapsulation.VXLAN),
    ):
        pools_of_kind = [pool for pool in intent.pools if pool.encapsulation is encapsulation]
        if address and not any(pool.cidr.holds(address) for pool in pools_of_kind):
            yield f"tunnel address {address} is in no {encapsulation.value} pool", "tunnel-outside"


def _pairs(intent: Intent, draft: Draft) -> None:
    for one, two in combinations(draft.pools.values(), 2):
        if one[0].cidr.overlaps(two[0].cidr):
            message = f"{two[0].cidr} overlaps pool {one[0].name} ({one[0].cidr}) at {one[1].place}"
            draft.problems.add(two[1].place, two[1].path, message, "pool-overlap")
    crossing = any(pool.mode is Mode.CROSS_SUBNET for pool in intent.pools)
    for (one_node, one_at), (two_node, two_at) in combinations(draft.nodes.values(), 2):
        a, b = one_node.address, two_node.address
        if a.address == b.address:
            message = f"{b.address} is also the address of node {one_node.name} at {one_at.place}"
            draft.problems.add(two_at.place, two_at.path, message, "duplicate-address")
        elif (
            crossing and 32 not in (a.length, b.length) and a.network.holds(b.address) is not b.network.holds(a.address)
        ):
            message = f"by its mask {b} and node {one_node.name} ({a}) are in one subnet only from one side"
            draft.problems.add(two_at.place, two_at.path, message, "asymmetric-masks")


def _blocks(intent: Intent, draft: Draft) -> None:
    for block in draft.blocks:
        if block.node not in draft.nodes and not draft.problems.found:
            message = f"{block.prefix} belongs to node {block.node}, which is not given"
            draft.problems.add(block.at.place, block.at.path, message, "unknown-node")
        for message, rule in _block_rules(intent, block.prefix):
            draft.problems.add(block.at.place, block.at.path, message, rule)
    ordered = sorted(draft.blocks, key=lambda item: (item.prefix, item.at.place))
    for one, two in pairwise(ordered):
        borrowed = two.prefix.size == 1 and one.prefix != two.prefix
        if one.prefix.overlaps(two.prefix) and not borrowed:
            message = f"{two.prefix} overlaps {one.prefix} of node {one.node} at {one.at.place}"
            draft.problems.add(two.at.place, two.at.path, message, "block-overlap")


def _block_rules(intent: Intent, block: Prefix) -> Iterator[tuple[str, str]]:
    pool = intent.pool_of(block)
    if pool is None:
        if intent.pools:
            pools = ", ".join(f"{pool.name} {pool.cidr}" for pool in intent.pools)
            yield f"{block} is in no pool ({pools})", "block-outside"
        else:
            yield f"{block} is in no pool: there is none", "block-outside"
    elif block.length != pool.block_size and block.size != 1:
        yield f"{block} is not of the block size /{pool.block_size} of pool {pool.name}", "block-length"


def _peers(intent: Intent, draft: Draft) -> None:
    for peer in draft.peers.values():
        at: Located = peer.at
        if intent.backend is not Backend.BIRD:
            message = f"peers need BGP, and calico_backend is {intent.backend.value}"
            draft.problems.add(at.place, at.path, message, "needs-bgp")
        inside = next((pool for pool in intent.pools if pool.cidr.holds(peer.address)), None)
        if inside:
            message = f"peer address {peer.address} is inside pool {inside.name} ({inside.cidr})"
            draft.problems.add(at.place, at.path, message, "peer-in-pool")
