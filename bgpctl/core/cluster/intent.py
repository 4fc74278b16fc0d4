"""
Everything that is wanted of a cluster: its configuration, and the allocations that were made under it.

The two have sources of their own. An operator writes the configuration, and it changes a few times a day at most; IP
address management writes the allocations, as workloads come and go. Code that needs the configuration alone (sessions,
policies, MTUs) takes a `Configuration`, which an `Intent` is; blocks, borrowed addresses and the ends of tunnels are
asked of the `Intent`, never of a `Node`.

Refuses to know: where either half comes from (ports.py), who owns a given prefix (ownership.py).
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import compress, filterfalse
from operator import is_, is_not
from typing import Final, TypeVar

from bgpctl.core.cluster import tunnel_addresses
from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Configuration, Filter, Node, Peer, Pool, Service
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.net.addresses import Address, Mac, Prefix

T = TypeVar("T")
N = TypeVar("N", Pool, Node, Peer, Filter, Service)


@dataclass(frozen=True, slots=True)
class Intent(Configuration):
    """
    A configuration with its allocations.

    `remarks` are the warnings and notes of the reader; they are no part of the desired state. Neither is `reserved`:
    addresses that no workload gets unless the operator names them (Calico's IPReservation). Nor are `is_strict`: no
    node borrows from another's block, and `most_blocks`: of one node, None without a limit (Calico's IPAMConfig).
    """

    allocations: Allocations = field(default_factory=Allocations)
    reserved: tuple[Prefix, ...] = field(default=(), compare=False, repr=False)
    remarks: tuple[Problem, ...] = field(default=(), compare=False, repr=False)
    is_strict: bool = field(default=False, compare=False, repr=False)
    most_blocks: int | None = field(default=None, compare=False, repr=False)

    def blocks_of(self, node: Node) -> tuple[Prefix, ...]:
        """The blocks that are affine to the node, sorted."""
        return self.allocations.of(node.name).blocks

    def borrowed_by(self, node: Node) -> tuple[Prefix, ...]:
        """
        Host prefixes that are the node's although their block, if there is one, is not: sorted.

        A tunnel address that was given from elsewhere is one of them: answers to it must find the node.
        """
        given = self.allocations.of(node.name)
        return tuple(sorted({*given.borrowed, *tunnel_addresses.outside_blocks(self, given)}))

    def prefixes_of(self, node: Node) -> tuple[Prefix, ...]:
        """Every prefix that leads to the node: its blocks, then its borrowed addresses."""
        return (*self.blocks_of(node), *self.borrowed_by(node))

    def services_of(self, node: Node) -> tuple[Service, ...]:
        """The services of which the node has an instance, by name."""
        return tuple(service for service in self.services if self.has_instance(service, node))

    def has_instance(self, service: Service, node: Node) -> bool:
        """True if the node may announce the service's address."""
        return node.name in service.nodes and (not service.workloads or self.workload_of(service, node) is not None)

    def workload_of(self, service: Service, node: Node) -> Address | None:
        """The workload that is the node's instance; None where the node itself is, or where it has none."""
        own = self.prefixes_of(node) if service.workloads else ()
        return next((item for item in service.workloads if any(prefix.holds(item) for prefix in own)), None)

    def tunnel_address(self, node: Node, encapsulation: Encapsulation, version: int) -> Address | None:
        """The address of the node's end of a tunnel: the given one, or one taken from a pool."""
        given = self.allocations.of(node.name)
        address = given.tunnel_address(encapsulation, version)
        return address or tunnel_addresses.taken(self, node, (*given.home, *given.blocks), encapsulation, version)

    def tunnel_addresses(self, node: Node) -> tuple[Address, ...]:
        """The addresses that the node has, on all tunnels."""
        found = (self.tunnel_address(node, *tunnel) for tunnel in tunnel_addresses.every_tunnel())
        return tuple(address for address in found if address)

    def vtep_mac(self, node: Node, version: int) -> Mac:
        """The MAC of the node's Ethernet tunnels over one IP version: the given one, or one derived from its name."""
        return self.allocations.of(node.name).vtep_mac(version) or tunnel_addresses.derived_mac(node, version)


def joined(configuration: Configuration, allocations: Allocations) -> Intent:
    """Both halves together."""
    halves = {item.name: getattr(configuration, item.name) for item in fields(Configuration)}
    return Intent(**halves, allocations=allocations)


