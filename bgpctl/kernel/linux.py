"""
The Kernel door on the running kernel, for the network namespace in which it was opened.

Refuses to know: why an operation is wanted, how an encapsulation is done (protocol.py).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, assert_never

from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op, Put, Remove
from bgpctl.core.fabric.encapsulations import behind, named
from bgpctl.core.net.addresses import (
    LINK_LOCAL,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    PROTOCOL,
    Decap,
    FdbEntry,
    KernelObject,
    Link,
    LinkAddress,
    LinkKind,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    Rule,
    Sysctl,
)
from bgpctl.core.net.route_set import RouteSet
from bgpctl.kernel import decode, encode, masquerade, rules, sysctl
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS, link
from bgpctl.kernel.encode import Batched
from bgpctl.kernel.hints import hint
from bgpctl.kernel.links import Links, list_links
from bgpctl.kernel.mirror import EVERYTHING, Mirror, Part, RouteKey, key_of_route, unseen
from bgpctl.kernel.netlink import Netlink, Request, Unanswered
from bgpctl.kernel.nexthop_emulation import NextHopEmulation
from bgpctl.kernel.protocol import AUTO, Devices
from bgpctl.kernel.scene import Scene
from bgpctl.kernel.watch import Watch
from bgpctl.ports import Kernel, Unavailable

T = TypeVar("T")

_ABSENT: Final = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL})
_TRIES: Final = 3
"""So often something is dumped in which another program changes things meanwhile."""
_WATCHED_SYSCTLS: Final = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_WATCHED_LINK_SYSCTLS: Final = ("forwarding", "rp_filter")


class LinuxKernel(Kernel):
    """
    The dataplane of the network namespace that the calling thread is in.

    Sockets stay in that namespace; sysctls and the programs of drivers belong to the calling thread's, so call
    from threads that never leave it.

    Args:
        drivers: by the name of an encapsulation, which of its drivers is to do it; AUTO where nothing is said.
        next_hop_objects: whether routes name next-hop objects, where the kernel has these.
        memory: the file in which sysctls are remembered as they were before we changed them.
        protocol: the number that marks our routes and next hops in the kernel.

    Raises:
        Unavailable: netlink cannot be opened.
    """

    def __init__(
        self,
        drivers: Mapping[str, str] | None = None,
        *,
        next_hop_objects: bool = True,
        memory: Path | None = None,
        protocol: int = PROTOCOL,
    ) -> None:
        self._said = None if protocol == PROTOCOL else encode.exchanging(protocol)
        self._netlink = Netlink(self._said)
        self.has_next_hop_objects = self._knows_next_hop_objects()
        self._gateways = None if next_hop_objects and self.has_next_hop_objects else NextHopEmulation()
        self._links = Links()
        self._devices = self._opened(drivers or {})
        self._watch: Watch | None = None
        self._masquerading = set(encode.FAMILY)
        self._last_routes = _RouteDump({}, {}, RouteSet(), frozenset())
        self._named_sysctls: frozenset[str] = frozenset(_WATCHED_SYSCTLS)
        self._sysctls_before = sysctl.Memory(memory)

    def close(self) -> None:
        self._unwatch()
        for devices in self._devices.values():
            devices.close()
        self._links.close()
        self._netlink.close()

    def watch(self, changed: Callable[[], None]) -> None:
        self._unwatch()
        watch = Watch(changed, self._own_ports, self._nothing_known(), self._said)
        self._watch = watch
        with watch.looking():
            # A notification that shows a link as it is already is no news.
            watch.mirror = replace(watch.mirror, links={facts.number: facts for facts in list_links(self._netlink)})

    def _opened(self, drivers: Mapping[str, str]) -> Mapping[str, Devices]:
        """By the name of the encapsulation."""
        every = {
            name: item.devices(self._netlink, self._links, drivers.get(name, AUTO))
            for name, item in IMPLEMENTATIONS.items()
        }
        return {name: devices for name, devices in every.items() if devices}

    def _knows_next_hop_objects(self) -> bool:
        try:
            self._next_hop_objects()
        except Unanswered:
            return False  # before Linux 5.3
        return True

    def _unwatch(self) -> None:
        if self._watch:
            self._watch.close()
        self._watch = None

    def _own_ports(self) -> frozenset[int]:
        drivers = (devices.port_ids() for devices in self._devices.values())
        return frozenset({self._netlink.port_id, self._links.port_id}).union(*drivers)

    def changed_sysctls(self) -> tuple[Sysctl, ...]:
        return self._sysctls_before.changed()

    # Looking ---------------------------------------------------------------------------------------------------

    def observe(self) -> Dataplane:
        if self._watch is None:
            return self._with_sysctls(self._dumped(self._nothing_known())).dataplane
        with self._watch.looking():
            self._look(self._watch)
            self._watch.mirror = self._with_sysctls(self._watch.mirror)
            return self._watch.mirror.dataplane

    def sweep(self) -> Mismatch | None:
        if self._watch is None:
            return None
        with self._watch.looking():
            for _ in range(_TRIES):
                self._look(self._watch)
                mirrored, heard = self._watch.mirror, self._watch.heard
                self._watch.mirror = self._dumped(mirrored.doubted(EVERYTHING))
                self._watch.hear()
                if self._watch.heard == heard:
                    return _mismatch(mirrored.dataplane, self._watch.mirror.dataplane)
        return None

    def _look(self, watch: Watch) -> None:
        """Bring the mirror up to date. What is told while something is dumped is heard after it."""
        watch.hear()
        for _ in range(_TRIES):
            if not watch.mirror.stale:
                return
            watch.mirror = self._dumped(watch.mirror)
            watch.hear()
        watch.ring()  # a namespace that never rests: the rest at the next look

    def _nothing_known(self) -> Mirror:
        return Mirror(pretended=self._gateways is not None)

    def _dumped(self, mirror: Mirror) -> Mirror:
        """The mirror with nothing stale any more."""
        stale = _with_pretended(mirror)
        links = mirror.links
        found: dict[str, AbstractSet[Any]] = {}
        if Part.LINKS in stale:
            seen = list_links(self._netlink)
            links = {facts.number: facts for facts in seen}
            found["links"] = frozenset(self._shown(seen).values())
        names = {number: facts.name for number, facts in links.items()}
        several = mirror.several
        now = found.get("links", mirror.dataplane.links)
        if Part.ADDRESSES in stale:
            dumped = self._netlink.dump(encode.RTM_GETADDR, encode.IFADDRMSG.pack(0, 0, 0, 0, 0))
            found["addresses"] = _read(dumped, names, decode.link_address)
        if Part.DECAPS in stale:
            found["decaps"] = self._decaps(now)
        if Part.MASQUERADES in stale:
            found["masquerades"] = self._masquerades()
        if Part.FDB in stale:
            dumped = self._netlink.dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(encode.AF_BRIDGE, 0, 0, 0, 0))
            found["fdb"] = _read(dumped, names, decode.fdb_entry)
        if Part.NEIGHBOURS in stale:
            dumped = self._netlink.dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(0, 0, 0, 0, 0))
            found["neighbours"] = _read(dumped, names, decode.neighbour)
        if Part.NEXT_HOPS in stale:
            found["next_hops"], found["groups"] = self._next_hops(names, now)
        if Part.ROUTES in stale:
            found["routes"], several = self._routes(names)
        if Part.RULES in stale:
            found["rules"] = self._rules()
        return Mirror(_with(mirror.dataplane, found), links, several, frozenset(), mirror.pretended)

    def _with_sysctls(self, mirror: Mirror) -> Mirror:
        """They are files, which tell nobody: read at each look."""
        dataplane = mirror.dataplane
        sysctls = frozenset(self._sysctls(dataplane.links, dataplane.addresses))
        return replace(mirror, dataplane=_with(dataplane, {"sysctls": sysctls}))

    def _next_hops(
        self, names: Mapping[int, str], links: Iterable[Link]
    ) -> tuple[frozenset[NextHop], frozenset[NextHopGroup]]:
        objects = self._next_hop_objects() if self.has_next_hop_objects else ()
        next_hops, groups = _read(objects, names, decode.next_hop), _read(objects, names, decode.group)
        if self._gateways:
            self._gateways.settle({link.name: link for link in links})
            next_hops = self._gateways.next_hops() | {hop for hop in next_hops if hop.protocol != PROTOCOL}
            groups = self._gateways.groups() | {group for group in groups if group.protocol != PROTOCOL}
        return next_hops, groups

    def _next_hop_objects(self) -> tuple[bytes, ...]:
        return self._netlink.dump(encode.RTM_GETNEXTHOP, encode.NHMSG.pack(0, 0, 0, 0))

    def _routes(self, names: Mapping[int, str]) -> tuple[RouteSet, frozenset[RouteKey]]:
        """All routes, and the keys of those that more than one message may be about (Mirror.several)."""
        dumped = list(self._dump_routes())
        if self._gateways:
            return RouteSet.of(self._gateways.routes(dumped, names)), frozenset()
        # An equal message says an equal route: of 100,000, hardly any differs from the last dump.
        last = self._last_routes if self._last_routes.names == names else _RouteDump({}, {}, RouteSet(), frozenset())
        new = {body: decode.route(body, names) for body in dumped if body not in last.decoded}
        if new or len(dumped) != len(last.decoded):
            last = _renewed(last, names, dumped, new)
        self._last_routes = last
        return last.routes, last.several

    def _rules(self) -> frozenset[Rule]:
        try:
            # One dump of all families: a kernel without IPv6 refuses that one alone.
            dumped = self._netlink.dump(encode.RTM_GETRULE, encode.RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))
        except Unanswered:
            return frozenset()  # without CONFIG_IP_MULTIPLE_TABLES
        return frozenset(rules.rules(dumped))

    def _dump_routes(self) -> Iterator[bytes]:
        # One family at a time: AF_UNSPEC would add MPLS labels and multicast forwarding entries.
        for family in encode.FAMILY.values():
            yield from self._netlink.dump(encode.RTM_GETROUTE, encode.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))

    def _scene(self) -> Scene:
        seen = list_links(self._netlink)
        return Scene({facts.name: facts.number for facts in seen}, self._shown(seen))

    def _shown(self, seen: Iterable[LinkFacts]) -> dict[str, Link]:
        names = {facts.number: facts.name for facts in seen}
        return {facts.name: self._recognised(link(facts, names)) for facts in seen}

    def _recognised(self, found: Link) -> Link:
        for devices in self._devices.values():
            found = devices.recognised(found)
        return found

    def _decaps(self, links: Collection[Link]) -> frozenset[Decap]:
        return frozenset(decap for devices in self._devices.values() for decap in devices.decaps(links))

    def _masquerades(self) -> frozenset[Masquerade]:
        # Listing a table takes a process: done at the first look, and for as long as there is something to see.
        try:
            found = [masquerade.observe(version) for version in sorted(self._masquerading)]
        except OSError as error:
            raise Unavailable(f"what is rewritten cannot be seen: {error}") from error
        seen = frozenset(item for item in found if item)
        self._masquerading = {item.version for item in seen}
        return seen

    def _sysctls(self, links: Iterable[Link], addresses: Iterable[LinkAddress]) -> Iterator[Sysctl]:
        ours = {link.name for link in links if link.owned}
        per_link = {f"net/ipv4/conf/{name}/{key}" for name in ours for key in _WATCHED_LINK_SYSCTLS}
        theirs = {item.link for item in addresses if _is_global6(item)} - ours
        heeding = {f"net/ipv6/conf/{name}/accept_ra" for name in theirs}
        found = map(sysctl.read, self._named_sysctls | per_link | heeding)
        return (value for value in found if value)

    def _making(self, kind: LinkKind) -> Devices:
        """Raises OSError EOPNOTSUPP: no encapsulation has such links."""
        behaviour = behind(kind)
        if behaviour is None:
            raise OSError(errno.EOPNOTSUPP, "bgpctl makes devices of encapsulations only")
        return self._devices[behaviour.encapsulation.name]

    def _letting_in(self, decap: Decap) -> Devices:
        """Raises OSError EOPNOTSUPP: no encapsulation has a device of that name."""
        behaviour = named(decap.link)
        if behaviour is None:
            raise OSError(errno.EOPNOTSUPP, f"{decap.link} is no device of an encapsulation")
        return self._devices[behaviour.encapsulation.name]

    # Doing -----------------------------------------------------------------------------------------------------

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        failures: list[Failure] = []
        with self._acting():
            scene = self._scene()
            for kind, group in groupby(ops, key=lambda op: type(op.thing)):
                if issubclass(kind, Batched):
                    failures += self._batch(list(group), scene)
                    continue
                for op in group:
                    failures += self._single(op, scene)
                    scene = self._scene() if kind is Link else scene
                if kind is Link and self._gateways:
                    self._gateways.settle(scene.links)
            if self._gateways and self.has_next_hop_objects:
                self._retire()
        if self._watch:
            with self._watch.looking():
                self._watch.mirror = unseen(self._watch.mirror, ops, failures)
        return tuple(failures)

    def _acting(self) -> AbstractContextManager[None]:
        return self._watch.acting() if self._watch else nullcontext()

    def _batch(self, ops: Sequence[Op], scene: Scene) -> Iterator[Failure]:
        sent: list[tuple[Op, Request]] = []
        for op in ops:
            try:
                if self._gateways is None:
                    sent.append((op, _request(op, scene)))
                else:
                    sent += [(op, request) for request in self._requests(self._gateways, op, scene)]
            except OSError as error:
                yield from _failures(op, error)
        told: set[Op] = set()
        for refusal in self._netlink.request([request for _, request in sent]):
            op, _ = sent[refusal.place]
            if op not in told and not _was_absent(op, refusal.errno):
                told.add(op)
                yield _failure(op, refusal.errno, refusal.text)

    @staticmethod
    def _requests(gateways: NextHopEmulation, op: Op, scene: Scene) -> Iterable[Request]:
        thing = op.thing
        if not isinstance(thing, NextHop | NextHopGroup | Route):
            return (_request(op, scene),)
        if isinstance(op, Put):
            return gateways.put(thing, scene.links, scene.indexes)
        return gateways.remove(thing, scene.indexes)

    def _retire(self) -> None:
        """Remove next-hop objects of ours, from another time, that no route names any more."""
        objects = self._next_hop_objects()
        ours = _read(objects, {}, decode.owned_next_hop)
        if not ours:
            return
        groups = {group.id: group.members for group in _read(objects, {}, decode.group)}
        named = {route.next_hop for route in _read(self._dump_routes(), {}, decode.route)}
        used = named.union(*(groups.get(number, ()) for number in named))
        unused = [NextHop(number, "", None, onlink=False) for number in sorted(ours - used, reverse=True)]
        self._netlink.request([encode.remove(hop, 0) for hop in unused])

    def _single(self, op: Op, scene: Scene) -> Iterator[Failure]:
        try:
            if isinstance(op, Put):
                self._put(op.thing, scene)
            else:
                self._remove(op.thing, scene)
        except OSError as error:
            yield from _failures(op, error)

    def _put(self, thing: KernelObject, scene: Scene) -> None:
        match thing:
            case Link():
                self._making(thing.kind).put(thing, scene)
            case LinkAddress():
                self._put_address(thing, scene)
            case Decap():
                self._letting_in(thing).put_decap(thing)
            case Masquerade():
                masquerade.put(thing)
                self._masquerading.add(thing.version)
            case Sysctl():
                self._named_sysctls |= {thing.name}
                self._sysctls_before.write(thing)
            case FdbEntry() | Neighbour() | NextHop() | NextHopGroup() | Route():
                raise AssertionError(f"{thing} goes by batch")
            case _:
                assert_never(thing)

    def _remove(self, thing: KernelObject, scene: Scene) -> None:
        match thing:
            case Link(kind=Plain()):
                self._links.remove(scene.index(thing.name))
            case Link():
                self._making(thing.kind).remove(thing.name, scene)
            case LinkAddress():
                self._links.remove_address(scene.index(thing.link), thing.address)
            case Decap():
                self._letting_in(thing).remove_decap(thing.link, scene)
            case Masquerade():
                masquerade.remove(thing.version)
            case Sysctl():
                self._named_sysctls -= {thing.name}  # a value cannot be absent; it can be the one before ours
                self._sysctls_before.restore(thing.name)
            case FdbEntry() | Neighbour() | NextHop() | NextHopGroup() | Route():
                raise AssertionError(f"{thing} goes by batch")
            case _:
                assert_never(thing)

    def _put_address(self, wanted: LinkAddress, scene: Scene) -> None:
        with suppress(FileExistsError):
            self._links.add_address(scene.index(wanted.link), wanted.address)


def _with_pretended(mirror: Mirror) -> frozenset[Part]:
    """The stale parts; next hops that are pretended go with their links, and their routes are told by them."""
    if mirror.pretended and not mirror.stale.isdisjoint({Part.LINKS, Part.NEXT_HOPS, Part.ROUTES}):
        return mirror.stale | {Part.NEXT_HOPS, Part.ROUTES}
    return mirror.stale


def _with(dataplane: Dataplane, found: Mapping[str, AbstractSet[Any]]) -> Dataplane:
    """With these tables; what is equal stays the same object."""
    new: dict[str, Any] = {name: table for name, table in found.items() if table != getattr(dataplane, name)}
    if "routes" in new:
        new["routes"] = new["routes"].sharing(dataplane.route_set)
    return replace(dataplane, **new) if new else dataplane


def _mismatch(mirrored: Dataplane, dumped: Dataplane) -> Mismatch | None:
    if mirrored is dumped:
        return None
    return Mismatch(mirrored.minus_all(dumped), dumped.minus_all(mirrored))


class _RouteDump(NamedTuple):
    """A dump of routes: what each message says, in the light of the names of links, and the routes in it."""

    names: Mapping[int, str]
    decoded: Mapping[bytes, Route | None]
    routes: RouteSet
    several: frozenset[RouteKey]


def _renewed(
    last: _RouteDump, names: Mapping[int, str], dumped: Iterable[bytes], new: Mapping[bytes, Route | None]
) -> _RouteDump:
    """The dump that consists of `dumped`; `new` says what those messages say that were not in the last one."""
    known = last.decoded
    now = {body: new[body] if body in new else known[body] for body in dumped}
    gone = known.keys() - now.keys()
    shown = [route for route in now.values() if route]
    routes = last.routes.changed(
        new=filter(None, new.values()), gone=[route for body in gone if (route := known[body])]
    )
    alike: Iterable[RouteKey] = ()
    if len(routes) != len(shown):  # the kernel tells some apart, and we do not
        routes = RouteSet.of(shown).sharing(routes)
        alike = (key_of_route(route) for route, number in Counter(shown).items() if number > 1)
    ways = {key_of_route(route) for body, route in new.items() if route and _has_several_ways(body)}
    return _RouteDump(names, now, routes, frozenset({*last.several, *ways, *alike}))


def _has_several_ways(body: bytes) -> bool:
    return decode.is_ipv6(body) and decode.has_several_ways(body)


def _read(
    dumped: Iterable[bytes], names: Mapping[int, str], decoded: Callable[[bytes, Mapping[int, str]], T | None]
) -> frozenset[T]:
    return frozenset(thing for body in dumped if (thing := decoded(body, names)) is not None)


def _request(op: Op, scene: Scene) -> Request:
    """Raises OSError where the kernel need not be asked: no such link, or one where the object means another thing."""
    thing = op.thing
    if isinstance(thing, Route):  # first, because there are most of them
        return encode.remove(thing, 0) if isinstance(op, Remove) else encode.put(thing, scene.index_or_0(thing.link))
    if not isinstance(thing, Batched):
        raise TypeError(thing)
    if isinstance(thing, FdbEntry) and scene.kind(thing.link).entries_version() is None:
        # Any other device would take the MAC for one of its own to receive.
        code = errno.EOPNOTSUPP if isinstance(op, Put) else errno.ENOENT
        raise OSError(code, f"{thing.link} takes no forwarding entries")
    if isinstance(op, Remove):
        # A next-hop object is removed by number, as a route is by its key: no link is needed for either.
        return encode.remove(thing, scene.index(thing.link) if isinstance(thing, FdbEntry | Neighbour) else 0)
    return encode.put(thing, scene.index_or_0(None if isinstance(thing, NextHopGroup) else thing.link))


def _is_global6(item: LinkAddress) -> bool:
    address = item.address.address
    return address.version == 6 and not LINK_LOCAL.holds(address) and item.link != "lo"


def _failures(op: Op, error: OSError) -> Iterator[Failure]:
    code = error.errno or errno.EIO
    if not _was_absent(op, code):
        yield _failure(op, code, error.strerror or str(error))


def _was_absent(op: Op, code: int) -> bool:
    return isinstance(op, Remove) and code in _ABSENT


def _failure(op: Op, code: int, text: str = "") -> Failure:
    return Failure(op, code, text, hint(op.thing, code))
