"""
Rules of pools: what a pool must be, and what it must be as soon as anything has an address of it.

A pool that is disabled and has no block routes nothing. Calico's users keep such pools to exempt networks from
natOutgoing, so the second kind of rules is asked of it only when a block comes (check_blocks.py).

Refuses to know: which form a value was written in, what other pools there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Backend, Pool, Use
from bgpctl.core.cluster.encapsulation import DIRECT, tunnels
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.cluster.tunnel_addresses import selects
from bgpctl.core.intent.breach import Breach, some
from bgpctl.core.intent.tunnel_keys import mode_key
from bgpctl.core.net.addresses import Prefix

_LINK_LOCAL: Final = tuple(map(Prefix.parse, ("169.254.0.0/16", "fe80::/10")))
_BLOCK_SIZES: Final = {4: (20, 32), 6: (116, 128)}
"""Calico's limits: a block is allocated by one node as a whole, and has a bitmap of at most 4096 addresses."""


def pool_rules(intent: Intent, pool: Pool) -> Iterator[Breach]:
    """Every rule that the pool breaks."""
    yield from _version_rules(pool)
    yield from _block_size_rules(pool)
    if Use.LOAD_BALANCER in pool.allowed_uses:
        yield from _load_balancer_rules(pool)
    for forbidden in _LINK_LOCAL:
        if forbidden.overlaps(pool.cidr):
            yield Breach("cidr", f"{pool.cidr} overlaps {forbidden}, which is link-local", "link-local")
    if not pool.disabled:
        yield from use_rules(intent, pool)
        yield from _selection_rules(intent, pool)


def use_rules(intent: Intent, pool: Pool) -> Iterator[Breach]:
    """Every rule that is broken where an address of the pool is in use."""
    if intent.backend is not Backend.BIRD and pool.by_bgp and Use.LOAD_BALANCER not in pool.allowed_uses:
        what = "a pool without encapsulation" if pool.encapsulation == DIRECT else pool.encapsulation.title
        others = " or ".join(item.title for item in tunnels().values() if not item.by_bgp)
        message = (
            f"{what} needs BGP, and calico_backend is {intent.backend.value}; use {others}, or calico_backend bird"
        )
        yield Breach("encapsulation", message, "needs-bgp")
    owned = [(node.name, own) for node in intent.nodes for own in (node.address, node.address6) if own]
    covered = [f"{name} ({own})" for name, own in owned if pool.cidr.holds(own.address)]
    if covered:
        message = f"{pool.cidr} covers the address of node {some(covered)}: the underlay would be routed into itself"
        yield Breach("cidr", message, "covers-node")


def _selection_rules(intent: Intent, pool: Pool) -> Iterator[Breach]:
    if intent.nodes and not any(selects(pool, node) for node in intent.nodes):
        message = f"{pool.node_selector} selects no node that pool {pool.name} could give a block to"
        yield Breach("node_selector", message, "selects-none", Severity.WARNING)


def _block_size_rules(pool: Pool) -> Iterator[Breach]:
    low, high = _BLOCK_SIZES[pool.cidr.version]
    if not low <= pool.block_size <= high:
        message = f"blockSize {pool.block_size} is not from {low} to {high}, as IPv{pool.cidr.version} needs"
        yield Breach("block_size", message, "block-size")
    elif pool.block_size < pool.cidr.length and not pool.disabled:
        message = f"blockSize {pool.block_size}: a block would be larger than the pool {pool.cidr}"
        yield Breach("block_size", message, "block-size")


def _version_rules(pool: Pool) -> Iterator[Breach]:
    used, version = pool.encapsulation, pool.cidr.version
    if version not in used.versions:
        given = f"{mode_key(used)}: {pool.mode.value}, cidr: {pool.cidr}"
        others = " or ".join(item.title for item in tunnels().values() if version in item.versions)
        message = f"{used.title} carries {_versions(used.versions)} only ({given}); use {others}"
        yield Breach("encapsulation", message, f"{used.name}-ipv{version}")


def _versions(versions: Iterable[int]) -> str:
    return " and ".join(f"IPv{version}" for version in versions)


def _load_balancer_rules(pool: Pool) -> Iterator[Breach]:
    """Such a pool's addresses belong to services, so to no node."""
    if pool.allowed_uses != (Use.LOAD_BALANCER,):
        words = ", ".join(use.value for use in pool.allowed_uses)
        yield Breach("uses", f"LoadBalancer stands alone in allowedUses (given: {words})", "load-balancer-use")
    if pool.encapsulation != DIRECT:
        message = f"a pool for LoadBalancer has no encapsulation (given: {pool.encapsulation.name} {pool.mode.value})"
        yield Breach("encapsulation", message, "load-balancer-mode")
    if pool.disable_bgp_export:
        yield Breach("no_export", "a pool for LoadBalancer is there to be announced", "load-balancer-export")
    if pool.node_selector != "all()":
        message = f"a pool for LoadBalancer is of all nodes, not of those with {pool.node_selector}"
        yield Breach("node_selector", message, "load-balancer-nodes")
