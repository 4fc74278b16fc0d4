"""
Leftovers of a datastore: of things that are gone, so they must not keep a cluster out.

Calico's datastore keeps claims to blocks of nodes that were removed, tunnel addresses of a pool that has another
encapsulation now, and two claims to a block when a node died between two writes. Calico lives with all of them. Here
each is left out, with a warning that names it. In the short form the same is a mistake of a person, and an error.

Refuses to know: how resources are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations, TunnelAddress
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.cluster.tunnel_addresses import is_eligible
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, Stated
from bgpctl.core.intent.nodes import tunnel_part
from bgpctl.core.net.addresses import Prefix

RECORDED: Final = frozenset({"affinity", "block"})
"""Who says that a block is a node's, where a datastore does: a BlockAffinity or an IPAMBlock."""


def drop_leftovers(draft: Draft) -> bool:
    """Leave out what only a datastore remembers; True if there was any. All documents have been taken in before."""
    before = len(draft.problems.found)
    owners = {block.value.prefix: block.value.node for block in draft.blocks if block.value.by == "block"}
    if not draft.pools or not draft.nodes:
        return False  # not leftovers, but a part of the cluster that is missing here
    draft.blocks[:] = [block for block in draft.blocks if not _is_left_over(draft, block, owners)]
    draft.borrowed[:] = [block for block in draft.borrowed if not _is_left_over(draft, block, {})]
    if draft.knows_all("pool"):
        for name in sorted(draft.recorded & draft.nodes.keys()):
            draft.tunnel_ends[name] = _with_addresses_of_pools(draft, name)
    return len(draft.problems.found) > before


def _is_left_over(draft: Draft, block: Stated[BlockDraft], owners: Mapping[Prefix, str]) -> bool:
    node, prefix, by = block.value.node, block.value.prefix, block.value.by
    if by not in RECORDED:
        return False
    if not draft.declared("node", node) and draft.knows_all("node"):
        _warn(draft, block.part("node"), f"node {node} is not given, and {prefix} is left out", "unknown-node")
        return True
    if draft.knows_all("pool") and not any(pool.value.cidr.covers(prefix) for pool in draft.pools.values()):
        _warn(draft, block.at, f"{prefix} is in no pool, and left out", "block-outside")
        return True
    owner = owners.get(prefix, node) if by == "affinity" else node
    if owner != node:
        message = f"{prefix} is a block of node {owner} by its IPAMBlock; the claim of node {node} is left out"
        _warn(draft, block.at, message, "block-owners")
    return owner != node


def _with_addresses_of_pools(draft: Draft, name: str) -> Stated[NodeAllocations]:
    """The tunnel ends of a node without the addresses that no pool would give to it now."""
    ends = draft.tunnel_ends[name]
    gone = [given for given in sorted(ends.value.tunnel_addresses) if not _is_of_a_pool(draft, name, given)]
    for encapsulation, address in gone:
        message = f"no {encapsulation.title} pool gives {address} to node {name} now: another address is derived"
        _warn(draft, ends.part(tunnel_part(encapsulation, address.version)), message, "tunnel-outside")
    kept = ends.value.tunnel_addresses - frozenset(gone)
    return replace(ends, value=replace(ends.value, tunnel_addresses=kept)) if gone else ends


def _is_of_a_pool(draft: Draft, name: str, given: TunnelAddress) -> bool:
    encapsulation, address = given
    node = draft.nodes[name].value
    pools = (stated.value for stated in draft.pools.values() if stated.value.cidr.holds(address))
    return any(is_eligible(pool, node, encapsulation, address.version) for pool in pools)


def _warn(draft: Draft, at: Located, message: str, rule: str) -> None:
    draft.wrong(at, f"left over in the datastore: {message}", rule, Severity.WARNING)
