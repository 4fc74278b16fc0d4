"""
Things that only one node of a cluster can have, by their values: a check of one node against all others is a look-up.

The index of a cluster in which two nodes have something in common is None: then the checks in check.py name what. It
may be None where nothing is wrong (a network inside another one need not be an error), and never the other way round.

Refuses to know: places, messages, which of two nodes is to blame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.draft import BlockDraft, Draft, Stated
from bgpctl.core.net.addresses import Prefix

_HOST_LENGTH: Final = {4: 32, 6: 128}

Holding: TypeAlias = tuple[str, object]
"""A kind and a value: an address, a block, a MAC over one IP version."""


class Member(NamedTuple):
    """Everything that the records say of one node."""

    node: Stated[Node] | None = None
    ends: Stated[NodeAllocations] | None = None
    blocks: tuple[Stated[BlockDraft], ...] = ()
    borrowed: tuple[Stated[BlockDraft], ...] = ()


_SHARDS: Final = 512
"""An edit copies the shards that it touches, and not the whole."""

Shards: TypeAlias = tuple[Mapping[Holding, str], ...]


class Index(NamedTuple):
    """
    Attributes:
        holders: the node that has something, by name; in shards by hash, which versions share.
        networks: of the nodes with masks, with the number of nodes in each; none of them lies in another one.
    """

    holders: Shards
    networks: Mapping[Prefix, int]


def members_of(draft: Draft) -> Mapping[str, Member]:
    """The nodes of a draft, and nodes that it only gives something to."""
    blocks, borrowed = _by_node(draft.blocks), _by_node(draft.borrowed)
    names = dict.fromkeys((*draft.nodes, *blocks, *borrowed))
    return {
        name: Member(
            draft.nodes.get(name),
            draft.tunnel_ends.get(name),
            tuple(blocks.get(name, ())),
            tuple(borrowed.get(name, ())),
        )
        for name in names
    }


def index_of(intent: Intent, members: Mapping[str, Member]) -> Index | None:
    """The index of a whole cluster; None where two nodes may have something in common."""
    if _nest({block.value.prefix for member in members.values() for block in member.blocks}):
        return None  # of an edit this need not be asked: all blocks of a pool have one length, or that is an error
    return changed(Index(({},) * _SHARDS, {}), None, {}, intent, members)


def changed(
    index: Index, before: Intent | None, gone: Mapping[str, Member], now: Intent, new: Mapping[str, Member]
) -> Index | None:
    """
    The index after some nodes changed; None where two nodes may have something in common. `before` is the intent that
    `index` is of, with the nodes that are `gone`, and `now` the one with the nodes that are `new`.
    """
    holders, networks = _Holders(index.holders), dict(index.networks)
    for name, member in gone.items():
        for holding in _holdings(before, name, member) if before else ():
            holders.drop(holding)
        for network in _networks(member):
            networks[network] -= 1
            if not networks[network]:
                del networks[network]
    appeared = set[Prefix]()
    for name, member in new.items():
        if _has_twice(member):
            return None
        if any(holders.holder(holding, name) != name for holding in _holdings(now, name, member)):
            return None
        for network in _networks(member):
            appeared |= set() if network in networks else {network}
            networks[network] = networks.get(network, 0) + 1
    return None if _nests(networks, appeared) else Index(holders.shards(), networks)


class _Holders:
    """An edit of shards, of which each is copied once."""

    def __init__(self, before: Shards) -> None:
        self._before = before
        self._edited: dict[int, dict[Holding, str]] = {}

    def _shard(self, holding: Holding) -> dict[Holding, str]:
        number = hash(holding) % _SHARDS
        if number not in self._edited:
            self._edited[number] = dict(self._before[number])
        return self._edited[number]

    def drop(self, holding: Holding) -> None:
        self._shard(holding).pop(holding, None)

    def holder(self, holding: Holding, name: str) -> str:
        """The node that has it; the node of this name from now on, if no node had it."""
        return self._shard(holding).setdefault(holding, name)

    def shards(self) -> Shards:
        return tuple(self._edited.get(number, shard) for number, shard in enumerate(self._before))


def _holdings(intent: Intent, name: str, member: Member) -> Iterator[Holding]:
    for block in member.blocks:
        yield "block", block.value.prefix
    for borrowed in member.borrowed:
        yield "address", borrowed.value.prefix.first
    node = intent.node(name)
    if node:
        yield from (("address", address) for address in node.addresses)
        yield from (("address", address) for address in intent.tunnel_addresses(node))
        yield from ((f"MAC over IPv{version}", intent.vtep_mac(node, version)) for version in (4, 6))


def _has_twice(member: Member) -> bool:
    """True if one kind of resource gives the node a block twice."""
    blocks = [(block.value.prefix, block.value.by) for block in member.blocks]
    return len(set(blocks)) < len(blocks)


def _networks(member: Member) -> Iterator[Prefix]:
    node = member.node.value if member.node else None
    for own in (node.underlay(4), node.underlay(6)) if node else ():
        if own and own.length < _HOST_LENGTH[own.address.version]:
            yield own.network


def _nests(networks: Mapping[Prefix, int], appeared: set[Prefix]) -> bool:
    """True if one of the networks that appeared lies in another network, or around one."""
    if len(appeared) > 1:
        return _nest(networks)
    return any(one is not other and (one.covers(other) or other.covers(one)) for one in appeared for other in networks)


def _nest(prefixes: Collection[Prefix]) -> bool:
    """True if one lies in another. Sorted prefixes nest or part, so that the next one is enough."""
    return any(wide.covers(narrow) for wide, narrow in pairwise(sorted(prefixes)))


def _by_node(stated: Iterable[Stated[BlockDraft]]) -> Mapping[str, list[Stated[BlockDraft]]]:
    found: dict[str, list[Stated[BlockDraft]]] = {}
    for item in stated:
        found.setdefault(item.value.node, []).append(item)
    return found
