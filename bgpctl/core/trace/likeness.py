"""
Pairs of nodes between which packets have the same fate, as far as their kernels show.

A thousand kernels are a million pairs, and of most of these the same is true but for names. What two kernels have about
each other is compared instead of following each packet. Of one kernel there is what it has about itself (its links,
rules, chains, its own blocks), and what it has about each other member (routes to its blocks with their next hops, the
tunnel's entries, whether filters let it in): both with symbols in place of addresses. Whatever has a prefix that is no
block of a member is taken as it is, with a mark for each address that it holds. Then a pair is like another if all four
parts are equal.

Only that packets pass is taken over from one pair to another. A pair that fails is followed itself, and so is each pair
of which anything here is unusual: next hops at a third node, addresses that two nodes have.

Refuses to know: why packets pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple, Protocol

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.objects import Link, NextHop, Route
from bgpctl.core.trace.journey import Network
from bgpctl.core.trace.netfilter import Addresses
from bgpctl.core.trace.selectors import sources
from bgpctl.core.trace.snapshot import Neighbour, OwnAddress, RouteDetails, Snapshot

_MOST_PARTS: Final = 64
"""Prefixes of other programs in one kernel; with more its pairs are followed one by one."""


class Tested(Protocol):
    """A block, as verify.py has it."""

    @property
    def node(self) -> str: ...
    @property
    def prefix(self) -> Prefix: ...
    @property
    def address(self) -> Address: ...
    @property
    def full_bytes(self) -> int: ...
    @property
    def pool(self) -> str: ...
    @property
    def link(self) -> str: ...


class _Id(NamedTuple):
    """An address or a block of one member: what it is there."""

    node: str
    symbol: Hashable


class Likeness:
    """All that the kernels of a network have about themselves and each other."""

    def __init__(self, network: Network, blocks: Sequence[Tested]) -> None:
        self._ids: dict[Address | Prefix, _Id] = {}
        self._odd: set[str] = {name for name, item in network.snapshots.items() if item is None}
        self._odd |= network.down.union(*network.cut)
        self._blocks: dict[str, list[Tested]] = defaultdict(list)
        for block in blocks:
            self._blocks[block.node].append(block)
        self._name_all(network)
        numbers: dict[Hashable, int] = {}
        self._number: Callable[[Hashable], int] = lambda item: numbers.setdefault(item, len(numbers))
        tested = frozenset(block.address for block in blocks)
        self._nodes = {
            name: _Node(name, item, self._blocks[name], self._ids, tested)
            for name, item in network.snapshots.items()
            if item and name not in self._odd
        }
        self._own = {name: self._number(node.itself()) for name, node in self._nodes.items()}

    def keys(self, one: str, other: str) -> tuple[Hashable, Hashable] | None:
        """
        Of both directions between two nodes: equal for ordered pairs of nodes of which the same is true. None for nodes
        that are like no others.
        """
        if one not in self._nodes or other not in self._nodes:
            return None
        there, back = (self._nodes[a].about(self._given[b]) for a, b in ((one, other), (other, one)))
        if there is None or back is None:
            return None
        ends = (self._own[one], self._number(there)), (self._own[other], self._number(back))
        return ends, ends[::-1]

    def _name_all(self, network: Network) -> None:
        """Each address and block by its member. Two members with one are odd."""
        self._given: dict[str, _Given] = {}
        named: dict[str, list[Address]] = defaultdict(list)
        for address, name in network.addresses.items():
            named[name].append(address)
        for name, snapshot in network.snapshots.items():
            own = snapshot.addresses if snapshot else ()
            found: dict[Address, Hashable] = {
                item.address.address: ("at", item.link) for item in own if not _LOOPBACK.holds(item.address.address)
            }
            found.update((address, ("node", address.version)) for address in named[name])
            named_here: list[tuple[Address | Prefix, Hashable]] = [*found.items()]
            named_here += ((block.prefix, ("block", index)) for index, block in enumerate(self._blocks[name]))
            for what, symbol in named_here:
                known = self._ids.setdefault(what, _Id(name, symbol))
                if known.node != name:
                    self._odd |= {name, known.node}
            self._given[name] = _Given(name, tuple(found), tuple(self._blocks[name]))


_LOOPBACK: Final = Prefix.parse("127.0.0.0/8")


class _Given(NamedTuple):
    """All that others know a member by: its addresses, and its blocks with one address of each."""

    name: str
    addresses: tuple[Address, ...]
    blocks: tuple[Tested, ...]

    @property
    def every_address(self) -> tuple[Address, ...]:
        return (*self.addresses, *(block.address for block in self.blocks))


class _Third(Exception):
    """A third member is in between."""


class _Node:
    """One kernel."""

    def __init__(
        self,
        name: str,
        snapshot: Snapshot,
        blocks: Sequence[Tested],
        ids: Mapping[Address | Prefix, _Id],
        tested: Collection[Address],
    ) -> None:
        self._name, self._snapshot, self._blocks, self._ids = name, snapshot, blocks, ids
        plane = snapshot.dataplane
        self._hops: dict[int, NextHop] = {hop.id: hop for hop in plane.next_hops}
        self._groups = {group.id: group.members for group in plane.groups}
        self._macs = {(item.link, item.address): item.mac for item in plane.neighbours}
        self._remotes: dict[tuple[str, object], list[Address]] = defaultdict(list)
        for item in plane.fdb:
            self._remotes[item.link, item.mac].append(item.remote)
        self._failed = {key for key, state in snapshot.neighbours.items() if state is Neighbour.FAILED}
        self._to_blocks: dict[Prefix, list[Route]] = defaultdict(list)
        self._rest: list[Route] = []
        for route in plane.routes:
            if self._is_to_member(route):
                self._to_blocks[route.prefix].append(route)
            elif route.prefix != route.prefix.first.host_prefix or route.prefix.first in {*tested, *ids}:
                self._rest.append(route)  # to one address that no packet has it leads none
        self._parts = {part: self._prefix(part) if isinstance(part, Prefix) else str(part) for part in self._named()}
        self._senders = [frozenset(decap.sources) for decap in plane.decaps]
        self._filters = [
            (item, frozenset(item.members), _index(item.sources), _index(item.destinations))
            for item in sorted(plane.inner_filters, key=lambda item: (item.link, item.version))
        ]
        self._masquerades = [
            (item, _index(item.sources), _index(item.inside))
            for item in sorted(plane.masquerades, key=lambda item: item.version)
        ]
        self._inside = [_index(item.inside) for item in plane.workload_filters]
        self._is_odd = len(self._parts) > _MOST_PARTS or self._is_by_third()

    def _is_to_member(self, route: Route) -> bool:
        known = self._ids.get(route.prefix)
        return known is not None and known.node != self._name

    def _is_by_third(self) -> bool:
        """True if a route that is to no member's block leads by another member."""
        hops = (hop for route in self._rest for hop in self._ways(route))
        known = (self._ids.get(gateway) for _, gateway in hops if gateway)
        return any(item and item.node != self._name for item in known)

    def _named(self) -> set[Prefix | Addresses]:
        """Prefixes and ranges that are no member's block."""
        found: set[Prefix | Addresses] = {route.prefix for route in self._rest}
        found.update(item.address.network for item in self._snapshot.addresses)
        for rule in self._snapshot.dataplane.rules:
            found.update(sources(rule.selector))
            found.update(() if rule.destination is None else (rule.destination,))
        for one in self._snapshot.chains:
            for rules in (one.rules, *(rules for _, rules in one.others)):
                values = (value for rule in rules for item in rule.conditions for value in item.values)
                found.update(value for value in values if isinstance(value, Prefix | Addresses))
        return found

    # About itself ------------------------------------------------------------------------------------------------

    def itself(self) -> Hashable:
        """All that decides for any other end."""
        snapshot, plane = self._snapshot, self._snapshot.dataplane
        names = {*self._links_in_use(), "all", "default", "lo"}
        return (
            frozenset(self._link(link) for link in plane.links if link.name in names),
            tuple(map(self._address, snapshot.addresses)),
            frozenset(plane.rules),
            snapshot.chains,
            snapshot.unread,
            (snapshot.declared, snapshot.open_blocks),
            frozenset(self._sysctls(names)),
            None if snapshot.local is None else frozenset(self._of_route(route) for route in snapshot.local),
            frozenset(self._of_route(route) for route in self._rest),
            frozenset((self._link_name(link), self._id(at)) for link, at in self._failed if at not in self._ids),
            tuple(self._own_block(block) for block in self._blocks),
            self._own_filters(),
            self._marks(self._given_here()),
        )

    def _links_in_use(self) -> Iterator[str | None]:
        """Of the others no packet comes, and none leaves by them."""
        yield from (item.link for item in self._snapshot.addresses)
        yield from (block.link for block in self._blocks)
        yield from (item.link for item in self._snapshot.dataplane.decaps)
        for route in (*self._rest, *chain.from_iterable(self._to_blocks.values())):
            yield from (link for link, _ in self._ways(route))

    def _address(self, item: OwnAddress) -> Hashable:
        link, own = self._link_name(item.link), self._id(item.address.address)
        return link, own, item.address.length, item.scope, item.secondary

    def _given_here(self) -> tuple[Address, ...]:
        own = (item.address.address for item in self._snapshot.addresses)
        return (*own, *(block.address for block in self._blocks))

    def _link(self, link: Link) -> Hashable:
        kind = link.kind
        own = kind.sends_from()
        what = type(kind).__name__, kind.driver(), tuple(sorted(kind.wire().items())), kind.stands_on()
        return self._link_name(link.name), what, own and self._id(own), link.mtu_bytes, link.up, link.owned

    def _link_name(self, name: str | None) -> Hashable:
        """Of a workload's link the block that it belongs to."""
        numbers = [index for index, block in enumerate(self._blocks) if name and block.link == name]
        return ("workload", *numbers) if numbers else name

    def _sysctls(self, names: Collection[str | None]) -> Iterator[Hashable]:
        for name, value in self._snapshot.sysctls.items():
            *before, link, key = name.split("/")
            if before[-1:] != ["conf"]:
                yield name, value
            elif link in names:
                yield (*before, self._link_name(link), key), value

    def _own_block(self, block: Tested) -> Hashable:
        return block.pool, block.prefix.length, block.prefix.version, block.full_bytes, self._link_name(block.link)

    def _own_filters(self) -> Hashable:
        plane, own = self._snapshot.dataplane, self._given_here()
        decaps = [(self._link_name(item.link), item.underlay, tuple(map(self._id, item.own))) for item in plane.decaps]
        inner = [
            (item.link, item.version, tuple(map(self._id, item.own)), self._held(to, own), self._held(by, own))
            for item, _, by, to in self._filters
        ]
        return (
            tuple(decaps),
            tuple(inner),
            tuple((item.version, item.bgp_ports, self._held(by, own)) for item, by, _ in self._masquerades),
            tuple((item.udp_ports, item.bgp_port) for item in plane.workload_filters),
        )

    # About another -----------------------------------------------------------------------------------------------

    def about(self, other: _Given) -> Hashable | None:
        """All that decides about packets to and from another member; None if a third one is in between."""
        if self._is_odd:
            return None
        try:
            return (
                tuple(
                    frozenset(self._of_route(route, other.name) for route in self._to_blocks.get(block.prefix, ()))
                    for block in other.blocks
                ),
                self._marks(other.every_address),
                self._about_tunnels(other),
                frozenset((link, self._id(at, other.name)) for link, at in self._failed if at in other.addresses),
            )
        except _Third:
            return None

    def _about_tunnels(self, other: _Given) -> Hashable:
        every = other.every_address
        inner = ((members, by) for _, members, by, _ in self._filters)
        return (
            tuple(tuple(address in senders for address in other.addresses) for senders in self._senders),
            tuple((tuple(item in members for item in other.addresses), self._held(by, every)) for members, by in inner),
            tuple(self._held(inside, every) for _, _, inside in self._masquerades),
            tuple(self._held(inside, every) for inside in self._inside),
        )

    def _held(self, index: LongestMatch[bool], addresses: Iterable[Address]) -> tuple[bool, ...]:
        return tuple(index.covering(address.host_prefix) is not None for address in addresses)

    def _marks(self, addresses: Sequence[Address]) -> Hashable:
        """The addresses that each part holds, by their places."""
        return frozenset(
            (name, tuple(_holds(part, address) for address in addresses)) for part, name in self._parts.items()
        )

    def _of_route(self, route: Route, to: str = "") -> Hashable:
        details = self._snapshot.details.get(route, _NO_DETAILS)
        return (
            ("block",) if to else self._prefix(route.prefix),
            route.type,
            (route.metric, route.table, route.protocol),
            tuple(self._hop(*hop, to) for hop in self._ways(route)),
            route.mtu_bytes or details.mtu_bytes,
            details.source and self._id(details.source),
        )

    def _ways(self, route: Route) -> Iterable[tuple[str | None, Address | None]]:
        """Link and gateway of each next hop."""
        if not route.next_hop:
            return self._snapshot.details.get(route, _NO_DETAILS).hops or ((route.link, route.gateway),)
        members = map(self._hops.get, self._groups.get(route.next_hop, (route.next_hop,)))
        return [(hop.link, hop.gateway) if hop else ("", None) for hop in members]

    def _hop(self, link: str | None, gateway: Address | None, to: str) -> Hashable:
        if gateway is None:
            return self._link_name(link), None
        mac = self._macs.get((link or "", gateway))
        remotes = tuple(self._id(item, to) for item in self._remotes.get((link or "", mac), ())) if mac else None
        return self._link_name(link), self._id(gateway, to), remotes, (link, gateway) in self._failed

    # Symbols -----------------------------------------------------------------------------------------------------

    def _id(self, address: Address, to: str | None = None) -> Hashable:
        """Its symbol where it is this node's, or that of the member `to`. With `to` a third member is no answer."""
        known = self._ids.get(address)
        if known and known.node == self._name:
            return "own", known.symbol
        if known and to and known.node == to:
            return "theirs", known.symbol
        if known and to:
            raise _Third
        for item in self._snapshot.addresses:
            network = item.address.network
            if network.holds(address) and network.length < address.host_prefix.length:
                return "beside", item.link, network.length, address.value - network.network
        index = next((index for index, block in enumerate(self._blocks) if block.address == address), None)
        return str(address) if index is None else ("own block", index)

    def _prefix(self, prefix: Prefix) -> Hashable:
        known = self._ids.get(prefix)
        if known and known.node == self._name:
            return "own", known.symbol
        if prefix == prefix.first.host_prefix:
            return "host", self._id(prefix.first)
        networks = [(item.link, prefix.length) for item in self._snapshot.addresses if item.address.network == prefix]
        return ("network", networks[0]) if networks else str(prefix)


_NO_DETAILS: Final = RouteDetails()


def _index(prefixes: Iterable[Prefix]) -> LongestMatch[bool]:
    return LongestMatch((prefix, True) for prefix in prefixes)


def _holds(part: Prefix | Addresses, address: Address) -> bool:
    return part.holds(address) if isinstance(part, Prefix) else part.first <= address <= part.last
