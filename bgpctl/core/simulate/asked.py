"""
The kernels of the nodes that answered (core/trace/answers.py), through which packets are followed as through those of
the files (declared.py).

An address stands for all of its block of which packets have the same fate. Prefixes longer than the block divide it:
foreign routes, rules and chains of any node that name a part. So a block is represented by one workload for each part
that has one, and by an address without a workload where it has none at all.

Refuses to know: who was asked, and how; words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import MAIN_TABLE, METRIC, PROTOCOL, Key, Route, RouteType
from bgpctl.core.simulate.declared import blocks_of, network, node_at
from bgpctl.core.trace.announced import Obstacle, ObstacleCode, missing
from bgpctl.core.trace.answers import Answers, NodeAnswer
from bgpctl.core.trace.journey import Network
from bgpctl.core.trace.netfilter import Addresses, Rule
from bgpctl.core.trace.packet import DEFAULT_BYTES
from bgpctl.core.trace.snapshot import Neighbour, Snapshot
from bgpctl.core.trace.verify import Block, Obstacles


def network_of(intent: Intent, ends: Iterable[Address], answers: Answers) -> Network:
    """The nodes that answered as they are; those of the ends that could not be asked as the files would have them."""
    made = network(intent, ends, {name: answer.snapshot for name, answer in answers.given.items()})
    reasons = {name: _by_key(answer.reasons) for name, answer in answers.given.items() if answer.reasons}
    return replace(made, reasons={**made.reasons, **reasons}, unasked=answers.unasked)


def _by_key(reasons: Mapping[Prefix, Reason]) -> Mapping[Key, Reason]:
    return {("route", MAIN_TABLE, prefix, METRIC): reason for prefix, reason in reasons.items()}


def everything_of(intent: Intent, answers: Answers) -> tuple[Network, tuple[Block, ...], Obstacles]:
    """All nodes that answered, every block that has workloads or may have them, and what keeps routes away."""
    addresses = {address: node.name for node in intent.nodes for address in node.addresses}
    snapshots: dict[str, Snapshot | None] = dict.fromkeys(node.name for node in intent.nodes)
    snapshots |= {name: replace(answer.snapshot, open_blocks=True) for name, answer in answers.given.items()}
    parts = _parts(intent, answers)
    blocks = [block for node in intent.nodes for block in _blocks(intent, node, answers.given.get(node.name), parts)]
    obstacles: dict[tuple[str, Prefix], Obstacle] = {}
    policies: dict[str, Policy] = {}
    for answer in answers.given.values():
        for prefix, found in answer.absent.items():
            obstacles[answer.node, prefix] = _with_its_place(intent, answer, prefix, found, policies)
    return Network(snapshots, addresses, unasked=answers.unasked), tuple(blocks), obstacles


def obstacle_of(intent: Intent, answer: NodeAnswer, destination: Address) -> Obstacle | None:
    """The obstacle between the node and a route to the destination's block; None where none is known."""
    found = [prefix for prefix in answer.absent if prefix.holds(destination)]
    narrowest = max(found, key=lambda prefix: prefix.length, default=None)
    return _with_its_place(intent, answer, narrowest, answer.absent[narrowest], {}) if narrowest else None


def _with_its_place(
    intent: Intent, answer: NodeAnswer, prefix: Prefix, found: Obstacle, policies: dict[str, Policy]
) -> Obstacle:
    """The obstacle by the files, with its place, if these are the cause; a rejection was seen, and is one itself."""
    node = intent.node(answer.node)
    by_files = missing(intent, node, prefix, policies) if node and found.code is not ObstacleCode.IMPORT else None
    if by_files is None or by_files.code is ObstacleCode.ROUTER:
        return _with_its_silence(intent, answer, found)
    return by_files


def _with_its_silence(intent: Intent, answer: NodeAnswer, found: Obstacle) -> Obstacle:
    """A session that is down because the peer is taken for a neighbour, and does not answer."""
    peer = intent.node(found.peer) if found.code is ObstacleCode.SESSION_DOWN else None
    for (link, address), state in answer.snapshot.neighbours.items() if peer else ():
        if peer and address in peer.addresses and state is not Neighbour.KNOWN:
            detail = f"no neighbour answers on {link} for {address}"
            return found._replace(code=ObstacleCode.PEER_SILENT, detail=detail)
    return found


# Blocks ----------------------------------------------------------------------------------------------------------


class _Workload(NamedTuple):
    address: Address
    link: str
    mtu_bytes: int


