"""The law book: what each operation does to a dataplane. Shared by the plan, its tests and the fake kernel.

Kernel facts were measured on Linux 6.1 and 6.18; the contract tests hold this file to the running kernel.

Refuses to know: why an operation was planned and in what order.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar, assert_never

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import (
    LINK_LOCAL,
    Mac,
)
from bgpctl.core.net.objects import (
    MAIN_TABLE,
    Dataplane,
    Decap,
    FdbEntry,
    Ipip,
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
    RouteType,
    Sysctl,
    Vxlan,
    key_of,
)

T = TypeVar("T", bound=KernelObject)


@dataclass(frozen=True, slots=True)
class Put:
    """Create the object, or change the one with the same key in place, atomically for traffic."""

    thing: KernelObject
    reason: Reason


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the object; removing what is absent is no error."""

    thing: KernelObject
    reason: Reason


Op: TypeAlias = Put | Remove


@dataclass(frozen=True, slots=True)
class Failure:
    """
    One operation the kernel refused.

    `errno` as in errno(3); `text` is the kernel's own explanation, often empty; `hint` says who must act.
    """

    op: Op
    errno: int
    text: str = ""
    hint: str = ""


class KernelError(Exception):
    """The kernel would answer `op` with `errno` (as in errno(3))."""

    def __init__(self, op: Op, code: int) -> None:
        super().__init__(f"{errno.errorcode.get(code, code)}: {op.thing}")
        self.op = op
        self.errno = code


def after(dataplane: Dataplane, op: Op) -> Dataplane:
    """
    The dataplane once `op` was done, the kernel's silent side effects included.

    Raises:
        KernelError: the kernel would refuse; nothing has changed then.
    """
    code = _objection(dataplane, op)
    if code:
        raise KernelError(op, code)
    match op:
        case Put():
            return _put(dataplane, op.thing)
        case Remove():
            return _remove(dataplane, op.thing)
        case _:
            assert_never(op)


def _objection(dataplane: Dataplane, op: Op) -> int:
    """The errno with which the kernel would refuse, 0 if it would not."""
    if isinstance(op, Remove):
        return 0
    match op.thing:
        case Link():
            return _link_objection(dataplane, op.thing)
        case LinkAddress(link=name) | Neighbour(link=name):
            return 0 if dataplane.link(name) else errno.ENODEV
        case Decap(link=name, underlay=underlay):
            return 0 if dataplane.link(name) and dataplane.link(underlay) else errno.ENODEV
        case FdbEntry():
            return _fdb_objection(dataplane, op.thing)
        case NextHop():
            return _next_hop_objection(dataplane, op.thing)
        case NextHopGroup():
            return _group_objection(dataplane, op.thing)
        case Route():
            return _route_objection(dataplane, op.thing)
        case Masquerade():
            return 0
        case Sysctl(name=name):
            link_name = link_of_sysctl(name)
            return 0 if link_name is None or dataplane.link(link_name) else errno.ENOENT
        case _:
            assert_never(op.thing)


def _fdb_objection(dataplane: Dataplane, entry: FdbEntry) -> int:
    link = dataplane.link(entry.link)
    if link is None:
        return errno.ENODEV
    if not isinstance(link.kind, Vxlan):
        return errno.EOPNOTSUPP
    return 0 if entry.remote.version == link.kind.local.version else errno.EAFNOSUPPORT


def link_of_sysctl(name: str) -> str | None:
    """The link that a per-link sysctl belongs to; None for the others, `all` and `default` included."""
    match name.split("/"):
        case ["net", _, "conf" | "neigh", link, _] if link not in {"all", "default"}:
            return link
        case _:
            return None


def _link_objection(dataplane: Dataplane, wanted: Link) -> int:
    present = dataplane.link(wanted.name)
    match wanted.kind:
        case Vxlan() as vxlan:
            if present is None:
                return _new_vxlan_objection(dataplane, wanted.name, vxlan)
            return 0 if becomes(present.kind, vxlan) else errno.EOPNOTSUPP
        case Ipip() | Plain():
            mendable = present is None or present.owned or present.kind == wanted.kind
            return 0 if mendable else errno.EEXIST
        case _:
            assert_never(wanted.kind)


def becomes(present: LinkKind, wanted: Vxlan) -> bool:
    """
    Whether a device can be made into `wanted` in place: VNI, port and underlay are fixed at its creation (EOPNOTSUPP),
    the local address is not, but its IP version is.
    """
    if not isinstance(present, Vxlan) or present.local.version != wanted.local.version:
        return False
    return replace(present, local=wanted.local) == wanted


def _new_vxlan_objection(dataplane: Dataplane, name: str, vxlan: Vxlan) -> int:
    if dataplane.link(vxlan.underlay) is None:
        return errno.ENODEV
    others = (link.kind for link in dataplane.links if link.name != name and isinstance(link.kind, Vxlan))
    taken = {(other.vni, other.port, other.local.version) for other in others}
    return errno.EEXIST if (vxlan.vni, vxlan.port, vxlan.local.version) in taken else 0


