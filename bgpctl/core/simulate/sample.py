"""
A few nodes that stand for a whole cluster.

Two nodes are of one kind if the change does the same to them (alike.py), BGP asks the same of them (reach.py) and no
mark is on either. Between two nodes it is decided by their kinds, and by whether they are in one network. So one pair
of each sort is in the sample, with the number of pairs that it stands for; of a kind with more than one node there are
two at least, because a node's own kind is among its peers. A thousand nodes in racks that are built alike are three.

Among the blocks of a node those are alike that are in the same pool, of one length, and in the same ranges of filters.

Refuses to know: what becomes of the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate import alike
from bgpctl.core.simulate.part import Parts, part_of
from bgpctl.core.simulate.reach import asked_by_bgp, kept, prefix_classes
from bgpctl.core.trace.announced import owner_of

_TRIED: Final = 64
"""Addresses of a block, of which one is looked for that nothing else has."""


def _no_mark(_: str) -> None:
    return None


class NodePairs(NamedTuple):
    """An ordered pair of nodes, and how many pairs it stands for."""

    source: str
    destination: str
    pairs: int


class BlockKind(NamedTuple):
    """
    Blocks of one node that are alike.

    Attributes:
        address: one of the first block's that a workload may have.
        blocks: how many there are.
        before, wanted: whether the files before the change, and after it, have them.
    """

    prefix: Prefix
    address: Address
    pool: str
    blocks: int
    before: bool
    wanted: bool


class Sample(NamedTuple):
    """
    Attributes:
        before, wanted: the cluster of the nodes that are in the sample, by both files.
        pairs: of nodes.
        blocks: by node.
        nodes: how many the whole cluster has in either file.
    """

    before: Intent
    wanted: Intent
    pairs: tuple[NodePairs, ...]
    blocks: Mapping[str, tuple[BlockKind, ...]]
    nodes: int


def everything(before: Intent, wanted: Intent) -> Sample:
    """All nodes, each for itself."""
    names = dict.fromkeys((*before.by_name, *wanted.by_name))
    pairs = tuple(NodePairs(a, b, 1) for a, b in product(names, repeat=2) if a != b)
    return Sample(before, wanted, pairs, _blocks(before, wanted, names), len(names))


def sample(before: Intent, wanted: Intent, mark: Callable[[str], Hashable] = _no_mark) -> Sample:
    """The nodes that stand for all. `mark`: by a node's name, all that makes it differ beside the files."""
    pairs = _pairs(before, wanted, mark)
    chosen = {name for item in pairs for name in (item.source, item.destination)}
    names = dict.fromkeys((*before.by_name, *wanted.by_name))
    both = (before,) if before is wanted else (before, wanted)
    chosen = chosen.union(*(Parts(intent, chosen).near(chosen) for intent in both)) or set(names)
    small = [part_of(intent, chosen) for intent in both]
    kept = [name for name in names if name in chosen]
    return Sample(small[0], small[-1], pairs, _blocks(small[0], small[-1], kept), len(names))


_Site: TypeAlias = tuple[tuple[Prefix, ...], tuple[Prefix, ...]]


def _pairs(before: Intent, wanted: Intent, mark: Callable[[str], Hashable]) -> tuple[NodePairs, ...]:
    of_each = kinds(before, wanted, mark)
    groups: dict[tuple[Hashable, _Site], list[str]] = {}
    for name, kind in of_each.items():
        groups.setdefault((kind, _site(before, wanted, name)), []).append(name)
    found: dict[Hashable, NodePairs] = {}
    for ((one, here), ours), ((other, there), theirs) in product(groups.items(), repeat=2):
        same = ours is theirs
        number = len(ours) * (len(theirs) - same)
        if number:
            near = tuple(a == b for a, b in zip(here, there, strict=True))
            first = found.get((one, other, near)) or NodePairs(ours[0], theirs[1 if same else 0], 0)
            found[one, other, near] = first._replace(pairs=first.pairs + number)
    return tuple(found.values())


def kinds(before: Intent, wanted: Intent, mark: Callable[[str], Hashable] = _no_mark) -> Mapping[str, int]:
    """The kind of each node of either file, as a number: what makes it up is long."""
    asked = [(intent, asked_by_bgp(intent)) for intent in (before, wanted)]
    numbers: dict[Hashable, int] = {}
    found: dict[str, int] = {}
    for name, kind in alike.kinds(before, wanted).items():
        by_bgp = tuple(of(name) if intent.node(name) else None for intent, of in asked)
        found[name] = numbers.setdefault((kind, by_bgp, mark(name)), len(numbers))
    return found


def _site(before: Intent, wanted: Intent, name: str) -> _Site:
    """The networks of a node, before and after."""
    was, will = (
        tuple(own.network for own in (node.address, node.address6) if own) if node else ()
        for node in (before.node(name), wanted.node(name))
    )
    return was, will


# Blocks ----------------------------------------------------------------------------------------------------------


def _blocks(before: Intent, wanted: Intent, names: Iterable[str]) -> Mapping[str, tuple[BlockKind, ...]]:
    asked = prefix_classes(before), prefix_classes(wanted)
    return {name: tuple(_of_node(before, wanted, name, asked)) for name in names}


def _of_node(
    before: Intent, wanted: Intent, name: str, asked: tuple[Callable[[Prefix], Hashable], ...]
) -> Iterator[BlockKind]:
    had, will = (intent.allocations.of(name).blocks if intent.node(name) else () for intent in (before, wanted))
    both = frozenset(kept(had, will))
    alone = ((prefix, prefix in had, prefix in will) for prefix in {*had, *will} if not any(map(prefix.covers, both)))
    found: dict[tuple[bool, bool, Hashable], list[Prefix]] = {}
    for prefix, in_before, in_wanted in sorted([*((prefix, True, True) for prefix in both), *alone]):
        found.setdefault((in_before, in_wanted, tuple(of(prefix) for of in asked)), []).append(prefix)
    for (in_before, in_wanted, _), prefixes in found.items():
        having = [intent for intent, is_in in ((before, in_before), (wanted, in_wanted)) if is_in]
        address = next(_free(having, name, prefixes), None)
        pool = having[-1].pool_of(prefixes[0])
        if address and pool:
            yield BlockKind(prefixes[0], address, pool.name, len(prefixes), in_before, in_wanted)


def _free(having: list[Intent], name: str, prefixes: list[Prefix]) -> Iterator[Address]:
    for prefix in prefixes:
        for address in map(prefix.nth, range(min(prefix.size, _TRIED))):
            if all(_is_free(intent, name, address) for intent in having):
                yield address


def _is_free(intent: Intent, name: str, address: Address) -> bool:
    node = intent.by_name[name]
    return address not in intent.tunnel_addresses(node) and owner_of(intent, address.host_prefix) == node
