"""
Pairs of nodes whose workloads reach each other by one cluster file, and not by the next; and the sessions between.

A packet goes from a block of one node to a block of the other, and its answer comes back (core/trace), through the
kernels that each of the files would make. Only blocks that a node has in both files are asked about: one that is moved
or given up is listed itself. Nodes to which the change does the same (alike.py) and of which BGP asks the same are one
class, and one pair stands for all pairs of its two classes.

Refuses to know: words, steps of a plan, what is in any kernel now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import islice, product
from typing import Final, NamedTuple

from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate import alike
from bgpctl.core.simulate.declared import network, obstacle
from bgpctl.core.trace.announced import Obstacle, ObstacleCode, owner_of
from bgpctl.core.trace.journey import Follower, Journey, Origin, exchange
from bgpctl.core.trace.packet import Packet, echo_protocol
from bgpctl.core.trace.steps import Delivered

_MOST_NODES: Final = 12_000
"""Pairs followed times nodes, at most: one pair takes a second in a cluster of 1,000 nodes."""
_TRIED: Final = 64
"""Addresses of a block, of which one is looked for that nothing else has."""


class Failure(NamedTuple):
    """Where a packet, or its answer, is not delivered. `obstacle`: what keeps the route back, by the files."""

    journey: Journey
    obstacle: Obstacle | None
    destination: Address

    @property
    def known(self) -> bool:
        """False if a router that the files do not describe may have a route."""
        return self.obstacle is None or self.obstacle.code is not ObstacleCode.ROUTER


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
        kinds: pairs of classes that there are.
    """

    losses: tuple[Loss, ...]
    followed: int
    kinds: int


class Kind(NamedTuple):
    """Ordered pairs of different nodes for which the same is true: the first of them, and how many there are."""

    source: str
    destination: str
    pairs: int


