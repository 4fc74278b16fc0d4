"""
The dataplane of one network namespace as a value: what is in a kernel (everyone's objects), or what should be (ours).

A dataplane is a table per kind of object. The tables stand in the order in which objects are added: a link comes
before its addresses, these before the forwarding and neighbour entries, those before next hops, and routes come last.
A link or next hop is then there before the objects that use it, and removal is in reverse order: make before break.
This order is the plan's, so it is written here once and nowhere else.

The kernel distinguishes two objects of one kind by a key (`key_of`), and a put replaces what has the key. A table is a
set all the same, because an observation may have several objects with one key: `ip route append` adds a second IPv4
route with equal table, prefix and metric. `put` and `drop` go by key, as the kernel does; `minus` goes by value.

An agent compares 100,000 routes several times a second. As sets that takes a sixth of what it takes key by key (60 and
400 ms of CPU for equal routes that share nothing, 13 ms where they share their prefixes). So the comparisons are
methods here, and a user of a dataplane never accesses its tables by name. Callers read the
tables, as iterables and with `in`, and make other dataplanes with `of`, `put`, `drop`, `minus`, `on_links` and
`owned`. Routes, of which there are many, are a set in shards (route_set.py): versions of a dataplane share the shards
that did not change, and a comparison skips what both share. All other tables are frozensets.

`DataplaneBuilder` is for many changes in a row: it finds objects by key and copies each table once, of the routes only
the shards that change.

Rules are observed and never planned: they are in no operation, hence neither in the iteration nor in the size.

Refuses to know: what an operation does to objects other than the one it names (core/dataplane/effects.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, is_
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from bgpctl.core.net.objects import (
    PROTOCOL,
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Key,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    Rule,
    Sysctl,
    WorkloadFilter,
    key_of,
    link_of_sysctl,
)
from bgpctl.core.net.replacing import replace
from bgpctl.core.net.route_set import Difference, RouteSet, difference
from bgpctl.core.net.table import ShardKey, shard_of

T = TypeVar("T", bound=KernelObject)
R = TypeVar("R")

_FIELDS: Final[Mapping[type, str]] = {
    Link: "links",
    Sysctl: "sysctls",
    LinkAddress: "addresses",
    InnerFilter: "inner_filters",
    WorkloadFilter: "workload_filters",
    Decap: "decaps",
    Masquerade: "masquerades",
    FdbEntry: "fdb",
    Neighbour: "neighbours",
    NextHop: "next_hops",
    NextHopGroup: "groups",
    Route: "routes",
}
"""The table of each kind of object, in the order of addition."""
_TABLES: Final[Callable[[Any], tuple[AbstractSet[KernelObject], ...]]] = attrgetter(*_FIELDS.values())
_ALL_TABLES: Final[Callable[[Any], tuple[AbstractSet[Any], ...]]] = attrgetter(*_FIELDS.values(), "rules")


@dataclass(frozen=True, slots=True)
class Dataplane:
    """Kernel objects of one network namespace, a table per kind; `rules` are never ours."""

    links: AbstractSet[Link] = frozenset()
    sysctls: AbstractSet[Sysctl] = frozenset()
    addresses: AbstractSet[LinkAddress] = frozenset()
    inner_filters: AbstractSet[InnerFilter] = frozenset()
    workload_filters: AbstractSet[WorkloadFilter] = frozenset()
    decaps: AbstractSet[Decap] = frozenset()
    masquerades: AbstractSet[Masquerade] = frozenset()
    fdb: AbstractSet[FdbEntry] = frozenset()
    neighbours: AbstractSet[Neighbour] = frozenset()
    next_hops: AbstractSet[NextHop] = frozenset()
    groups: AbstractSet[NextHopGroup] = frozenset()
    routes: AbstractSet[Route] = RouteSet()
    rules: AbstractSet[Rule] = frozenset()

    def __post_init__(self) -> None:
        if type(self.routes) is not RouteSet:
            object.__setattr__(self, "routes", RouteSet.of(self.routes))

    @property
    def route_set(self) -> RouteSet:
        """The routes in their shards."""
        return self.routes  # type: ignore[return-value] # __post_init__ sees to it; a call of cast would cost more

    @classmethod
    def of(cls, objects: Iterable[KernelObject], rules: Iterable[Rule] = ()) -> Dataplane:
        """The dataplane with these objects; equal ones count once."""
        tables: dict[type, set[KernelObject]] = {kind: set() for kind in _FIELDS}
        for obj in objects:
            tables[type(obj)].add(obj)
        found = {_FIELDS[kind]: frozenset(table) for kind, table in tables.items() if table}
        return cls(**found, rules=frozenset(rules))  # type: ignore[arg-type]

    def tables(self) -> tuple[AbstractSet[KernelObject], ...]:
        """The tables in the order of addition."""
        return _TABLES(self)

    def __iter__(self) -> Iterator[KernelObject]:
        """All objects but the rules, in the order of addition."""
        return chain.from_iterable(self.tables())

    def __contains__(self, obj: KernelObject) -> bool:
        return obj in getattr(self, _FIELDS[type(obj)])

    @property
    def size(self) -> int:
        """The number of objects, without the rules."""
        return sum(map(len, self.tables()))

    def unshared_size(self, other: Dataplane) -> int:
        """The number of objects in tables, and in shards of routes, that are not the very same ones in `other`."""
        shards = self.route_set.shards
        routes = sum(len(shards.get(key, ())) for key in self.route_set.touched_since(other.route_set))
        pairs = zip(self.tables(), other.tables(), strict=True)
        return routes + sum(len(mine) for mine, theirs in pairs if mine is not theirs and mine is not self.routes)

    def link(self, name: str) -> Link | None:
        """The link with this name."""
        return next((link for link in self.links if link.name == name), None)

    def put(self, objects: Iterable[KernelObject]) -> Dataplane:
        """With these objects, each in place of whatever has its key; of two with one key the last counts."""
        builder = DataplaneBuilder(self)
        for obj in objects:
            builder.put(obj)
        return builder.built()

    def drop(self, objects: Iterable[KernelObject]) -> Dataplane:
        """Without the objects that have the keys of these."""
        builder = DataplaneBuilder(self)
        builder.drop(objects)
        return builder.built()

    def minus(self, other: Dataplane) -> Dataplane:
        """The objects that `other` does not have exactly so."""
        return Dataplane(**{name: getattr(self, name) - getattr(other, name) for name in _FIELDS.values()})

    def compared(self, other: Dataplane, before: Comparison | None = None) -> Comparison:
        """
        The differences from `other`. Tables, and of routes shards, that both have in common with the comparison
        `before` are not compared again.
        """
        routes = difference(self.route_set, other.route_set, before.routes if before else None)
        missing: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, mine, theirs in zip(_FIELDS.values(), self.tables(), other.tables(), strict=True):
            if mine is theirs or mine is self.routes:
                continue
            if before and mine is getattr(before.mine, name) and theirs is getattr(before.theirs, name):
                missing[name], extra[name] = getattr(before.missing, name), getattr(before.extra, name)
            else:
                missing[name] = more = mine - theirs
                # What both have in common is known then.
                extra[name] = theirs - mine if len(theirs) > len(mine) - len(more) else frozenset()
        return Comparison(
            Dataplane(**missing, routes=routes.only_mine),
            Dataplane(**extra, routes=routes.only_theirs),
            routes,
            self,
            other,
        )

    def sharing(self, before: Dataplane) -> Dataplane:
        """An equal dataplane with as many tables and shards of `before` as are equal; `before` itself if all are."""
        routes = self.route_set.sharing(before.route_set)
        shared = [
            routes if mine is self.routes else theirs if mine is theirs or mine == theirs else mine
            for mine, theirs in zip(_ALL_TABLES(self), _ALL_TABLES(before), strict=True)
        ]
        return before if all(map(is_, shared, _ALL_TABLES(before))) else Dataplane(*shared)  # type: ignore[arg-type]

    def minus_all(self, other: Dataplane) -> Dataplane:
        """The objects and the rules that `other` does not have exactly so; tables of which nothing goes are shared."""
        pairs = zip(self._all_tables(), other._all_tables(), strict=True)
        return Dataplane(*(mine - theirs if theirs else mine for mine, theirs in pairs))  # type: ignore[arg-type]

    def plus_all(self, other: Dataplane) -> Dataplane:
        """These objects and rules and those of `other`, by value; tables to which nothing comes are shared."""
        pairs = zip(self._all_tables(), other._all_tables(), strict=True)
        return Dataplane(*(mine | theirs if mine and theirs else mine or theirs for mine, theirs in pairs))  # type: ignore[arg-type]

    def _all_tables(self) -> tuple[AbstractSet[KernelObject | Rule], ...]:
        return _ALL_TABLES(self)

    def without_keys_of(self, other: Dataplane) -> Dataplane:
        """The objects whose key no object of `other` has."""
        found: dict[str, Any] = {
            name: _without_keys(getattr(self, name), getattr(other, name))
            for name in _FIELDS.values()
            if getattr(self, name) and name != "routes"
        }
        return Dataplane(**found, routes=self.route_set.without_keys_of(other.route_set))

    def on_links(self, names: Container[str | None]) -> Dataplane:
        """The links with these names, and what the kernel keeps for each: neither next hops nor routes."""
        return Dataplane(
            links=frozenset(link for link in self.links if link.name in names),
            sysctls=frozenset(sysctl for sysctl in self.sysctls if link_of_sysctl(sysctl.name) in names),
            addresses=frozenset(address for address in self.addresses if address.link in names),
            inner_filters=frozenset(item for item in self.inner_filters if item.link in names),
            decaps=frozenset(decap for decap in self.decaps if decap.link in names),
            fdb=frozenset(entry for entry in self.fdb if entry.link in names),
            neighbours=frozenset(neighbour for neighbour in self.neighbours if neighbour.link in names),
        )

    def owned(self, links: Iterable[Link] | None = None) -> Dataplane:
        """
        The part of an observation that is ours: what we marked, and what stands on a link that we marked.

        Sysctls are in no mark's reach; they are borrowed (docs/decisions/0012). `links` are all that were observed,
        if this is only a part of that.
        """
        names = {link.name for link in (self.links if links is None else links) if link.owned}
        return Dataplane(
            links=frozenset(link for link in self.links if link.owned),
            addresses=frozenset(item for item in self.addresses if item.link in names or item.protocol == PROTOCOL),
            # All are named as ours, and can outlive the link that they belong to.
            inner_filters=self.inner_filters,
            workload_filters=self.workload_filters,
            decaps=self.decaps,
            masquerades=self.masquerades,
            fdb=frozenset(entry for entry in self.fdb if entry.link in names),
            neighbours=frozenset(neighbour for neighbour in self.neighbours if neighbour.link in names),
            next_hops=frozenset(next_hop for next_hop in self.next_hops if next_hop.protocol == PROTOCOL),
            groups=frozenset(group for group in self.groups if group.protocol == PROTOCOL),
            routes=self.route_set.of_protocol(PROTOCOL),
        )


class Comparison(NamedTuple):
    """The objects that only `mine` has exactly so, those that only `theirs` has, and the routes of both."""

    missing: Dataplane
    extra: Dataplane
    routes: Difference
    mine: Dataplane
    theirs: Dataplane


class Surroundings(NamedTuple):
    """An observation, and the part of it that is not ours, with all links and their addresses."""

    observed: Dataplane
    foreign: Dataplane


def surroundings(observed: Dataplane, before: Surroundings | None = None) -> Surroundings:
    """
    All of an observation that may decide about what should be there. What is equal to `before` is the same object, so
    that a change of our own routes is no change of the surroundings.
    """
    now, known, found = observed.route_set, RouteSet(), RouteSet()
    if before:
        known, found = before.observed.route_set, before.foreign.route_set
    routes = {
        key: frozenset([route for route in now.shards.get(key, ()) if route.protocol != PROTOCOL])
        for key in now.touched_since(known)
    }
    foreign = Dataplane(
        links=observed.links,
        sysctls=observed.sysctls,
        addresses=observed.addresses,
        next_hops=_foreign_next_hops(observed.next_hops, before),
        groups=frozenset([group for group in observed.groups if group.protocol != PROTOCOL]),
        routes=found.with_shards(routes),
        rules=observed.rules,
    )
    return Surroundings(observed, foreign.sharing(before.foreign) if before else foreign)


def _foreign_next_hops(now: AbstractSet[NextHop], before: Surroundings | None) -> AbstractSet[NextHop]:
    if before and before.observed.next_hops is now:
        return before.foreign.next_hops
    known = before.observed.next_hops if before else frozenset[NextHop]()
    come = frozenset([hop for hop in now - known if hop.protocol != PROTOCOL])
    return come | (before.foreign.next_hops & now) if before else come


def _without_keys(objects: Iterable[T], others: Iterable[T]) -> frozenset[T]:
    taken = set(map(key_of, others))
    return frozenset(obj for obj in objects if key_of(obj) not in taken)


_Home: TypeAlias = tuple[type, ShardKey | None]
"""Where an object is indexed: its kind, and the shard of a route."""


def _home(obj: KernelObject) -> _Home:
    kind = type(obj)
    return kind, shard_of(obj.prefix) if isinstance(obj, Route) else None


class DataplaneBuilder:
    """
    A dataplane in the making. A table, or of the routes a shard, is indexed by key when it is first changed or searched
    by key, and made into a value once, at the end; what nothing changed is taken over as it is.
    """

    def __init__(self, start: Dataplane) -> None:
        self._start = start
        # Several objects of an observation may have one key, so each key has a tuple.
        self._indexes: dict[_Home, dict[Key, tuple[KernelObject, ...]]] = {}
        self._changed: dict[type, set[_Home]] = {}
        self._derived: dict[type, dict[object, object]] = {}

    def put(self, obj: KernelObject) -> None:
        """Put the object in place of whatever has its key."""
        home = _home(obj)
        self._index(home)[key_of(obj)] = (obj,)
        self._note_change(home)

    def drop(self, objects: Iterable[KernelObject]) -> None:
        """Drop whatever has the keys of these."""
        for obj in objects:
            home = _home(obj)
            if self._index(home).pop(key_of(obj), None):
                self._note_change(home)

    def discard(self, objects: Iterable[KernelObject]) -> None:
        """Drop just these, as far as they are there: others with their keys stay."""
        for obj in objects:
            home = _home(obj)
            index, key = self._index(home), key_of(obj)
            left = tuple(other for other in index.get(key, ()) if other != obj)
            if left == index.get(key, ()):
                continue
            if left:
                index[key] = left
            else:
                del index[key]
            self._note_change(home)

    def link(self, name: str) -> Link | None:
        return self._find(Link, ("link", name))

    def next_hop(self, number: int) -> NextHop | None:
        return self._find(NextHop, ("next-hop", number))

    def group(self, number: int) -> NextHopGroup | None:
        return self._find(NextHopGroup, ("next-hop", number))

    def _find(self, kind: type[T], key: Key) -> T | None:
        found = self._index((kind, None)).get(key)
        return cast(T, found[0]) if found else None

    def all(self, kind: type[T]) -> Collection[T]:
        """All objects of a kind as they are now; later changes do not show in it."""
        if kind not in self._changed:
            return cast(AbstractSet[T], getattr(self._start, _FIELDS[kind]))
        objects = [obj for home in self._changed[kind] for same in self._indexes[home].values() for obj in same]
        if kind is Route:
            shards = self._start.route_set.shards.items()
            objects += [route for key, shard in shards if (kind, key) not in self._changed[kind] for route in shard]
        return cast(list[T], objects)

    def derived(self, kind: type[T], make: Callable[[Iterable[T]], R]) -> R:
        """`make` of all objects of a kind, made once for as long as none of them changes."""
        known = self._derived.setdefault(kind, {})
        if make not in known:
            known[make] = make(self.all(kind))
        return cast(R, known[make])

    def built(self) -> Dataplane:
        if not self._changed:
            return self._start
        tables: dict[str, Any] = {_FIELDS[kind]: frozenset(self.all(kind)) for kind in self._changed if kind != Route}
        if Route in self._changed:
            shards = {shard: self._indexes[kind, shard].values() for kind, shard in self._changed[Route] if shard}
            tables["routes"] = self._start.route_set.with_shards(
                {shard: frozenset(cast(Iterable[Route], chain.from_iterable(same))) for shard, same in shards.items()}
            )
        return replace(self._start, **tables)

    def _index(self, home: _Home) -> dict[Key, tuple[KernelObject, ...]]:
        if home not in self._indexes:
            kind, shard = home
            objects: Iterable[KernelObject] = getattr(self._start, _FIELDS[kind])
            if shard is not None:
                objects = self._start.route_set.shards.get(shard, ())
            index: dict[Key, tuple[KernelObject, ...]] = {}
            for obj in objects:
                key = key_of(obj)
                index[key] = (*index[key], obj) if key in index else (obj,)
            self._indexes[home] = index
        return self._indexes[home]

    def _note_change(self, home: _Home) -> None:
        kind, _ = home
        self._changed.setdefault(kind, set()).add(home)
        self._derived.pop(kind, None)