def _next_hop_objection(dataplane: Dataplane, wanted: NextHop) -> int:
    link = dataplane.link(wanted.link)
    if link is None:
        return errno.ENODEV
    if not link.up:
        return errno.ENETDOWN
    if any(group.id == wanted.id for group in dataplane.groups) or _leads_elsewhere(dataplane, wanted):
        return errno.EINVAL
    users = {wanted.id, *(group.id for group in dataplane.groups if wanted.id in group.members)}
    return errno.EINVAL if _is_ipv4(wanted) and _carries_ipv6(dataplane, users) else 0


def _leads_elsewhere(dataplane: Dataplane, wanted: NextHop) -> bool:
    """
    Whether an on-link IPv6 gateway is reached by another link: the kernel looks it up in the main table
    (ip6_route_check_nh_onlink), takes no offence at the default route or at a blackhole, and spares link-local ones.
    """
    gateway = wanted.gateway
    if gateway is None or gateway.version == 4 or not wanted.onlink or LINK_LOCAL.holds(gateway):
        return False
    routes = (route for route in dataplane.routes if route.table == MAIN_TABLE and route.prefix.holds(gateway))
    best = max(routes, key=lambda route: (route.prefix.length, -route.metric), default=None)
    if best is None or best.type is not RouteType.UNICAST or not best.prefix.length:
        return False
    return wanted.link != (_first_link(dataplane, best.next_hop) if best.next_hop else best.link)


def _first_link(dataplane: Dataplane, number: int) -> str | None:
    """The link of the next hop with this id, or of the first member of the group with this id."""
    group = next((group for group in dataplane.groups if group.id == number), None)
    first = group.members[0] if group else number
    return next((hop.link for hop in dataplane.next_hops if hop.id == first), None)


def _group_objection(dataplane: Dataplane, wanted: NextHopGroup) -> int:
    """Members must be next hops that are there, each once; a next hop does not become a group."""
    hops = {hop.id: hop for hop in dataplane.next_hops}
    if not wanted.members or len(set(wanted.members)) < len(wanted.members) or wanted.id in hops:
        return errno.EINVAL
    if not set(wanted.members) <= hops.keys():
        return errno.EINVAL
    any_ipv4 = any(_is_ipv4(hops[member]) for member in wanted.members)
    return errno.EINVAL if any_ipv4 and _carries_ipv6(dataplane, {wanted.id}) else 0


def _is_ipv4(hop: NextHop) -> bool:
    return hop.gateway is None or hop.gateway.version == 4


def _carries_ipv6(dataplane: Dataplane, ids: set[int]) -> bool:
    """Whether an IPv6 route names one of these; it cannot use an IPv4 next hop."""
    return any(route.next_hop in ids and route.prefix.version == 6 for route in dataplane.routes)


def _route_objection(dataplane: Dataplane, route: Route) -> int:
    if route.next_hop:
        hops = _hops_of(dataplane, route.next_hop)
        unusable = route.prefix.version == 6 and any(map(_is_ipv4, hops))
        return errno.EINVAL if not hops or unusable else 0
    if route.type is RouteType.UNICAST and route.link is not None:
        link = dataplane.link(route.link)
        if link is None:
            return errno.ENODEV
        return 0 if link.up else errno.ENETDOWN
    return 0


def _hops_of(dataplane: Dataplane, number: int) -> tuple[NextHop, ...]:
    """The next hop with this id, or those of the group with this id."""
    group = next((group for group in dataplane.groups if group.id == number), None)
    ids = set(group.members) if group else {number}
    return tuple(hop for hop in dataplane.next_hops if hop.id in ids)


def _put(dataplane: Dataplane, thing: KernelObject) -> Dataplane:
    match thing:
        case Link():
            return _put_link(dataplane, thing)
        case Sysctl():
            return replace(dataplane, sysctls=_with(dataplane.sysctls, thing))
        case LinkAddress():
            return replace(dataplane, addresses=_with(dataplane.addresses, thing))
        case Decap():
            return replace(dataplane, decaps=_with(dataplane.decaps, thing))
        case Masquerade():
            return replace(dataplane, masquerades=_with(dataplane.masquerades, thing))
        case FdbEntry():
            return replace(dataplane, fdb=_with(dataplane.fdb, thing))
        case Neighbour():
            return replace(dataplane, neighbours=_with(dataplane.neighbours, thing))
        case NextHop():
            return replace(dataplane, next_hops=_with(dataplane.next_hops, thing))
        case NextHopGroup():
            return replace(dataplane, groups=_with(dataplane.groups, thing))
        case Route():
            return replace(dataplane, routes=_with(dataplane.routes, thing))
        case _:
            assert_never(thing)


def _put_link(dataplane: Dataplane, link: Link) -> Dataplane:
    before = dataplane.link(link.name)
    if before and isinstance(link.kind, Ipip) and isinstance(before.kind, Plain):
        # Another driver's device, to be made anew, or this one's in disrepair, which keeps more than is said here.
        dataplane, before = _remove_link(dataplane, link.name), None
    changed = replace(dataplane, links=_with(dataplane.links, link))
    if before is None:
        return changed
    if before.up and not link.up:
        # IPv6 addresses go too, unless net.ipv6.conf.*.keep_addr_on_down is set; IPv4 addresses stay.
        kept = _keep(changed.addresses, lambda item: item.link != link.name or item.address.address.version == 4)
        bare = _without_neighbours(replace(changed, addresses=kept), link.name)
        return _without_next_hops(bare, link.name, versions=(4, 6))
    return _without_neighbours(changed, link.name) if _mac_changed(before.mac, link.mac) else changed