def compared(before: Intent, wanted: Intent, node: str | None = None) -> Verdict:
    """The pairs that reach each other by `before` alone. `node`: only pairs with this one."""
    found = _kinds_with(before, wanted, node) if node else kinds(before, wanted)
    # Evenly spread, if they are too many.
    step = -(-len(found) * len(wanted.nodes) // _MOST_NODES) or 1
    followed = found[::step]
    losses = ((kind, lost(before, wanted, kind.source, kind.destination)) for kind in followed)
    return Verdict(tuple(Loss(*kind, failure) for kind, failure in losses if failure), len(followed), len(found))


def _kinds_with(before: Intent, wanted: Intent, node: str) -> tuple[Kind, ...]:
    """Pairs with one node: those with the nodes of one class are one kind in each direction."""
    classes = _classes(before, wanted)
    if node not in classes:
        return ()
    own, found = _site(before, wanted, node), dict[Hashable, Kind]()
    for other in (name for name in classes if name != node):
        near = tuple(a == b for a, b in zip(own, _site(before, wanted, other), strict=True))
        for pair in ((node, other), (other, node)):
            key = (classes[other], near, pair[0] == node)
            first = found.get(key) or Kind(*pair, 0)
            found[key] = first._replace(pairs=first.pairs + 1)
    return tuple(found.values())


def kinds(before: Intent, wanted: Intent) -> tuple[Kind, ...]:
    """All pairs of nodes that both files have, by what decides about them."""
    numbers: dict[tuple[Hashable, tuple[tuple[Prefix, ...], tuple[Prefix, ...]]], list[str]] = {}
    for name, number in _classes(before, wanted).items():
        numbers.setdefault((number, _site(before, wanted, name)), []).append(name)
    found: dict[Hashable, Kind] = {}
    for ((one, here), ours), ((other, there), theirs) in product(numbers.items(), repeat=2):
        same = ours is theirs
        pairs = len(ours) * (len(theirs) - same)
        if pairs:
            near = tuple(a == b for a, b in zip(here, there, strict=True))
            first = found.get((one, other, near)) or Kind(ours[0], theirs[1 if same else 0], 0)
            found[one, other, near] = first._replace(pairs=first.pairs + pairs)
    return tuple(found.values())


def _site(before: Intent, wanted: Intent, name: str) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
    """The networks of a node, before and after."""
    return _networks(before.by_name[name]), _networks(wanted.by_name[name])


def _networks(node: Node) -> tuple[Prefix, ...]:
    return tuple(own.network for own in (node.address, node.address6) if own)


def _in_both(before: Intent, wanted: Intent) -> Iterator[str]:
    return (node.name for node in wanted.nodes if before.node(node.name))


def _classes(before: Intent, wanted: Intent) -> Mapping[str, Hashable]:
    groups = {node.name: number for number, group in enumerate(alike.groups(before, wanted)) for node in group}
    asked = [_asked_by_bgp(intent) for intent in (before, wanted)]
    return {name: (groups[name], *(of(name) for of in asked)) for name in _in_both(before, wanted)}


def _asked_by_bgp(intent: Intent) -> Callable[[str], Hashable]:
    """All that peers, filters and advertisements ask of a node."""
    peers = [(peer.address, frozenset(peer.nodes), frozenset(peer.remotes)) for peer in intent.peers]
    rules = (rule for item in intent.filters for rule in (*item.import4, *item.export4, *item.import6, *item.export6))
    ranges = sorted({*(rule.cidr for rule in rules if rule.cidr), *(item.cidr for item in intent.advertisements)})

    def of(name: str) -> Hashable:
        node = intent.by_name[name]
        sessions = tuple((address in node.addresses, name in nodes, name in others) for address, nodes, others in peers)
        own = intent.prefixes_of(node)
        return sessions, tuple((cidr.covers(prefix), cidr == prefix) for cidr in ranges for prefix in own)

    return of


# One pair ----------------------------------------------------------------------------------------------------------


def lost(before: Intent, wanted: Intent, source: str, destination: str) -> Failure | None:
    """The first failure among the pairs of blocks of two nodes that reach each other now; None without."""
    ends = [tuple(_addresses(before, wanted, name)) for name in (source, destination)]
    for start, end in product(*ends):
        if start.version == end.version and failure(before, start, end, source, destination) is None:
            found = failure(wanted, start, end, source, destination)
            if found:
                return found
    return None


def _addresses(before: Intent, wanted: Intent, name: str) -> Iterator[Address]:
    """One address of each block that the node has in both: a workload's could be it."""
    kept = frozenset(before.blocks_of(before.by_name[name]))
    for block in wanted.blocks_of(wanted.by_name[name]):
        if block in kept:
            free = (
                address
                for address in map(block.nth, range(min(block.size, _TRIED)))
                if _is_free(before, address, name) and _is_free(wanted, address, name)
            )
            yield from islice(free, 1)


def _is_free(intent: Intent, address: Address, name: str) -> bool:
    node = intent.by_name[name]
    return address not in intent.tunnel_addresses(node) and owner_of(intent, address.host_prefix) == node


def failure(intent: Intent, start: Address, end: Address, source: str, destination: str) -> Failure | None:
    """Where the packet or its answer ends by the files, if it is not delivered."""
    packet = Packet(start, end, protocol=echo_protocol(end.version))
    found = exchange(Follower(network(intent, (start, end), {})), packet, Origin(source, ""), destination)
    if found.back and isinstance(found.back.end, Delivered):
        return None
    answers = found.first is found.back
    name, target = (destination, start) if answers else (source, end)
    return Failure(found.first, obstacle(intent, name, target), target)


# Sessions and blocks -----------------------------------------------------------------------------------------------


class Sessions(NamedTuple):
    """Sessions of one node that begin or end, by the names of the other ends, and the nodes like it."""

    node: str
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    alike: tuple[str, ...] = ()


def sessions(before: Intent, wanted: Intent, node: str | None = None) -> tuple[Sessions, ...]:
    """Of nodes of one class the first one's. A node that one file alone has is of a class of its own."""
    classes: dict[Hashable, list[str]] = {}
    for name, number in ({node: node} if node else _every_class(before, wanted)).items():
        classes.setdefault(number, []).append(name)
    found = (_sessions(before, wanted, first)._replace(alike=tuple(more)) for first, *more in classes.values())
    return tuple(item for item in found if item.begins or item.ends)


def _every_class(before: Intent, wanted: Intent) -> Mapping[str, Hashable]:
    both = _classes(before, wanted)
    names = dict.fromkeys((*before.by_name, *wanted.by_name))
    return {name: both.get(name, name) for name in names}


def _sessions(before: Intent, wanted: Intent, name: str) -> Sessions:
    was, will = (_ends(intent, name) for intent in (before, wanted))
    return Sessions(name, tuple(sorted(will - was)), tuple(sorted(was - will)))


def _ends(intent: Intent, name: str) -> frozenset[str]:
    config = speaker_config(intent, name)
    names = {address: node.name for node in intent.nodes for address in node.addresses}
    return frozenset(names.get(item.peer, item.name) for item in config.sessions) if config else frozenset()


class MovedBlock(NamedTuple):
    """A block that another node has, or none."""

    block: Prefix
    was: str
    now: str | None


def moved_blocks(before: Intent, wanted: Intent) -> tuple[MovedBlock, ...]:
    """Blocks that a node has no more, in their order."""
    was, now = _owners(before), _owners(wanted)
    return tuple(
        MovedBlock(block, was[block].name, now[block].name if block in now else None)
        for block in sorted(was)
        if block not in now or now[block].name != was[block].name
    )


def _owners(intent: Intent) -> Mapping[Prefix, Node]:
    return {block: node for node in intent.nodes for block in intent.blocks_of(node)}
