"""
A mirror of the kernel: its last dump, with all notifications since applied to it.

To dump 100,000 routes because another program replaced one of them costs a hundred times what the change does. A
notification changes the one object that it is about. But the kernel does not report everything, and a notification
alone does not always say what has become of the rest. So a part of the mirror is *stale*, and has to be dumped, after

- the start, and lost notifications (ENOBUFS);
- a link that goes away, down, or loses its carrier: its IPv4 routes and its next-hop objects go without a word
  (fib_sync_down_dev, nexthop_flush_dev), and so do the neighbours of a link whose MAC changes;
- an address that goes: the last one of IPv4 takes the routes of its link along (fib_disable_ip), of IPv6 with
  net.ipv6.route.skip_notify_on_dev_down=1; likewise an MTU that is too small for IPv6;
- a next-hop object that goes while routes or groups name it: it takes them along (remove_nexthop);
- a change of one of several routes with one key that are alike, or of an IPv6 route with several ways: which of them it
  is about, and what is left, depends on more than is kept here;
- a change of a link, a rule, an nftables table or a BPF program: there are few, and a dump of them is cheap;
- so many routes at once that a dump is cheaper; of own ones the notifications are not even asked for.

A notification has the present state of its object. So one may be applied twice, and those that came while a dump was
under way are applied after it: for each key the last one counts, whether the dump had it or not.

Refuses to know: sockets, who caused a change, and how a part is dumped.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, TypeAlias

from bgpctl.core.dataplane.effects import Failure, Op, Put
from bgpctl.core.dataplane.ops import by_kind
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    InnerFilter,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    Sysctl,
    WorkloadFilter,
)
from bgpctl.core.net.route_set import RouteSet
from bgpctl.core.net.table import ShardKey, shard_of
from bgpctl.kernel import decode, encode
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.netlink import NLM_F_REPLACE, Message


class Part(enum.Enum):
    """The parts of a dataplane that are dumped at once; next hops are listed together with groups."""

    LINKS = "links"
    ADDRESSES = "addresses"
    DECAPS = "decaps"
    INNER_FILTERS = "inner filters"
    MASQUERADES = "masquerades"
    WORKLOAD_FILTERS = "workload filters"
    FDB = "fdb"
    NEIGHBOURS = "neighbours"
    NEXT_HOPS = "next hops"
    ROUTES = "routes"
    RULES = "rules"


EVERYTHING: Final = frozenset(Part)
_PARTS_OF: Final[Mapping[type, frozenset[Part]]] = {
    Link: EVERYTHING,
    Sysctl: frozenset(),
    LinkAddress: frozenset({Part.ADDRESSES}),
    Decap: frozenset({Part.DECAPS, Part.LINKS}),
    InnerFilter: frozenset({Part.INNER_FILTERS}),
    Masquerade: frozenset({Part.MASQUERADES}),
    WorkloadFilter: frozenset({Part.WORKLOAD_FILTERS}),
    FdbEntry: frozenset({Part.FDB}),
    Neighbour: frozenset({Part.NEIGHBOURS}),
    NextHop: frozenset({Part.NEXT_HOPS}),
    NextHopGroup: frozenset({Part.NEXT_HOPS}),
    Route: frozenset({Part.ROUTES}),
}
"""The parts that an operation of ours changes. The kernel notifies of one that changes a single part."""
_EMULATED: Final = frozenset({Part.NEXT_HOPS, Part.ROUTES})
_EMPTY: Final = Dataplane()
_TRAFFIC_CONTROL: Final = frozenset((*range(36, 47), *range(48, 51), *range(100, 103)))
"""RTM_NEWQDISC to RTM_GETTFILTER, actions and chains: what becomes of BPF programs."""
_IPV6_MIN_MTU_BYTES: Final = 1280
"""Without it a link has no IPv6 (RFC 8200 section 5)."""
_FEW_ROUTES: Final = 1000
_SHARE_OF_ROUTES: Final = 8
"""Notified of more than so many and such a share of all at once, it is cheaper to dump them."""

RouteKey: TypeAlias = tuple[int, Prefix, int]
"""Table, prefix and metric."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """
    Attributes:
        dataplane: as far as it is known; a part that is stale may be wrong.
        links: by interface index.
        ambiguous: the keys of IPv6 routes with several ways, and of routes that are alike.
        stale: the parts to be dumped.
        has_unnamed: the routes were dumped when a link of theirs was not known yet.
        emulated: next hops are (nexthop_emulation.py), so the kernel's routes do not name them.
    """

    dataplane: Dataplane = _EMPTY
    links: Mapping[int, LinkFacts] = field(default_factory=dict)
    ambiguous: frozenset[RouteKey] = frozenset()
    stale: frozenset[Part] = EVERYTHING
    has_unnamed: bool = False
    emulated: bool = False

    @property
    def names(self) -> dict[int, str]:
        """Interface index → link name."""
        return {number: facts.name for number, facts in self.links.items()}

    @property
    def few_routes(self) -> int:
        """Of more that change at once a dump is cheaper than the notifications."""
        return _FEW_ROUTES + len(self.dataplane.routes) // _SHARE_OF_ROUTES

    def marked_stale(self, parts: Iterable[Part]) -> Mirror:
        """The same, with these parts stale too."""
        stale = self.stale.union(parts)
        return self if stale == self.stale else replace(self, stale=stale)


def applied(mirror: Mirror, notifications: Iterable[Message]) -> Mirror:
    """The mirror after these notifications."""
    builder = MirrorBuilder(mirror)
    for message in notifications:
        builder.apply(message)
    return builder.built()


def key_of_route(route: Route) -> RouteKey:
    """The kernel's key of a route among those that are shown."""
    return route.table, route.prefix, route.metric