def changed_nodes(intent: Intent, before: Intent) -> frozenset[str] | None:
    """
    The names of the nodes that are another object than `before`, or have been given something else, or are in one of
    the two only; None if anything else differs, too. A new object that equals the former one counts as another.
    """
    if intent is before:
        return frozenset()
    others = ((getattr(intent, name), getattr(before, name)) for name in _OTHERS)
    if any(one is not other and one != other for one, other in others):
        return None
    found = _changed(intent.by_name, before.by_name)
    given, earlier = intent.allocations.by_node, before.allocations.by_node
    return frozenset(found if given is earlier else found | _changed(given, earlier))


def _changed(now: Mapping[str, T], before: Mapping[str, T]) -> set[str]:
    """By identity. Of 5,000 entries in the same order, which is usual, this takes a tenth of a millisecond."""
    if now is before:
        return set()
    if isinstance(now, _Edited) and now.of and now.of() is before:
        return {name for name in now.names if now.get(name) is not before.get(name)}
    found = set[str]()
    if [*now] != [*before]:
        found.update(filterfalse(before.__contains__, now))
        if len(now) - len(found) != len(before):
            found.update(filterfalse(now.__contains__, before))
    (names, items), (earlier_names, earlier) = _but(now, found), _but(before, found)
    if names != earlier_names:
        return found | {name for name in names if now[name] is not before[name]}
    found.update(compress(names, map(is_not, items, earlier)))
    return found


def _but(entries: Mapping[str, T], names: Collection[str]) -> tuple[list[str], list[T]]:
    """Keys and values in their order, but these."""
    if len(names) > _FEW:
        kept = {name: item for name, item in entries.items() if name not in names}
        return [*kept], [*kept.values()]
    keys, values = [*entries], [*entries.values()]
    for name in names:
        if name in entries:
            index = keys.index(name)
            del keys[index], values[index]
    return keys, values


def with_edits(intent: Intent, nodes: Mapping[str, Node | None], given: Mapping[str, NodeAllocations | None]) -> Intent:
    """With these nodes and these allocations by name in place of the former ones; None: there is none any more."""
    by_name, allocations = intent.by_name, intent.allocations
    if nodes:
        by_name = _replaced(by_name, nodes)
    if given:
        allocations = Allocations(_replaced(allocations.by_node, given))
    return intent.with_index(by_name, allocations=allocations) if nodes or given else intent


class _Edited(dict[str, T]):
    """Entries of which only the named ones may be others than in the entries `of`, which may be forgotten meanwhile."""

    of: weakref.ref[_Edited[T]] | None = None
    names: frozenset[str] = frozenset()


def _replaced(before: Mapping[str, T], edits: Mapping[str, T | None]) -> Mapping[str, T]:
    """In the order of names, if that is the order of `before`."""
    found = _Edited(before)
    for name, item in edits.items():
        if item is None:
            found.pop(name, None)
        else:
            found[name] = item
    if any(name in found and name not in before for name in edits):
        names = sorted(found)
        found = found if names == [*found] else _Edited((name, found[name]) for name in names)
    if isinstance(before, _Edited):
        found.of, found.names = weakref.ref(before), frozenset(edits)
    return found


_FEW: Final = 8
"""So many entries are taken out of a list one by one, which finds each by going through it."""
_OTHERS: Final = tuple(item.name for item in fields(Configuration) if item.name != "nodes")


def sharing(intent: Intent, before: Intent) -> Intent:
    """
    An equal intent made of the objects of `before` wherever those are equal, so that identity shows what an edit left
    as it was. A shared object keeps its former place in the files: problems are reported before this is done.
    """
    return replace(
        intent,
        pools=_sharing(intent.pools, before.pools),
        nodes=_sharing(intent.nodes, before.nodes),
        peers=_sharing(intent.peers, before.peers),
        filters=_sharing(intent.filters, before.filters),
        services=_sharing(intent.services, before.services),
        allocations=sharing_allocations(intent.allocations, before.allocations),
    )


def _sharing(named: tuple[N, ...], before: tuple[N, ...]) -> tuple[N, ...]:
    known = {item.name: item for item in before}
    found = tuple(_one(item, known.get(item.name)) for item in named)
    return before if len(found) == len(before) and all(map(is_, found, before)) else found


def sharing_allocations(allocations: Allocations, before: Allocations) -> Allocations:
    """Equal allocations made of the objects of `before` wherever those are equal."""
    known = before.by_node
    found = {name: _one(given, known.get(name)) for name, given in allocations.by_node.items()}
    is_same = len(found) == len(known) and all(given is known.get(name) for name, given in found.items())
    return before if is_same else Allocations(found)


def _one(new: T, before: T | None) -> T:
    return before if before is not None and before == new else new
