"""
The model of the kernel: what each operation does to a dataplane, the silent side effects included.

A plan is only as good as the idea of what its operations do. Three programs need that idea: the plan itself (what is
left once devices have changed), the preview (where a change ends), and the fake kernel of the tests. So it is written
once, here, as a function of a dataplane and an operation, and `tests/contract/test_differential.py` walks at random
over this model and the running kernel in step: after every operation both must be equal. Facts were measured on
Linux 6.1 and 6.18.

To model a put as "the object is there now" and a removal as "it is gone" would be wrong in these cases:

- A link that goes down or away takes its neighbours, next-hop objects and routes along, and the kernel sends no
  RTM_DELROUTE for IPv4 routes (fib_sync_down_dev). IPv4 addresses stay on a link that is down, IPv6 ones do not.
- The last IPv4 address of a device takes the device's IPv4 routes and ARP entries along, without an event
  (fib_inetaddr_event calls fib_disable_ip). So new addresses are added before old ones are removed.
- A changed MAC flushes the neighbour entries of the device (neigh_changeaddr).
- A next-hop object that goes leaves its groups and takes the routes that name it along; only RTM_DELNEXTHOP reports it
  (remove_nexthop). Replacing the object keeps all of them.
- A device's VNI, port and underlay cannot change (vxlan_changelink: EOPNOTSUPP), its local address, MTU and MAC can.
- A route with another metric is a second route; a put with the same key replaces in place.
- Removing what is absent is no error for us, whatever the kernel answers.

`after` is the meaning of one operation. A fold of it over 100,000 operations would copy a table of 100,000 routes for
each, so `after_all` and `after_each` do many operations to one builder; a property test compares them with the fold.

Why objects are replaced and never removed and added again: docs/decisions/0006-next-hop-objects.md, and for what is
ours 0003-ours-is-what-we-marked.md.

Refuses to know: why an operation was planned and in what order.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.dataplane.refusals import groups_with, refusal_of, routes_by_next_hop
from bgpctl.core.net.addresses import Mac
from bgpctl.core.net.dataplane import Dataplane, DataplaneBuilder
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    Sysctl,
    WorkloadFilter,
    link_of_sysctl,
)


@dataclass(frozen=True, slots=True)
class Put:
    """Create the object, or change the one with the same key in place, atomically for traffic."""

    object: KernelObject
    reason: Reason

    # The reason, which many share, adds nothing but time: sets of operations have 100,000.
    def __hash__(self) -> int:
        return hash(self.object)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the object; removing what is absent is no error."""

    object: KernelObject
    reason: Reason

    def __hash__(self) -> int:
        return hash(self.object)


Op: TypeAlias = Put | Remove


@dataclass(frozen=True, slots=True)
class Failure:
    """
    One operation the kernel refused.

    `errno` as in errno(3); `text` is the kernel's own explanation, often empty; `hint` names who must act.
    """

    op: Op
    errno: int
    text: str = ""
    hint: str = ""


class KernelError(Exception):
    """The kernel would answer `op` with `errno` (as in errno(3))."""

    def __init__(self, op: Op, code: int) -> None:
        super().__init__(f"{errno.errorcode.get(code, code)}: {op.object}")
        self.op = op
        self.errno = code


def after(dataplane: Dataplane, op: Op) -> Dataplane:
    """
    The dataplane once `op` was done, the kernel's silent side effects included.

    Raises:
        KernelError: the kernel would refuse; nothing has changed then.
    """
    return after_all(dataplane, (op,))


def after_all(dataplane: Dataplane, ops: Iterable[Op]) -> Dataplane:
    """
    The dataplane once all of `ops` were done in turn: the fold of `after`.

    Raises:
        KernelError: the kernel would refuse one of them.
    """
    builder = DataplaneBuilder(dataplane)
    for op in ops:
        _do(builder, op)
    return builder.built()


def after_each(dataplane: Dataplane, ops: Iterable[Op]) -> tuple[Dataplane, tuple[KernelError, ...]]:
    """The dataplane once those of `ops` were done that the kernel does not refuse, and the refusals."""
    builder = DataplaneBuilder(dataplane)
    refused: list[KernelError] = []
    for op in ops:
        try:
            _do(builder, op)
        except KernelError as refusal:  # before it changed anything
            refused.append(refusal)
    return builder.built(), tuple(refused)


def _do(plane: DataplaneBuilder, op: Op) -> None:
    match op:
        case Put():
            code = refusal_of(plane, op.object)
            if code:
                raise KernelError(op, code)
            _put(plane, op.object)
        case Remove():
            _remove(plane, op.object)
        case _:
            assert_never(op)


