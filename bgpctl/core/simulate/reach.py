"""
Nodes of which a change asks the same, and pairs of which one stands for all: whether two nodes lose each other.

Nodes to which the change does the same (alike.py) and of which BGP asks the same are one class. A packet goes from a
block of one node to a block of the other, and its answer comes back (core/trace), through the kernels that each of the
files would make. Only blocks that a node has in both files are asked about.

Refuses to know: words, steps of a plan, what is in any kernel now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Final, NamedTuple

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate import alike
from bgpctl.core.simulate.pair import Failure, failure
from bgpctl.core.simulate.part import Parts
from bgpctl.core.trace.announced import owner_of

_TRIED: Final = 64
"""Addresses of a block, of which one is looked for that nothing else has."""


def _in_both(before: Intent, wanted: Intent) -> Iterator[str]:
    return (node.name for node in wanted.nodes if before.node(node.name))


class NodeClass(NamedTuple):
    """Nodes of one class have the same plan, and BGP asks the same of them. `concerned`: the change is about them."""

    group: int
    concerned: bool
    asked: tuple[Hashable, ...]


def classes(before: Intent, wanted: Intent) -> Mapping[str, NodeClass]:
    """The classes of the nodes that both files have, by name."""
    groups = {node.name: number for number, group in enumerate(alike.groups(before, wanted)) for node in group}
    asked = [asked_by_bgp(intent) for intent in (before, wanted)]
    of_change = concerned(before, wanted)
    return {
        name: NodeClass(groups[name], name in of_change, tuple(of(name) for of in asked))
        for name in _in_both(before, wanted)
    }


def concerned(before: Intent, wanted: Intent) -> Collection[str]:
    """
    The nodes that are changed, and those with prefixes that overlap theirs. All, if anything else is another one, or if
    a node is that others send packets or paths to.
    """
    names = {*before.by_name, *wanted.by_name}
    changed = {name for name in names if _of(before, name) != _of(wanted, name)}
    is_all = wanted.with_index(before.by_name, allocations=before.allocations) != before
    if is_all or not changed:
        return names if is_all else changed
    both = Parts(before), Parts(wanted)
    if any(parts.serves_others(name) for name in changed for parts in both):
        return names
    return changed.union(*(parts.overlapping(changed) for parts in both))


def _of(intent: Intent, name: str) -> tuple[Node | None, NodeAllocations]:
    return intent.node(name), intent.allocations.of(name)


def asked_by_bgp(intent: Intent) -> Callable[[str], Hashable]:
    """All that peers, filters and advertisements ask of a node."""
    peers = [(peer.address, frozenset(peer.nodes), frozenset(peer.remotes)) for peer in intent.peers]
    asked_of = prefix_classes(intent)

    def of(name: str) -> Hashable:
        node = intent.by_name[name]
        sessions = tuple((address in node.addresses, name in nodes, name in others) for address, nodes, others in peers)
        return sessions, tuple(map(asked_of, intent.prefixes_of(node)))

    return of


def prefix_classes(intent: Intent) -> Callable[[Prefix], Hashable]:
    """The class of each prefix: its pool and length, and all that filters and advertisements ask of it."""
    rules = (rule for item in intent.filters for rule in (*item.import4, *item.export4, *item.import6, *item.export6))
    ranges = sorted({*(rule.cidr for rule in rules if rule.cidr), *(item.cidr for item in intent.advertisements)})

    def of(prefix: Prefix) -> Hashable:
        pool = intent.pool_of(prefix)
        return pool and pool.name, prefix.length, tuple((cidr.covers(prefix), cidr == prefix) for cidr in ranges)

    return of


# One pair ----------------------------------------------------------------------------------------------------------


def lost(before: Parts, wanted: Parts, source: str, destination: str) -> Failure | None:
    """The first failure among the pairs of blocks of two nodes that reach each other now; None without."""
    ends = [tuple(_addresses(before, wanted, name)) for name in (source, destination)]
    for start, end in product(*ends):
        if start.version == end.version and failure(before, start, end, source, destination) is None:
            found = failure(wanted, start, end, source, destination)
            if found:
                return found
    return None


def _addresses(before: Parts, wanted: Parts, name: str) -> Iterator[Address]:
    """One address of each kind of block, or part of one, that the node has in both: a workload's could be it."""
    was, will = (parts.of(name) for parts in (before, wanted))
    found: dict[Hashable, Address] = {}
    asked = [prefix_classes(intent) for intent in (was, will)]
    for block in kept(was.blocks_of(was.by_name[name]), will.blocks_of(will.by_name[name])):
        kind = tuple(asked_of(block) for asked_of in asked)
        if kind not in found:
            addresses = map(block.nth, range(min(block.size, _TRIED)))
            free = (address for address in addresses if _is_free(was, address, name) and _is_free(will, address, name))
            found.update((kind, address) for address in islice(free, 1))
    yield from found.values()


def kept(was: Iterable[Prefix], will: Iterable[Prefix]) -> Iterator[Prefix]:
    """Blocks that are in both; of those that grew or shrank the narrower one."""
    same = frozenset(was).intersection(will)
    yield from sorted(same)
    for old, new in product((item for item in was if item not in same), (item for item in will if item not in same)):
        if old.covers(new) or new.covers(old):
            yield max(old, new, key=lambda block: block.length)


def _is_free(intent: Intent, address: Address, name: str) -> bool:
    node = intent.by_name[name]
    return address not in intent.tunnel_addresses(node) and owner_of(intent, address.host_prefix) == node
