"""
Dumps of the kernel: any part of a dataplane as it is now.

Refuses to know: notifications, and when a part is dumped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final, TypeVar

from bgpctl.core.fabric.encapsulations import behind
from bgpctl.core.net.addresses import LINK_LOCAL
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    PROTOCOL,
    Decap,
    InnerFilter,
    Link,
    LinkAddress,
    Masquerade,
    NextHop,
    NextHopGroup,
    Rule,
    Sysctl,
    WorkloadFilter,
)
from bgpctl.core.net.route_set import RouteSet
from bgpctl.kernel import decode, encode, inner_filter, masquerade, nft, rules, sysctl, workload_filter
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.encapsulations import link
from bgpctl.kernel.links import list_links
from bgpctl.kernel.mirror import Mirror, Part
from bgpctl.kernel.netlink import Netlink, Unanswered
from bgpctl.kernel.nexthop_emulation import NextHopEmulation
from bgpctl.kernel.protocol import Devices
from bgpctl.kernel.route_dump import RouteDump
from bgpctl.kernel.scene import Scene
from bgpctl.ports import Unavailable

T = TypeVar("T")

_RP_FILTER: Final = "net/ipv4/conf/{}/rp_filter"
_WATCHED_SYSCTLS: Final = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", _RP_FILTER.format("all"))
_WATCHED_LINK_SYSCTLS: Final = ("net/ipv4/conf/{}/forwarding", _RP_FILTER)
_SWITCHES: Final = ("/ip_forward", "/forwarding", "/rp_filter")
"""The kernel notifies of a change of these (devinet_conf_proc, addrconf_fixup_forwarding): they need no other look."""


def dump_next_hops(netlink: Netlink) -> tuple[bytes, ...]:
    """The bodies of all next-hop objects. Raises Unanswered before Linux 5.3, Unavailable."""
    return netlink.dump(encode.RTM_GETNEXTHOP, encode.NHMSG.pack(0, 0, 0, 0))


def has_next_hop_objects(netlink: Netlink) -> bool:
    """True since Linux 5.3. Raises Unavailable."""
    try:
        dump_next_hops(netlink)
    except Unanswered:
        return False
    return True


class Dumps:
    """
    Dumps of one network namespace.

    Args:
        devices: of each encapsulation.
        emulation: of next-hop objects, where routes do not name those of the kernel.

    Attributes:
        masquerading: the IP versions whose table is looked for.
        workload_filter_may_be_there: its tables are looked for.
        named_sysctls: those that are read beside the ones of links.
    """

    def __init__(
        self,
        netlink: Netlink,
        devices: Collection[Devices],
        emulation: NextHopEmulation | None,
        *,
        next_hop_objects: bool,
    ) -> None:
        self._netlink = netlink
        self._devices = devices
        self._emulation = emulation
        self._has_next_hop_objects = next_hop_objects
        self._last_routes = RouteDump({})
        # Listing a table takes a process: done again only after some program has changed one.
        self._filters: frozenset[InnerFilter] = frozenset()
        self._filters_of: tuple[int | None, frozenset[tuple[int, str]]] | None = None
        self._filters_may_be_left_behind = True
        self._workload_filter = workload_filter.Found(None)
        self._workload_filter_of: int | None = None
        self.workload_filter_may_be_there = True
        self.masquerading = set(encode.FAMILY)
        self.named_sysctls: frozenset[str] = frozenset(_WATCHED_SYSCTLS)
        self._switches: dict[str, Sysctl | None] = {}
        self._names_of: object = None
        self._names: frozenset[str] = frozenset()

    @property
    def last_routes(self) -> RouteSet:
        """The routes of the last dump."""
        return self._last_routes.routes

    def renewed(self, mirror: Mirror) -> Mirror:
        """The mirror with its stale parts dumped; one whose dump was interrupted stays stale. Raises Unavailable."""
        stale = _with_emulated(mirror)
        left: set[Part] = set()
        for part in Part:  # links first, because the others name them
            if part in stale:
                interrupted = self._netlink.interrupted
                mirror = self._with_links(mirror) if part is Part.LINKS else self._with_part(part, mirror)
                if self._netlink.interrupted != interrupted:
                    left |= stale if part is Part.LINKS else {part}
        return replace(mirror, stale=frozenset(left))

    def _with_links(self, mirror: Mirror) -> Mirror:
        self._switches = {}
        seen = list_links(self._netlink)
        links = frozenset(self._links_by_name(seen).values())
        by_index = {facts.number: facts for facts in seen}
        return replace(mirror, dataplane=_with(mirror.dataplane, {"links": links}), links=by_index)

    def _with_part(self, part: Part, mirror: Mirror) -> Mirror:
        dataplane = _with(mirror.dataplane, self._tables(part, mirror))
        if part is not Part.ROUTES:
            return replace(mirror, dataplane=dataplane)
        dumped = self._last_routes
        return replace(mirror, dataplane=dataplane, ambiguous=dumped.ambiguous, has_unnamed=bool(dumped.unnamed))

    def _tables(self, part: Part, mirror: Mirror) -> Mapping[str, AbstractSet[Any]]:
        """The tables of one part but the links, as a dump has them."""
        names, links, dump = mirror.names, mirror.dataplane.links, self._netlink.dump
        match part:
            case Part.ADDRESSES:
                dumped = dump(encode.RTM_GETADDR, encode.IFADDRMSG.pack(0, 0, 0, 0, 0))
                return {"addresses": read(dumped, names, decode.link_address)}
            case Part.DECAPS:
                return {"decaps": self._decaps(links)}
            case Part.INNER_FILTERS:
                return {"inner_filters": self._inner_filters(names, links)}
            case Part.MASQUERADES:
                return {"masquerades": self._masquerades()}
            case Part.WORKLOAD_FILTERS:
                return {"workload_filters": self._workload_filters()}
            case Part.FDB:
                dumped = dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(encode.AF_BRIDGE, 0, 0, 0, 0))
                return {"fdb": read(dumped, names, decode.fdb_entry)}
            case Part.NEIGHBOURS:
                dumped = dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(0, 0, 0, 0, 0))
                return {"neighbours": read(dumped, names, decode.neighbour)}
            case Part.NEXT_HOPS:
                next_hops, groups = self._next_hops(names, links)
                return {"next_hops": next_hops, "groups": groups}
            case Part.ROUTES:
                return {"routes": self._route_set(names)}
            case Part.RULES:
                return {"rules": self._rules()}
            case _:
                raise AssertionError(f"{part} is dumped first")

    def with_sysctls(self, mirror: Mirror) -> Mirror:
        """
        The mirror with the sysctls of now, which are files. Of switches the kernel notifies (RTM_NEWNETCONF), after
        which everything is dumped: in between they are not read again.
        """
        dataplane = mirror.dataplane
        sysctls = frozenset(self._sysctls(dataplane.links, dataplane.addresses))
        return (
            mirror
            if sysctls == dataplane.sysctls
            else replace(mirror, dataplane=_with(dataplane, {"sysctls": sysctls}))
        )

    def _next_hops(
        self, names: Mapping[int, str], links: Iterable[Link]
    ) -> tuple[frozenset[NextHop], frozenset[NextHopGroup]]:
        objects = self.next_hop_objects() if self._has_next_hop_objects else ()
        next_hops, groups = read(objects, names, decode.next_hop), read(objects, names, decode.group)
        if self._emulation:
            self._emulation.settle({link.name: link for link in links})
            next_hops = self._emulation.next_hops() | {hop for hop in next_hops if hop.protocol != PROTOCOL}
            groups = self._emulation.groups() | {group for group in groups if group.protocol != PROTOCOL}
        return next_hops, groups

    def next_hop_objects(self) -> tuple[bytes, ...]:
        """The bodies of a dump. Raises Unanswered, Unavailable."""
        return dump_next_hops(self._netlink)

    def _route_set(self, names: Mapping[int, str]) -> RouteSet:
        dumped = self.routes()
        if self._emulation:
            return RouteSet.of(self._emulation.routes(dumped, names))
        self._last_routes = self._last_routes.next(dumped, names)
        return self._last_routes.routes

    def _rules(self) -> frozenset[Rule]:
        try:
            # One dump of all families: a kernel without IPv6 refuses that one alone.
            dumped = self._netlink.dump(encode.RTM_GETRULE, encode.RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))
        except Unanswered:
            return frozenset()  # without CONFIG_IP_MULTIPLE_TABLES
        return frozenset(rules.rules(dumped))

    def routes(self) -> list[bytes]:
        """The bodies of a dump of all tables. Raises Unavailable."""
        found: list[bytes] = []
        # One family at a time: AF_UNSPEC would add MPLS labels and multicast forwarding entries.
        for family in encode.FAMILY.values():
            found += self._netlink.dump(encode.RTM_GETROUTE, encode.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
        return found

    def scene(self) -> Scene:
        """The links as they are now. Raises Unavailable."""
        seen = list_links(self._netlink)
        return Scene({facts.name: facts.number for facts in seen}, self._links_by_name(seen))

    def _links_by_name(self, seen: Iterable[LinkFacts]) -> dict[str, Link]:
        names = {facts.number: facts.name for facts in seen}
        return {facts.name: self._recognised(link(facts, names)) for facts in seen}

    def _recognised(self, found: Link) -> Link:
        for devices in self._devices:
            found = devices.recognised(found)
        return found

    def _decaps(self, links: Collection[Link]) -> frozenset[Decap]:
        return frozenset(decap for devices in self._devices for decap in devices.decaps(links))

    def _inner_filters(self, names: Mapping[int, str], links: Iterable[Link]) -> frozenset[InnerFilter]:
        has_tunnel = any(behind(link.kind) for link in links)
        # Without a tunnel, read once at the start and while an earlier read found something.
        if not has_tunnel and not self._filters_may_be_left_behind:
            return frozenset()
        try:
            # A chain that goes with its device does not count as a change of its table.
            now = nft.generation(), frozenset(names.items())
            if now != self._filters_of:
                self._filters, self._filters_of = inner_filter.observe(names.values()), now
        except OSError as error:
            raise Unavailable(f"cannot read which packets pass in tunnels: {error}") from error
        self._filters_may_be_left_behind = has_tunnel or bool(self._filters)
        return self._filters

    def _workload_filters(self) -> frozenset[WorkloadFilter]:
        if not self.workload_filter_may_be_there:
            return frozenset()
        try:
            now = nft.generation()
            if now is None or now != self._workload_filter_of or self._workload_filter.is_over:
                self._workload_filter, self._workload_filter_of = workload_filter.observe(), now
        except OSError as error:
            raise Unavailable(f"cannot read which packets pass from workloads: {error}") from error
        filtered = self._workload_filter.filter
        self.workload_filter_may_be_there = filtered is not None
        return frozenset([filtered] if filtered else [])

    def _masquerades(self) -> frozenset[Masquerade]:
        # Listing a table takes a process: done at the first observation, and while there is a table.
        try:
            found = [masquerade.observe(version) for version in sorted(self.masquerading)]
        except OSError as error:
            raise Unavailable(f"cannot read the masquerade rules: {error}") from error
        seen = frozenset(item for item in found if item)
        self.masquerading = {item.version for item in seen}
        return seen

    def _sysctls(self, links: AbstractSet[Link], addresses: AbstractSet[LinkAddress]) -> Iterator[Sysctl]:
        of = self.named_sysctls, links, addresses
        if of != self._names_of:
            self._names_of, self._names = of, self.named_sysctls.union(_sysctls_of(links, addresses))
        for name in self._names:
            if name in self._switches:
                value = self._switches[name]
            else:
                value = sysctl.read(name)
                if name.endswith(_SWITCHES):
                    self._switches[name] = value
            if value:
                yield value


def _sysctls_of(links: Iterable[Link], addresses: Iterable[LinkAddress]) -> Iterator[str]:
    ours = {link.name for link in links if link.owned}
    yield from (name.format(link) for link in ours for name in _WATCHED_LINK_SYSCTLS)
    for item in addresses:
        if item.address.address.version == 4:
            yield _RP_FILTER.format(item.link)
        elif item.link not in ours and _is_global6(item):
            yield f"net/ipv6/conf/{item.link}/accept_ra"


def _with_emulated(mirror: Mirror) -> frozenset[Part]:
    """The stale parts. Emulated next hops go with their links, and routes are recognised by them."""
    if mirror.emulated and not mirror.stale.isdisjoint({Part.LINKS, Part.NEXT_HOPS, Part.ROUTES}):
        return mirror.stale | {Part.NEXT_HOPS, Part.ROUTES}
    return mirror.stale


def _with(dataplane: Dataplane, found: Mapping[str, AbstractSet[Any]]) -> Dataplane:
    """With these tables; what is equal stays the same object."""
    new: dict[str, Any] = {name: table for name, table in found.items() if table != getattr(dataplane, name)}
    if "routes" in new:
        new["routes"] = new["routes"].sharing(dataplane.route_set)
    return replace(dataplane, **new) if new else dataplane


def read(
    dumped: Iterable[bytes], names: Mapping[int, str], decoded: Callable[[bytes, Mapping[int, str]], T | None]
) -> frozenset[T]:
    """The objects in these message bodies that are understood."""
    return frozenset(obj for body in dumped if (obj := decoded(body, names)) is not None)


def _is_global6(item: LinkAddress) -> bool:
    address = item.address.address
    return address.version == 6 and not LINK_LOCAL.holds(address) and item.link != "lo"