def unconfirmed(mirror: Mirror, ops: Iterable[Op], failures: Iterable[Failure]) -> Mirror:
    """
    The mirror after operations of ours, some of which failed. A part is stale if the notifications of what was done
    did not come, or if there are none: only what is observed counts as done.
    """
    failed = {failure.op for failure in failures}
    stale = set(mirror.stale)
    for kind, group in by_kind(ops):
        parts = _PARTS_OF[kind]
        if stale.issuperset(parts):
            continue
        done = (op for op in group if not failed or op not in failed)
        is_notified = len(parts) == 1 and not (mirror.emulated and parts <= _EMULATED)
        if not is_notified or any((op.object in mirror.dataplane) is not isinstance(op, Put) for op in done):
            stale |= parts
    return mirror.marked_stale(stale)


class MirrorBuilder:
    """A mirror in the making: notifications are applied one by one, and tables made into values once, at the end."""

    def __init__(self, mirror: Mirror) -> None:
        self._start = mirror
        self._stale = set(mirror.stale)
        self._links: dict[int, LinkFacts] | None = None
        self._names = mirror.names
        self._addresses = set(mirror.dataplane.addresses)
        self._routes = _RouteChanges(mirror.dataplane.route_set)
        self._ambiguous = set(mirror.ambiguous)
        self._most_routes = mirror.few_routes
        self._by_key: dict[Part, dict[Any, Any]] = {}
        self._named: Counter[int] | None = None

    def built(self) -> Mirror:
        """The mirror after all notifications so far."""
        start = self._start
        found: dict[str, Any] = {"routes": self._routes.built()}
        if self._addresses != start.dataplane.addresses:
            found["addresses"] = frozenset(self._addresses)
        for part, table in self._by_key.items():
            found.update(_tables(part, table))
        same = all(value is getattr(start.dataplane, name) for name, value in found.items())
        dataplane = start.dataplane if same else replace(start.dataplane, **found)
        ambiguous = frozenset(self._ambiguous) if self._ambiguous != start.ambiguous else start.ambiguous
        links = start.links if self._links is None else self._links
        return Mirror(dataplane, links, ambiguous, frozenset(self._stale), start.has_unnamed, start.emulated)

    def apply(self, message: Message) -> bool:
        """Apply one notification; True if the dataplane may have changed."""
        match message.type:
            case encode.RTM_NEWROUTE | encode.RTM_DELROUTE:
                return self._route(message)
            case encode.RTM_NEWNEIGH | encode.RTM_DELNEIGH:
                return self._entry(message)
            case encode.RTM_GETNEIGH:  # a question to programs that resolve addresses (app_solicit, l2miss)
                return False
            case encode.RTM_NEWNEXTHOP | encode.RTM_DELNEXTHOP:
                return self._next_hop(message)
            case encode.RTM_NEWLINK | encode.RTM_DELLINK:
                return self._link(message)
            case encode.RTM_NEWADDR | encode.RTM_DELADDR:
                return self._address(message)
            case encode.RTM_NEWRULE | encode.RTM_DELRULE:
                return self._mark_stale(Part.RULES)
            case kind if kind in _TRAFFIC_CONTROL:
                return self._mark_stale(Part.LINKS, Part.DECAPS)
            case _:
                return self._mark_stale(*EVERYTHING)

    def _mark_stale(self, *parts: Part) -> bool:
        self._stale.update(parts)
        return True

    # Links and addresses ---------------------------------------------------------------------------------------

    def _link(self, message: Message) -> bool:
        if message.body[0] == encode.AF_BRIDGE:  # bridge ports have events of their own
            return False
        now = decode.link_facts(message.body)
        if self._links is None:
            self._links = dict(self._start.links)
        before = self._links.pop(now.number, None)
        self._names.pop(now.number, None)
        if message.type == encode.RTM_DELLINK:
            return self._mark_stale(*EVERYTHING)
        self._links[now.number] = now
        self._names[now.number] = now.name
        if before is None:
            return self._mark_stale(Part.LINKS, *((Part.ROUTES,) if self._start.has_unnamed else ()))
        if _takes_along(before, now) or (not now.running and self._has_next_hops(now.name)):
            return self._mark_stale(*EVERYTHING)
        # A carrier that is found changes nothing.
        return before._replace(running=now.running) != now and self._mark_stale(Part.LINKS)

    def _has_next_hops(self, link: str) -> bool:
        """A link without a carrier has none; if it was seen before they went, the same message comes once more."""
        return any(hop.link == link for hop in self._start.dataplane.next_hops)

    def _address(self, message: Message) -> bool:
        family, _, _, _, index = encode.IFADDRMSG.unpack_from(message.body)
        if family not in encode.FAMILY.values():
            return False
        if index not in self._names:
            return self._mark_stale(Part.LINKS, Part.ADDRESSES)
        if message.type == encode.RTM_DELADDR:
            return self._mark_stale(Part.ADDRESSES, Part.NEIGHBOURS, Part.ROUTES)
        address = decode.link_address(message.body, self._names)
        if address is None or address in self._addresses:
            return False  # duplicate address detection and lifetimes repeat an address
        self._addresses.add(address)
        return True

    # Neighbours, forwarding entries, next hops -----------------------------------------------------------------

    def _entry(self, message: Message) -> bool:
        family, index, _, _, _ = encode.NDMSG.unpack_from(message.body)
        part = Part.FDB if family == encode.AF_BRIDGE else Part.NEIGHBOURS
        if part in self._stale:
            return True
        if index not in self._names:
            return self._mark_stale(Part.LINKS, part)
        if part is Part.FDB:
            return self._forwarding_entry(message)
        key, thing = decode.neighbour_key(message.body, self._names), decode.neighbour(message.body, self._names)
        return key is not None and self._put(part, key, None if message.type == encode.RTM_DELNEIGH else thing)

    def _forwarding_entry(self, message: Message) -> bool:
        key, thing = decode.fdb_key(message.body, self._names), decode.fdb_entry(message.body, self._names)
        if key is None:
            return False
        if decode.has_many_remotes(key[1]):
            return self._mark_stale(Part.FDB)  # their state is shared, and one message stands for all
        return self._put(Part.FDB, key, None if message.type == encode.RTM_DELNEIGH else thing)

    def _next_hop(self, message: Message) -> bool:
        if Part.NEXT_HOPS in self._stale:
            return True
        number, index = decode.next_hop_id(message.body)
        if index and index not in self._names:
            return self._mark_stale(Part.LINKS, Part.NEXT_HOPS)
        if message.type == encode.RTM_DELNEXTHOP:
            if self._is_named(number):
                return self._mark_stale(Part.NEXT_HOPS, Part.ROUTES)
            return self._put(Part.NEXT_HOPS, number, None)
        hop = decode.next_hop(message.body, self._names) or decode.group(message.body, self._names)
        return self._put(Part.NEXT_HOPS, number, hop)

    def _is_named(self, number: int) -> bool:
        """True if a route names the next hop, or a group has it."""
        if self._named is None:
            self._named = Counter(route.next_hop for route in self._routes.built())
        groups = (thing for thing in self._table(Part.NEXT_HOPS).values() if isinstance(thing, NextHopGroup))
        return self._named[number] > 0 or any(number in group.members for group in groups)

    def _put(self, part: Part, key: object, thing: object) -> bool:
        """Have this thing under the key, or nothing; True if that is news."""
        if _index(part, self._start.dataplane).get(key) == thing and part not in self._by_key:
            return False
        table = self._table(part)
        if table.get(key) == thing:
            return False
        if thing is None:
            del table[key]
        else:
            table[key] = thing
        return True

    def _table(self, part: Part) -> dict[Any, Any]:
        if part not in self._by_key:
            self._by_key[part] = dict(_index(part, self._start.dataplane))
        return self._by_key[part]

    # Routes ----------------------------------------------------------------------------------------------------

    def _route(self, message: Message) -> bool:
        if Part.ROUTES in self._stale:
            return True
        self._most_routes -= 1
        if self._most_routes < 0:
            return self._mark_stale(Part.ROUTES)
        route = decode.route(message.body, self._names)
        key = key_of_route(route) if route else decode.route_key(message.body)
        if key is None:
            return False
        if self._start.emulated:
            return self._mark_stale(Part.ROUTES)
        if key in self._ambiguous:
            return self._mark_stale(Part.ROUTES)
        same = self._routes.with_key(key)
        if message.type == encode.RTM_DELROUTE:
            return self._route_gone(key, route, same)
        if key[1].version == 6 and decode.has_several_ways(message.body):
            if same:
                return self._mark_stale(Part.ROUTES)  # the first way of all stands for them, and this need not be its
            self._ambiguous.add(key)
        return self._route_put(key, route, same, replaces=bool(message.flags & NLM_F_REPLACE))

    def _route_gone(self, key: RouteKey, route: Route | None, same: list[Route]) -> bool:
        if not same:
            return False
        if route not in same:
            return self._mark_stale(Part.ROUTES)
        return self._route_change(key, [other for other in same if other != route])

    def _route_put(self, key: RouteKey, route: Route | None, same: list[Route], *, replaces: bool) -> bool:
        if route is None:
            return bool(same) and self._mark_stale(Part.ROUTES)  # replaced by one that is not shown
        if replaces:
            if len(same) > 1:
                return self._mark_stale(Part.ROUTES)
            return same != [route] and self._route_change(key, [route])
        if route in same:
            self._ambiguous.add(key)  # a second one that is alike, or the same notification again
            return False
        return self._route_change(key, [*same, route])

    def _route_change(self, key: RouteKey, routes: list[Route]) -> bool:
        if self._named is not None:
            self._named.subtract(route.next_hop for route in self._routes.with_key(key))
            self._named.update(route.next_hop for route in routes)
        self._routes.change(key, routes)
        return True


