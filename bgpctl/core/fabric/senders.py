"""
The other members as senders of tunnel packets: their underlay addresses, and the prefixes that say more than the pools.

Only the own node and the pools count for all members at once. So if only some members changed, the others' are taken
over, as in entries.py.

Refuses to know: which tunnels there are, how packets from others are kept out.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.table import is_same

_VERSIONS: Final = (4, 6)


class SendersInput(NamedTuple):
    """All that they depend on. Of the intent each member is compared by itself; `ours` are this node's prefixes."""

    intent: Intent
    node: Node
    ours: tuple[Prefix, ...]


class Senders(NamedTuple):
    """
    All other members.

    Attributes:
        addresses: on the underlay, by IP version, sorted.
        beside: by name, the prefixes of a member but those that are in a pool and in no block of this node, which add
            nothing to the pool. That is nearly all of them, so few members have any.
    """

    made_from: SendersInput
    addresses: Mapping[int, tuple[Address, ...]]
    beside: Mapping[str, tuple[Prefix, ...]]


class _Addresses(tuple[Address, ...]):  # noqa: SLOT001 (a tuple has no room for one)
    """A tuple that knows its hash: of thousands of addresses it is asked for several times at each change."""

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def ours(intent: Intent, node: Node) -> tuple[Prefix, ...]:
    """The prefixes of a node: its blocks, the addresses that it has borrowed, and its ends of tunnels."""
    ends = (address.host_prefix for address in intent.tunnel_addresses(node))
    return (*intent.prefixes_of(node), *ends)


def senders(read: SendersInput, before: Senders | None, changed: frozenset[str] | None) -> Senders:
    """The senders; `changed` are the nodes that differ from the intent `before`, None if more than nodes does."""
    if before and is_same(before.made_from, read):
        return before
    if before and changed is not None and is_same(before.made_from, read, but="intent"):
        return _edited(read, before, changed - {read.node.name})
    others = read.intent.by_name.keys() - {read.node.name}
    found = _addresses(read.intent, others)
    return Senders(
        read, {version: _Addresses(sorted(found[version])) for version in _VERSIONS}, dict(_beside(read, others))
    )


def _edited(read: SendersInput, before: Senders, changed: Collection[str]) -> Senders:
    gone, come = _addresses(before.made_from.intent, changed), _addresses(read.intent, changed)
    known = before.addresses
    addresses = {version: _replaced(known[version], gone[version], come[version]) for version in _VERSIONS}
    others = {name: prefixes for name, prefixes in before.beside.items() if name not in changed}
    return Senders(read, addresses, {**others, **dict(_beside(read, changed))})


def _addresses(intent: Intent, names: Iterable[str]) -> Mapping[int, list[Address]]:
    found: dict[int, list[Address]] = {version: [] for version in _VERSIONS}
    for name in names:
        node = intent.node(name)
        for address in node.addresses if node else ():
            found[address.version].append(address)
    return found


def _replaced(known: tuple[Address, ...], gone: Collection[Address], come: Collection[Address]) -> tuple[Address, ...]:
    if gone == come:
        return known
    found = list(known)
    for address in gone:
        del found[bisect_left(found, address)]
    for address in come:
        insort(found, address)
    return _Addresses(found)


def _beside(read: SendersInput, names: Iterable[str]) -> Iterator[tuple[str, tuple[Prefix, ...]]]:
    """Found without what is derived: an end of a tunnel lies in a block, or was given."""
    intent = read.intent
    pools = ((pool.cidr, True) for pool in intent.pools)
    adds_nothing = LongestMatch(chain(((prefix, False) for prefix in read.ours), pools))
    for name in names:
        given = intent.allocations.by_node.get(name) if intent.node(name) else None
        if given:
            ends = (address.host_prefix for _, address in given.tunnel_addresses)
            prefixes = chain(given.blocks, given.borrowed, ends)
            found = tuple([prefix for prefix in prefixes if not adds_nothing.covering(prefix)])
            if found:
                yield name, found