def _put(plane: DataplaneBuilder, obj: KernelObject) -> None:
    if isinstance(obj, Link):
        _put_link(plane, obj)
    else:
        plane.put(obj)


def _put_link(plane: DataplaneBuilder, link: Link) -> None:
    before = plane.link(link.name)
    if before and link.kind.is_made_in_place_of(before.kind):
        _remove_link(plane, link.name)
        before = None
    plane.put(link)
    if before is None:
        return
    if before.up and not link.up:
        _take_down(plane, link.name)
    elif _mac_changed(before.mac, link.mac):
        _drop_neighbours(plane, link.name)


def _mac_changed(before: Mac | None, wanted: Mac | None) -> bool:
    return wanted is not None and before != wanted


def _take_down(plane: DataplaneBuilder, name: str) -> None:
    """IPv6 addresses go too, unless net.ipv6.conf.*.keep_addr_on_down is set; IPv4 addresses and the FDB stay."""
    addresses = plane.all(LinkAddress)
    plane.discard([item for item in addresses if item.link == name and item.address.address.version == 6])
    _drop_neighbours(plane, name)
    _drop_paths_over(plane, name)


def _remove(plane: DataplaneBuilder, obj: KernelObject) -> None:
    match obj:
        case Route() | Sysctl() | InnerFilter() | WorkloadFilter() | Decap() | Masquerade() | FdbEntry() | Neighbour():
            plane.drop((obj,))
        case Link():
            _remove_link(plane, obj.name)
        case LinkAddress():
            _remove_address(plane, obj)
        case NextHop() | NextHopGroup():
            _drop_next_hops(plane, {obj.id})
        case _:
            assert_never(obj)


def _remove_link(plane: DataplaneBuilder, name: str) -> None:
    """A link goes with the link that it stands on, and what stands on a link goes with that."""
    for link in plane.all(Link):
        if link.name != name and link.kind.stands_on() == name:
            _remove_link(plane, link.name)
    _drop_neighbours(plane, name)
    _drop_paths_over(plane, name)
    plane.discard([link for link in plane.all(Link) if link.name == name])
    plane.discard([sysctl for sysctl in plane.all(Sysctl) if link_of_sysctl(sysctl.name) == name])
    plane.discard([address for address in plane.all(LinkAddress) if address.link == name])
    plane.discard([item for item in plane.all(InnerFilter) if item.link == name])
    plane.discard([decap for decap in plane.all(Decap) if name in (decap.link, decap.underlay)])
    plane.discard([entry for entry in plane.all(FdbEntry) if entry.link == name])


def _remove_address(plane: DataplaneBuilder, gone: LinkAddress) -> None:
    present = gone in plane.all(LinkAddress)
    plane.drop((gone,))
    if not present or gone.address.address.version != 4:
        return
    left = (item.address.address for item in plane.all(LinkAddress) if item.link == gone.link)
    if not any(address.version == 4 for address in left):
        # Without any IPv4 address the device has IPv4 disabled: its routes and ARP entries go, and no event reports it.
        _drop_neighbours(plane, gone.link, versions=(4,))
        _drop_routes(plane, gone.link, versions=(4,))


def _drop_neighbours(plane: DataplaneBuilder, link: str, *, versions: tuple[int, ...] = (4, 6)) -> None:
    neighbours = plane.all(Neighbour)
    plane.discard([item for item in neighbours if item.link == link and item.address.version in versions])


def _drop_paths_over(plane: DataplaneBuilder, link: str) -> None:
    """The next-hop objects over a link go with it, with the routes that name them, and its own routes."""
    _drop_next_hops(plane, {hop.id for hop in plane.all(NextHop) if hop.link == link})
    _drop_routes(plane, link, versions=(4, 6))


def _drop_next_hops(plane: DataplaneBuilder, gone: set[int]) -> None:
    """
    A next-hop object leaves the groups that it is in, and takes along the routes that name it; only RTM_DELNEXTHOP
    is sent. A group without members is gone too. `gone` has ids of next hops, or of a group.
    """
    if not gone:
        return
    ids = set(gone)
    for number in {group for member in gone for group in groups_with(plane, member)} | gone:
        group = plane.group(number)
        if group is None:
            continue
        left = tuple(member for member in group.members if member not in gone)
        if left and number not in gone:
            plane.put(group._replace(members=left))
        else:
            plane.discard((group,))
            ids.add(number)
    plane.discard([hop for number in gone if (hop := plane.next_hop(number))])
    named = plane.derived(Route, routes_by_next_hop)
    plane.discard([route for number in ids for route in named.get(number, ())])


def _drop_routes(plane: DataplaneBuilder, link: str, *, versions: tuple[int, ...]) -> None:
    routes = plane.all(Route)
    plane.discard([route for route in routes if route.link == link and route.prefix.version in versions])