class _RouteChanges:
    """Routes in the making, by key, over a set of them. A shard of it is indexed when it is asked a second time."""

    def __init__(self, start: RouteSet) -> None:
        self._start = start
        self._changed: dict[RouteKey, list[Route]] = {}
        self._before: dict[RouteKey, list[Route]] = {}
        self._shards: dict[ShardKey, dict[Prefix, list[Route]] | None] = {}

    def with_key(self, key: RouteKey) -> list[Route]:
        return self._changed[key] if key in self._changed else self._at_start(key)

    def _at_start(self, key: RouteKey) -> list[Route]:
        if key not in self._before:
            table, prefix, metric = key
            same = self._near(prefix)
            self._before[key] = [
                route for route in same if route.prefix == prefix and (route.table, route.metric) == (table, metric)
            ]
        return self._before[key]

    def _near(self, prefix: Prefix) -> Iterable[Route]:
        """Some routes, among them all to this prefix."""
        at = shard_of(prefix)
        if at not in self._shards:
            self._shards[at] = None
            return self._start.at(prefix)
        indexed = self._shards[at]
        if indexed is None:
            indexed = self._shards[at] = {}
            for route in self._start.at(prefix):
                indexed.setdefault(route.prefix, []).append(route)
        return indexed.get(prefix, ())

    def change(self, key: RouteKey, routes: list[Route]) -> None:
        self._changed[key] = routes

    def built(self) -> RouteSet:
        """The set; the one at the start if nothing differs."""
        if not self._changed:
            return self._start
        gone = [route for key in self._changed for route in self._at_start(key)]
        return self._start.changed(new=[route for routes in self._changed.values() for route in routes], gone=gone)


