"""
Pairs of nodes whose workloads reach each other by one cluster file, and not by the next.

A packet goes from a block of one node to a block of the other, and its answer comes back (core/trace), through the
kernels that each of the files would make. Only blocks that a node has in both files are asked about: one that is moved
or given up is listed itself (membership.py). Nodes to which the change does the same (alike.py) and of which BGP asks
the same are one class, and one pair stands for all pairs of its two classes.

Refuses to know: words, steps of a plan, what is in any kernel now.
"""

from __future__ import annotations

from collections import Counter
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

_MOST_EXCHANGES: Final = 250
"""Packets followed with their answers, at most: each takes some ten milliseconds of CPU, in a cluster of any size."""
_TRIED: Final = 64
"""Addresses of a block, of which one is looked for that nothing else has."""


class Loss(NamedTuple):
    """Pairs of one kind that lose each other: the first one's names, how many there are, and why."""

    source: str
    destination: str
    pairs: int
    failure: Failure


class Verdict(NamedTuple):
    """
    Attributes:
        losses: of all kinds that were followed.
        followed: pairs of classes for which a packet was followed.
        kinds: pairs of classes that the change concerns. With more than `followed`, others may lose each other, too.
    """

    losses: tuple[Loss, ...]
    followed: int
    kinds: int


class Kind(NamedTuple):
    """
    Ordered pairs of different nodes for which the same is true: the first of them, and how many there are.

    `concerned`: False if the change cannot be of effect between them.
    """

    source: str
    destination: str
    pairs: int
    concerned: bool


def compared(before: Intent, wanted: Intent, node: str | None = None) -> Verdict:
    """The pairs that reach each other by `before` alone. `node`: only pairs with this one."""
    if before == wanted:
        return Verdict((), 0, 0)
    every = _kinds_with(before, wanted, node) if node else kinds(before, wanted)
    found = [kind for kind in every if kind.concerned]
    step = -(-len(found) * _exchanges(before, wanted) // _MOST_EXCHANGES) or 1  # evenly spread, if they are too many
    followed = found[::step]
    asked = {name for kind in followed for name in (kind.source, kind.destination)}
    parts = Parts(before, asked), Parts(wanted, asked)
    losses = ((kind, lost(*parts, kind.source, kind.destination)) for kind in followed)
    return Verdict(tuple(Loss(*kind[:3], failure) for kind, failure in losses if failure), len(followed), len(found))


def _exchanges(before: Intent, wanted: Intent) -> int:
    """For one pair of nodes, about: from each kind of block to each, by both files."""
    pools = Counter(pool.cidr.version for intent in (before, wanted) for pool in intent.pools)
    return sum(number * number for number in pools.values()) // 2


def _kinds_with(before: Intent, wanted: Intent, node: str) -> tuple[Kind, ...]:
    """Pairs with one node: those with the nodes of one class are one kind in each direction."""
    numbers = classes(before, wanted)
    if node not in numbers:
        return ()
    own, found = _site(before, wanted, node), dict[Hashable, Kind]()
    for other in (name for name in numbers if name != node):
        near = tuple(a == b for a, b in zip(own, _site(before, wanted, other), strict=True))
        for pair in ((node, other), (other, node)):
            key = (numbers[other], near, pair[0] == node)
            first = found.get(key) or Kind(*pair, 0, numbers[node].concerned or numbers[other].concerned)
            found[key] = first._replace(pairs=first.pairs + 1)
    return tuple(found.values())


def kinds(before: Intent, wanted: Intent) -> tuple[Kind, ...]:
    """All pairs of nodes that both files have, by what decides about them."""
    numbers: dict[tuple[NodeClass, tuple[tuple[Prefix, ...], tuple[Prefix, ...]]], list[str]] = {}
    for name, number in classes(before, wanted).items():
        numbers.setdefault((number, _site(before, wanted, name)), []).append(name)
    found: dict[Hashable, Kind] = {}
    for ((one, here), ours), ((other, there), theirs) in product(numbers.items(), repeat=2):
        same = ours is theirs
        pairs = len(ours) * (len(theirs) - same)
        if pairs:
            near = tuple(a == b for a, b in zip(here, there, strict=True))
            is_concerned = one.concerned or other.concerned
            first = found.get((one, other, near)) or Kind(ours[0], theirs[1 if same else 0], 0, is_concerned)
            found[one, other, near] = first._replace(pairs=first.pairs + pairs)
    return tuple(found.values())


def _site(before: Intent, wanted: Intent, name: str) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
    """The networks of a node, before and after."""
    return _networks(before.by_name[name]), _networks(wanted.by_name[name])


def _networks(node: Node) -> tuple[Prefix, ...]:
    return tuple(own.network for own in (node.address, node.address6) if own)


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
    concerned = _concerned(before, wanted)
    return {
        name: NodeClass(groups[name], name in concerned, tuple(of(name) for of in asked))
        for name in _in_both(before, wanted)
    }


def _concerned(before: Intent, wanted: Intent) -> Collection[str]:
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
    for block in _kept(was.blocks_of(was.by_name[name]), will.blocks_of(will.by_name[name])):
        kind = tuple(asked_of(block) for asked_of in asked)
        if kind not in found:
            addresses = map(block.nth, range(min(block.size, _TRIED)))
            free = (address for address in addresses if _is_free(was, address, name) and _is_free(will, address, name))
            found.update((kind, address) for address in islice(free, 1))
    yield from found.values()


def _kept(was: Iterable[Prefix], will: Iterable[Prefix]) -> Iterator[Prefix]:
    """Blocks that are in both; of those that grew or shrank the narrower one."""
    same = frozenset(was).intersection(will)
    yield from sorted(same)
    for old, new in product((item for item in was if item not in same), (item for item in will if item not in same)):
        if old.covers(new) or new.covers(old):
            yield max(old, new, key=lambda block: block.length)


def _is_free(intent: Intent, address: Address, name: str) -> bool:
    node = intent.by_name[name]
    return address not in intent.tunnel_addresses(node) and owner_of(intent, address.host_prefix) == node