def _blocks(intent: Intent, node: Node, answer: NodeAnswer | None, parts: _Parts) -> Iterator[Block]:
    full_bytes = _full_bytes(node, answer.snapshot) if answer else DEFAULT_BYTES
    workloads = list(_workloads(answer.snapshot)) if answer else []
    for block in blocks_of(intent, node, full_bytes):
        mine = [item for item in workloads if block.prefix.holds(item.address) and _is_at(intent, item, node)]
        for item in _one_for_each_part(mine, parts.get(block.prefix, frozenset())):
            most_bytes = min(full_bytes, item.mtu_bytes)
            yield block._replace(address=item.address, full_bytes=most_bytes, link=item.link)
        if not mine:
            yield block


def _is_at(intent: Intent, item: _Workload, node: Node) -> bool:
    """False for an address that is borrowed by another node."""
    return node_at(intent, item.address) == node


def _full_bytes(node: Node, snapshot: Snapshot) -> int:
    """The smallest MTU of the underlay and the tunnels."""
    underlay = {link for address in node.addresses for link in snapshot.links_with(address)}
    mtus = [link.mtu_bytes for link in snapshot.dataplane.links if link.up and (link.owned or link.name in underlay)]
    return min(mtus, default=DEFAULT_BYTES)


def _workloads(snapshot: Snapshot) -> Iterator[_Workload]:
    """Addresses with a route of their own to a link that is none of ours, in order."""
    links = {link.name: link for link in snapshot.dataplane.links if not link.owned}
    for route in sorted(filter(_is_to_one_address, snapshot.dataplane.routes), key=attrgetter("prefix", "metric")):
        link = links.get(route.link or "")
        if link and link.up and (link.workload or route.gateway is None):
            address = route.prefix.first
            yield _Workload(address, link.name, link.mtu_bytes)


def _is_to_one_address(route: Route) -> bool:
    foreign = route.type is RouteType.UNICAST and route.protocol != PROTOCOL and route.table == MAIN_TABLE
    return foreign and route.prefix.size == 1


# Parts -----------------------------------------------------------------------------------------------------------

_Part: TypeAlias = Prefix | Addresses
_Parts: TypeAlias = Mapping[Prefix, frozenset[_Part]]
"""By block."""


def _one_for_each_part(workloads: Iterable[_Workload], parts: frozenset[_Part]) -> Iterator[_Workload]:
    met: set[frozenset[_Part]] = set()
    for item in workloads:
        inside = frozenset(part for part in parts if _holds(part, item.address))
        if inside not in met:
            met.add(inside)
            yield item


def _holds(part: _Part, address: Address) -> bool:
    return part.holds(address) if isinstance(part, Prefix) else part.first <= address <= part.last


def _parts(intent: Intent, answers: Answers) -> _Parts:
    """The parts of each block that an object of another program names at any node."""
    blocks = {block for node in intent.nodes for block in intent.blocks_of(node)}
    lengths = {block.length for block in blocks}
    found: dict[Prefix, set[_Part]] = {}
    for answer in answers.given.values():
        for part in set(_named(answer.snapshot)):
            ends = (part.first, part.last) if isinstance(part, Addresses) else (part.first,)
            longer = [length for length in lengths if isinstance(part, Addresses) or length < part.length]
            for block in {_around(end, length) for end in ends for length in longer} & blocks:
                found.setdefault(block, set()).add(part)
    return {block: frozenset(parts) for block, parts in found.items()}


def _around(address: Address, length: int) -> Prefix:
    bits = max(address.host_prefix.length - length, 0)
    return Prefix(address.version, address.value >> bits << bits, length)


def _named(snapshot: Snapshot) -> Iterator[_Part]:
    own = {item.address.host_prefix for item in _workloads(snapshot)}
    for route in snapshot.dataplane.routes:
        if route.protocol != PROTOCOL and route.prefix not in own:
            yield route.prefix
    for rule in snapshot.dataplane.rules:
        yield from filter(None, (rule.destination, *map(_prefix, rule.selector.split())))
    for chain in snapshot.chains:
        for others in (chain.rules, *(found for _, found in chain.others)):
            yield from (part for item in others for part in _of_rule(item))


def _of_rule(rule: Rule) -> Iterator[_Part]:
    values = (value for condition in rule.conditions for value in condition.values)
    yield from (value for value in values if isinstance(value, Prefix | Addresses))


def _prefix(text: str) -> Prefix | None:
    try:
        return Prefix.parse(text)
    except ValueError:
        return None