def _takes_along(before: LinkFacts, now: LinkFacts) -> bool:
    """True if something on the link may have gone with what changed of it, or has another name now."""
    lost = (before.up and not now.up) or (before.running and not now.running)
    loses_ipv6 = now.mtu_bytes < _IPV6_MIN_MTU_BYTES <= before.mtu_bytes
    return lost or loses_ipv6 or (before.name, before.mac) != (now.name, now.mac)


def _index(part: Part, dataplane: Dataplane) -> Mapping[Any, Any]:
    match part:
        case Part.FDB:
            return _fdb_by_key(dataplane.fdb)
        case Part.NEIGHBOURS:
            return _neighbours_by_key(dataplane.neighbours)
        case _:
            return _next_hops_by_id(dataplane.next_hops, dataplane.groups)


@lru_cache(maxsize=2)
def _fdb_by_key(entries: Iterable[FdbEntry]) -> Mapping[Any, FdbEntry]:
    return {entry if decode.has_many_remotes(entry.mac) else (entry.link, entry.mac): entry for entry in entries}


@lru_cache(maxsize=2)
def _neighbours_by_key(neighbours: Iterable[Neighbour]) -> Mapping[Any, Neighbour]:
    return {(item.link, item.address): item for item in neighbours}


@lru_cache(maxsize=2)
def _next_hops_by_id(hops: Iterable[NextHop], groups: Iterable[NextHopGroup]) -> Mapping[int, NextHop | NextHopGroup]:
    return {**{hop.id: hop for hop in hops}, **{group.id: group for group in groups}}


def _tables(part: Part, table: Mapping[Any, Any]) -> Mapping[str, frozenset[Any]]:
    match part:
        case Part.FDB:
            return {"fdb": frozenset(table.values())}
        case Part.NEIGHBOURS:
            return {"neighbours": frozenset(table.values())}
        case _:
            hops = frozenset(item for item in table.values() if isinstance(item, NextHop))
            return {"next_hops": hops, "groups": frozenset(table.values()) - hops}