def _mac_changed(before: Mac | None, wanted: Mac | None) -> bool:
    return wanted is not None and before != wanted


def _remove(dataplane: Dataplane, thing: KernelObject) -> Dataplane:
    match thing:
        case Link():
            return _remove_link(dataplane, thing.name)
        case Sysctl():
            return replace(dataplane, sysctls=_without_key(dataplane.sysctls, thing))
        case LinkAddress():
            return _remove_address(dataplane, thing)
        case Decap():
            return replace(dataplane, decaps=_without_key(dataplane.decaps, thing))
        case Masquerade():
            return replace(dataplane, masquerades=_without_key(dataplane.masquerades, thing))
        case FdbEntry():
            return replace(dataplane, fdb=_without_key(dataplane.fdb, thing))
        case Neighbour():
            return replace(dataplane, neighbours=_without_key(dataplane.neighbours, thing))
        case NextHop() | NextHopGroup():
            return _drop_next_hops(dataplane, {thing.id})
        case Route():
            return replace(dataplane, routes=_without_key(dataplane.routes, thing))
        case _:
            assert_never(thing)


def _remove_link(dataplane: Dataplane, name: str) -> Dataplane:
    for link in dataplane.links:
        if link.name != name and isinstance(link.kind, Vxlan) and link.kind.underlay == name:
            dataplane = _remove_link(dataplane, link.name)
    bare = _without_next_hops(_without_neighbours(dataplane, name), name, versions=(4, 6))
    return replace(
        bare,
        links=_keep(bare.links, lambda link: link.name != name),
        sysctls=_keep(bare.sysctls, lambda sysctl: link_of_sysctl(sysctl.name) != name),
        addresses=_keep(bare.addresses, lambda address: address.link != name),
        decaps=_keep(bare.decaps, lambda decap: name not in (decap.link, decap.underlay)),
        fdb=_keep(bare.fdb, lambda entry: entry.link != name),
    )


def _remove_address(dataplane: Dataplane, address: LinkAddress) -> Dataplane:
    left = replace(dataplane, addresses=_without_key(dataplane.addresses, address))
    version = address.address.address.version
    last = not any(a.link == address.link and a.address.address.version == version for a in left.addresses)
    if not last or version != 4 or left == dataplane:
        return left
    # Without any IPv4 address the device has IPv4 disabled: its routes and ARP entries go, and no event tells.
    return _without_routes(_without_neighbours(left, address.link, versions=(4,)), address.link, versions=(4,))


def _without_neighbours(dataplane: Dataplane, link: str, *, versions: tuple[int, ...] = (4, 6)) -> Dataplane:
    def stays(neighbour: Neighbour) -> bool:
        return neighbour.link != link or neighbour.address.version not in versions

    return replace(dataplane, neighbours=_keep(dataplane.neighbours, stays))


def _without_next_hops(dataplane: Dataplane, link: str, *, versions: tuple[int, ...]) -> Dataplane:
    gone = {next_hop.id for next_hop in dataplane.next_hops if next_hop.link == link}
    return _without_routes(_drop_next_hops(dataplane, gone), link, versions=versions)


def _drop_next_hops(dataplane: Dataplane, gone: set[int]) -> Dataplane:
    """
    A next-hop object leaves the groups that it is in, and takes along the routes that name it; only RTM_DELNEXTHOP
    tells. A group without members is gone too.
    """
    left = [group._replace(members=_without(group.members, gone)) for group in dataplane.groups]
    groups = frozenset(group for group in left if group.members and group.id not in gone)
    ids = gone | {group.id for group in dataplane.groups} - {group.id for group in groups}
    return replace(
        dataplane,
        next_hops=_keep(dataplane.next_hops, lambda hop: hop.id not in gone),
        groups=groups,
        routes=_keep(dataplane.routes, lambda route: route.next_hop not in ids),
    )


def _without(members: tuple[int, ...], gone: set[int]) -> tuple[int, ...]:
    return tuple(member for member in members if member not in gone)


def _without_routes(dataplane: Dataplane, link: str, *, versions: tuple[int, ...]) -> Dataplane:
    def stays(route: Route) -> bool:
        return route.link != link or route.prefix.version not in versions

    return replace(dataplane, routes=_keep(dataplane.routes, stays))


def _keep(things: frozenset[T], stays: Callable[[T], bool]) -> frozenset[T]:
    return frozenset(thing for thing in things if stays(thing))


def _without_key(things: frozenset[T], gone: T) -> frozenset[T]:
    key = key_of(gone)
    return _keep(things, lambda thing: key_of(thing) != key)


def _with(things: frozenset[T], new: T) -> frozenset[T]:
    return _without_key(things, new) | {new}
