"""Promises of every Kernel, asked of the fake one and of the running one."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bgpctl.core.dataplane.effects import Op, Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Mac,
    Prefix,
    Vni,
)
from bgpctl.core.net.objects import (
    PROTOCOL,
    FdbEntry,
    KernelObject,
    Link,
    LinkAddress,
    NextHop,
    Route,
    RouteType,
    Sysctl,
    key_of,
)
from bgpctl.core.net.table import shard_of
from bgpctl.kernel import sysctl
from bgpctl.kernel.encode import NHMSG, RTM_DELROUTE
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    SOL_NETLINK,
    Message,
    Netlink,
    Unanswered,
    messages,
    open_socket,
)
from tests.contract.ipip_rig import output
from tests.contract.kernel_rig import (
    ADDRESS,
    ADDRESS6,
    DEADLINE_S,
    DECAP,
    DIRECT,
    DIRECT6,
    ETH0,
    FDB,
    FDB6,
    GROUP,
    GROUP_ROUTE,
    HOP,
    HOP6,
    KIND,
    NEIGHBOUR,
    NEIGHBOUR6,
    NODE,
    OVER6,
    ROUTE,
    ROUTE6,
    STACK,
    STACK6,
    TUNNEL,
    TUNNEL_HOP,
    TUNNEL_HOP6,
    TUNNEL_ROUTE6,
    TUNNEL_STACK,
    VTEP6,
    VXLAN,
    VXLAN6,
    Bell,
    FakeRig,
    LinuxRig,
    Rig,
    missing,
    own_namespace,
    put,
    puts,
    refusals,
    removals,
    remove,
    shell,
)
from tests.waiting import wait_until

BLOCK = Route(Prefix.parse("10.244.1.0/26"), RouteType.BLACKHOLE)
BLOCK6 = Route(Prefix.parse("fd00:244:1::/64"), RouteType.BLACKHOLE)
FORWARDING = Sysctl("net/ipv4/ip_forward", "1")
FORWARDING6 = Sysctl("net/ipv6/conf/all/forwarding", "1")
LOOSE = Sysctl("net/ipv4/conf/vxlan.test/rp_filter", "2")
FOREIGN = Route(Prefix.parse("192.0.2.0/24"), gateway=Address.parse("10.0.0.9"), link="eth0", protocol=4)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")


@pytest.fixture
def linux() -> Iterator[LinuxRig]:
    with own_namespace():
        rig = LinuxRig()
        try:
            yield rig
        finally:
            rig.kernel.close()


@pytest.fixture
def gateways() -> Iterator[LinuxRig]:
    with own_namespace():
        rig = LinuxRig(next_hop_objects=False)
        try:
            yield rig
        finally:
            rig.kernel.close()


_real = [pytest.mark.kernel, needs_root]


@pytest.fixture(params=["fake", pytest.param("linux", marks=_real), pytest.param("gateways", marks=_real)])
def rig(request: pytest.FixtureRequest) -> Rig:
    made: Rig = FakeRig() if request.param == "fake" else request.getfixturevalue(request.param)
    return made


def test_every_object_is_observed_as_it_was_put(rig: Rig) -> None:
    everything = (*STACK, *STACK6, *TUNNEL_STACK, DIRECT, DIRECT6, BLOCK, BLOCK6, FORWARDING, FORWARDING6, LOOSE)
    put(rig.kernel, *everything)
    assert missing(rig.kernel, *everything) == set()


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (VXLAN, replace(VXLAN, mtu_bytes=1400)),
        (VXLAN, replace(VXLAN, mac=Mac("66:00:00:00:00:99"))),
        (VXLAN, replace(VXLAN, kind=replace(KIND, local=Address.parse("10.0.0.99")))),
        (VXLAN, replace(VXLAN, up=False)),
        (NEIGHBOUR, NEIGHBOUR._replace(mac=Mac("66:00:00:00:00:99"))),
        (NEIGHBOUR6, NEIGHBOUR6._replace(mac=Mac("66:00:00:00:00:99"))),
        (FDB, FDB._replace(remote=Address.parse("10.0.0.99"))),
        (HOP, HOP._replace(link="eth0", gateway=Address.parse("10.0.0.2"), onlink=False)),
        (ROUTE, ROUTE._replace(next_hop=DIRECT.id)),
        (ROUTE, ROUTE._replace(mtu_bytes=1400)),
        (ROUTE, Route(ROUTE.prefix, RouteType.BLACKHOLE)),
        (BLOCK, BLOCK._replace(type=RouteType.UNICAST, next_hop=DIRECT.id)),
        (ROUTE6, Route(ROUTE6.prefix, RouteType.BLACKHOLE)),
        (ROUTE6, ROUTE6._replace(mtu_bytes=1400)),
        (TUNNEL, replace(TUNNEL, mtu_bytes=1400)),
        (DECAP, DECAP._replace(sources=(Address.parse("10.0.0.9"),))),
        (DECAP, DECAP._replace(sources=(), local=Address.parse("10.0.0.9"))),
        (TUNNEL_HOP, TUNNEL_HOP._replace(link="eth0", onlink=False)),
        (VXLAN6, replace(VXLAN6, kind=replace(OVER6, local=Address.parse("fd00:10::99")))),
        (FDB6, FDB6._replace(remote=Address.parse("fd00:10::99"))),
        (TUNNEL_HOP6, TUNNEL_HOP6._replace(link="eth0", gateway=DIRECT6.gateway)),
        (TUNNEL_ROUTE6, TUNNEL_ROUTE6._replace(next_hop=DIRECT6.id)),
    ],
)
def test_a_put_replaces_what_has_the_same_key(rig: Rig, before: KernelObject, now: KernelObject) -> None:
    put(rig.kernel, *STACK, *STACK6, *TUNNEL_STACK, DIRECT, DIRECT6, BLOCK)
    assert missing(rig.kernel, before, now) == {now}
    put(rig.kernel, now)
    assert missing(rig.kernel, before, now) == {before}


def test_routes_by_a_next_hop_lose_their_mtu_again(rig: Rig) -> None:
    many = tuple(Route(prefix, next_hop=HOP.id) for prefix in _blocks(50))
    narrow = tuple(route._replace(mtu_bytes=1400) for route in many)
    for routes, number in ((many, 50), (narrow, 50), (many, 1), (narrow, 1), (many, 50), (narrow, 50), (many, 50)):
        put(rig.kernel, *STACK)
        put(rig.kernel, *routes[:number])
        assert missing(rig.kernel, *routes[:number]) == set()


def test_a_put_never_leaves_two_objects_with_one_key(rig: Rig) -> None:
    put(rig.kernel, *STACK)
    put(rig.kernel, *STACK, FDB._replace(remote=Address.parse("10.0.0.99")))
    keys = [key_of(obj) for obj in rig.kernel.observe().owned()]
    assert len(keys) == len(set(keys))


def test_removed_objects_are_gone(rig: Rig) -> None:
    everything = (*STACK, *STACK6, *TUNNEL_STACK, BLOCK, BLOCK6)
    put(rig.kernel, *everything)
    for obj in reversed(everything):
        remove(rig.kernel, obj)
        assert missing(rig.kernel, obj) == {obj}


def test_an_address_of_ours_on_a_foreign_link_is_known_by_its_mark_and_no_other_is_ours(rig: Rig) -> None:
    ours = [LinkAddress("lo", InterfaceAddress.parse(text), PROTOCOL) for text in ("192.0.2.80/32", "2001:db8::80/128")]
    theirs = LinkAddress("lo", InterfaceAddress.parse("192.0.2.99/32"))
    rig.other_program(Put(theirs, NOT_WANTED))
    put(rig.kernel, *ours)
    assert missing(rig.kernel, *ours, theirs) == set()
    assert {item for item in rig.kernel.observe().owned() if isinstance(item, LinkAddress)} == {*ours}
    remove(rig.kernel, *ours)
    assert missing(rig.kernel, *ours, theirs) == {*ours}


def test_removing_what_is_absent_is_no_failure(rig: Rig) -> None:
    remove(rig.kernel, *STACK, *TUNNEL_STACK, BLOCK, BLOCK6, NODE._replace(link="nowhere"))
    put(rig.kernel, VXLAN)
    remove(rig.kernel, *STACK[1:], BLOCK, BLOCK6)


def test_each_refusal_names_its_operation_and_the_others_are_done(rig: Rig) -> None:
    nowhere = FdbEntry("nowhere", FDB.mac, FDB.remote)
    orphan = Route(Prefix.parse("10.244.9.0/26"), next_hop=99)
    absent = Sysctl("net/ipv4/conf/nowhere/forwarding", "1")
    failures = rig.kernel.apply(puts(VXLAN, nowhere, FDB, absent, orphan, BLOCK))
    expected = [(nowhere, errno.ENODEV), (absent, errno.ENOENT), (orphan, errno.EINVAL)]
    assert (refusals(failures), missing(rig.kernel, VXLAN, FDB, BLOCK)) == (expected, set())


@pytest.mark.parametrize(
    ("obj", "code"),
    [
        (replace(VXLAN, kind=replace(KIND, vni=Vni(4097))), errno.EOPNOTSUPP),
        (replace(VXLAN, kind=replace(KIND, port=8472)), errno.EOPNOTSUPP),
        (replace(VXLAN, name="vxlan.two"), errno.EEXIST),
        (replace(VXLAN, name="vxlan.two", kind=replace(KIND, underlay="nowhere")), errno.ENODEV),
        (LinkAddress("nowhere", ADDRESS.address), errno.ENODEV),
        (FDB._replace(link="eth0"), errno.EOPNOTSUPP),
        (HOP._replace(link="nowhere"), errno.ENODEV),
        (DECAP, errno.ENODEV),
        (replace(VXLAN6, name="vxlan.two"), errno.EEXIST),
        (replace(VXLAN6, kind=KIND), errno.EOPNOTSUPP),
        (replace(VXLAN, kind=OVER6), errno.EOPNOTSUPP),
        (FDB6._replace(link="vxlan.test"), errno.EAFNOSUPPORT),
        (FDB._replace(link="vxlan6.test"), errno.EAFNOSUPPORT),
    ],
)
def test_what_cannot_be_is_refused(rig: Rig, obj: KernelObject, code: int) -> None:
    put(rig.kernel, *STACK, *STACK6)
    assert refusals(rig.kernel.apply(puts(obj))) == [(obj, code)]
    assert missing(rig.kernel, *STACK, *STACK6) == set()


def test_an_ipv6_gateway_that_another_link_leads_to_is_refused_and_a_link_local_one_is_not(rig: Rig) -> None:
    if rig.emulates:
        pytest.skip("next-hop objects: emulated ones are refused with their first route")
    inside = TUNNEL_HOP6._replace(gateway=Address.parse("fd00:246:2::"))
    put(rig.kernel, *STACK6, DIRECT6, inside, TUNNEL_ROUTE6)
    put(rig.kernel, TUNNEL_ROUTE6._replace(next_hop=DIRECT6.id))
    assert refusals(rig.kernel.apply(puts(inside))) == [(inside, errno.EINVAL)]
    put(rig.kernel, TUNNEL_HOP6)
    put(rig.kernel, TUNNEL_ROUTE6._replace(type=RouteType.BLACKHOLE, next_hop=0), inside)


def test_a_next_hop_needs_a_link_that_is_up(rig: Rig) -> None:
    put(rig.kernel, replace(VXLAN, up=False))
    assert refusals(rig.kernel.apply(puts(HOP))) == [(HOP, errno.ENETDOWN)]


def test_an_equal_foreign_link_is_adopted(rig: Rig) -> None:
    rig.other_program(*puts(replace(VXLAN, owned=False), *STACK[1:]))
    assert missing(rig.kernel, VXLAN) == {VXLAN}
    put(rig.kernel, VXLAN)
    assert missing(rig.kernel, *STACK) == ({HOP, HOP6, ROUTE, ROUTE6} if rig.emulates else set())


@pytest.mark.parametrize("link", [VXLAN, TUNNEL], ids=["vxlan", "IP in IP"])
def test_a_device_that_cannot_be_finished_is_not_left_behind(
    linux: LinuxRig, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = linux.kernel.observe()

    def read_only(wanted: Sysctl) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), wanted.name)

    with monkeypatch.context() as patch:
        patch.setattr("bgpctl.kernel.sysctl.write", read_only)
        (failure,) = linux.kernel.apply(puts(link))
    assert failure.errno == errno.EROFS
    assert linux.kernel.observe().links == before.links
    assert linux.kernel.apply(puts(link)) == ()


def test_another_metric_is_a_second_route(rig: Rig) -> None:
    other = BLOCK._replace(metric=7)
    put(rig.kernel, BLOCK, other)
    remove(rig.kernel, other)
    assert missing(rig.kernel, BLOCK, other) == {other}


@pytest.mark.parametrize("stack", [STACK, STACK6, TUNNEL_STACK])
def test_a_removed_link_takes_everything_on_it_along(rig: Rig, stack: tuple[KernelObject, ...]) -> None:
    put(rig.kernel, *stack)
    remove(rig.kernel, stack[0])
    assert missing(rig.kernel, *stack) == set(stack)


def test_a_removed_underlay_takes_the_vxlan_devices_along(rig: Rig) -> None:
    put(rig.kernel, *STACK, *STACK6)
    rig.other_program(Remove(ETH0, NOT_WANTED))
    assert missing(rig.kernel, ETH0, *STACK, *STACK6) == {ETH0, *STACK, *STACK6}


def test_a_link_taken_down_keeps_only_ipv4_addresses_and_forwarding_entries(rig: Rig) -> None:
    put(rig.kernel, *STACK)
    down = replace(VXLAN, up=False)
    put(rig.kernel, down)
    assert missing(rig.kernel, down, *STACK[1:]) == set(STACK) - {VXLAN, ADDRESS, FDB}


def test_an_ipv6_tunnel_taken_down_keeps_only_its_forwarding_entries(rig: Rig) -> None:
    put(rig.kernel, *STACK6, BLOCK6)
    put(rig.kernel, replace(VXLAN6, up=False))
    assert missing(rig.kernel, *STACK6, BLOCK6) == {*STACK6} - {FDB6}


def test_the_last_ipv6_address_takes_nothing_along(rig: Rig) -> None:
    plain = Route(Prefix.parse("fd00:246:3::/64"), link="vxlan6.test")
    put(rig.kernel, *STACK6, plain)
    remove(rig.kernel, VTEP6)
    assert missing(rig.kernel, *STACK6, plain) == {VTEP6}


def test_a_changed_mac_loses_the_neighbours_only(rig: Rig) -> None:
    put(rig.kernel, *STACK)
    put(rig.kernel, replace(VXLAN, mac=Mac("66:00:00:00:00:99")))
    assert missing(rig.kernel, *STACK[1:]) == {NEIGHBOUR, NEIGHBOUR6}


def test_mtu_and_local_address_change_without_any_loss(rig: Rig) -> None:
    put(rig.kernel, *STACK)
    put(rig.kernel, replace(VXLAN, mtu_bytes=1300, kind=replace(KIND, local=Address.parse("10.0.0.99"))))
    assert missing(rig.kernel, *STACK[1:]) == set()


def test_the_last_ipv4_address_takes_neighbours_and_plain_routes_along(rig: Rig) -> None:
    plain = Route(Prefix.parse("10.244.3.0/26"), link="vxlan.test")
    put(rig.kernel, *STACK, plain)
    remove(rig.kernel, ADDRESS)
    also_plain = {ROUTE} if rig.emulates else set()
    assert missing(rig.kernel, *STACK, plain) == {ADDRESS, NEIGHBOUR, plain, *also_plain}


def test_an_address_replaced_by_adding_first_loses_nothing(rig: Rig) -> None:
    new = LinkAddress(ADDRESS.link, InterfaceAddress.parse("10.244.1.1/32"))
    put(rig.kernel, *STACK)
    assert rig.kernel.apply((*puts(new), *removals(ADDRESS))) == ()
    assert missing(rig.kernel, *STACK, new) == {ADDRESS}


def test_a_replaced_next_hop_moves_all_its_routes(rig: Rig) -> None:
    many = tuple(Route(prefix, next_hop=HOP.id) for prefix in _blocks(50))
    put(rig.kernel, *STACK, *many)
    put(rig.kernel, HOP._replace(link="eth0", gateway=DIRECT.gateway))
    assert missing(rig.kernel, *many) == set()


def test_a_removed_next_hop_takes_its_routes_along(rig: Rig) -> None:
    put(rig.kernel, *STACK, BLOCK)
    remove(rig.kernel, HOP)
    assert missing(rig.kernel, *STACK, BLOCK) == {HOP, ROUTE}


def test_a_group_is_observed_as_it_was_put_and_replaced_in_place(rig: Rig) -> None:
    put(rig.kernel, *STACK, DIRECT, *TUNNEL_STACK, GROUP, GROUP_ROUTE)
    assert missing(rig.kernel, GROUP, GROUP_ROUTE) == set()
    other = GROUP._replace(members=(DIRECT.id, TUNNEL_HOP.id))
    put(rig.kernel, other)
    assert missing(rig.kernel, GROUP, other, GROUP_ROUTE) == {GROUP}


def test_a_member_that_goes_leaves_its_group_and_the_last_takes_it_along(rig: Rig) -> None:
    put(rig.kernel, *STACK, DIRECT, GROUP, GROUP_ROUTE)
    remove(rig.kernel, HOP)
    left = GROUP._replace(members=(DIRECT.id,))
    assert missing(rig.kernel, left, GROUP_ROUTE) == set()
    remove(rig.kernel, DIRECT)
    assert missing(rig.kernel, left, GROUP_ROUTE) == {left, GROUP_ROUTE}


def test_a_removed_group_takes_its_routes_along_and_leaves_its_members(rig: Rig) -> None:
    put(rig.kernel, *STACK, DIRECT, GROUP, GROUP_ROUTE)
    remove(rig.kernel, GROUP)
    assert missing(rig.kernel, *STACK, DIRECT, GROUP, GROUP_ROUTE) == {GROUP, GROUP_ROUTE}


@pytest.mark.parametrize(
    "obj",
    [
        GROUP._replace(members=()),
        GROUP._replace(members=(HOP.id, HOP.id)),
        GROUP._replace(members=(HOP.id, 99)),
        GROUP._replace(id=HOP.id),
        GROUP._replace(id=GROUP.id + 1, members=(GROUP.id,)),
        HOP._replace(id=GROUP.id),
        Route(ROUTE6.prefix, next_hop=GROUP.id),
        Route(ROUTE6.prefix, next_hop=HOP.id),
        DIRECT._replace(id=HOP6.id),
    ],
)
def test_impossible_groups_and_next_hops_of_the_wrong_family_are_refused(rig: Rig, obj: KernelObject) -> None:
    put(rig.kernel, *STACK, DIRECT, GROUP, GROUP_ROUTE)
    assert refusals(rig.kernel.apply(puts(obj))) == [(obj, errno.EINVAL)]
    assert missing(rig.kernel, *STACK, GROUP, GROUP_ROUTE) == set()


def test_foreign_objects_are_seen_and_survive(rig: Rig) -> None:
    neighbour = NEIGHBOUR._replace(link="eth0", address=Address.parse("10.0.0.7"))
    hop = DIRECT._replace(id=7, protocol=4)
    foreign_objects = (ETH0, NODE, neighbour, hop, FOREIGN, FOREIGN._replace(table=1000))
    rig.other_program(*puts(*foreign_objects[2:]))
    put(rig.kernel, *STACK)
    remove(rig.kernel, *reversed(STACK))
    assert missing(rig.kernel, *foreign_objects) == set()


def test_the_watch_reports_changes_of_others_and_not_ours(rig: Rig) -> None:
    bell = Bell()
    rig.kernel.watch(bell.ring)
    bell.rang_within(0.1)  # the first call may come at once
    put(rig.kernel, *STACK, *TUNNEL_STACK, BLOCK, FORWARDING)
    put(rig.kernel, replace(VXLAN, mtu_bytes=1400, mac=Mac("66:00:00:00:00:99")))
    remove(rig.kernel, *reversed((*STACK, *TUNNEL_STACK)))
    assert not bell.rang_within(0.3)
    for op in (*puts(FOREIGN), *removals(FOREIGN)):
        rig.other_program(op)
        assert bell.rang_within(1.0), op


@pytest.mark.parametrize("obj", [*STACK[1:], VXLAN, *TUNNEL_STACK[1:], TUNNEL])
def test_the_watch_reports_every_object_of_ours_that_another_program_removes(rig: Rig, obj: KernelObject) -> None:
    if rig.emulates and isinstance(obj, NextHop):
        pytest.skip("next-hop objects: they are emulated here, and no other program can remove them")
    put(rig.kernel, *STACK, *TUNNEL_STACK)
    bell = Bell()
    rig.kernel.watch(bell.ring)
    bell.rang_within(0.1)
    rig.other_program(Remove(obj, NOT_WANTED))
    assert bell.rang_within(1.0)


def test_without_a_change_the_same_observation_comes_again(rig: Rig) -> None:
    put(rig.kernel, *STACK)
    assert rig.kernel.observe() is rig.kernel.observe()


def test_one_changed_route_leaves_every_other_table_and_shard_the_same_object(rig: Rig) -> None:
    put(rig.kernel, *STACK, *(Route(prefix, RouteType.BLACKHOLE) for prefix in _blocks(50)))
    before = rig.kernel.observe()
    rig.other_program(*puts(FOREIGN))
    after = rig.kernel.observe()
    assert set(after.routes) - set(before.routes) == {FOREIGN}
    shards = before.route_set.shards
    assert [key for key, shard in after.route_set.shards.items() if shard is not shards.get(key)] == [
        shard_of(FOREIGN.prefix)
    ]
    assert all(now is then for now, then in zip(after.tables(), before.tables(), strict=True) if now == then)


def _is_kernels(route: Route) -> bool:
    """True for a route that the kernel makes by itself (RTPROT_KERNEL)."""
    return route.protocol == 2


@pytest.mark.parametrize("change", [*puts(FOREIGN), *removals(BLOCK)])
def test_a_change_without_a_notification_is_found_by_a_resynchronisation_once(rig: Rig, change: Op) -> None:
    if rig.emulates:
        pytest.skip("next-hop objects: without them routes are dumped whenever anything is notified")
    put(rig.kernel, BLOCK)
    before = rig.kernel.observe()
    rig.other_program_unnotified(change)
    assert rig.kernel.observe() == before
    mismatch = rig.kernel.resync()
    assert mismatch
    absent, unknown = ({change.object}, set()) if isinstance(change, Remove) else (set(), {change.object})
    assert (set(mismatch.absent), set(mismatch.unknown)) == (absent, unknown)
    # Link-local routes come when the kernel is done with a link.
    after = {route for route in rig.kernel.observe().routes if route in before.routes or not _is_kernels(route)}
    assert after == (set(before.routes) - absent) | unknown
    assert rig.kernel.resync() is None


def test_after_close_the_watch_is_silent(rig: Rig) -> None:
    bell = Bell()
    rig.kernel.watch(bell.ring)
    rig.kernel.close()
    bell.rang_within(0.0)
    rig.other_program(*puts(BLOCK))
    assert not bell.rang_within(0.2)


@pytest.mark.kernel
@needs_root
def test_without_next_hop_objects_routes_have_all_their_gateways(gateways: LinuxRig) -> None:
    put(gateways.kernel, *STACK, DIRECT, GROUP, GROUP_ROUTE)
    assert output("ip nexthop") == ""
    assert "10.244.2.0/26 via 10.244.2.0 dev vxlan.test proto 179 metric 1024 onlink" in output("ip route")
    assert [line.split()[:4] for line in output("ip route").splitlines() if "nexthop" in line] == [
        ["nexthop", "via", "10.244.2.0", "dev"],
        ["nexthop", "via", "10.0.0.2", "dev"],
    ]
    put(gateways.kernel, GROUP._replace(members=(DIRECT.id,)))
    assert "10.244.5.0/26 via 10.0.0.2 dev eth0" in output("ip route")


@pytest.mark.kernel
@needs_root
@pytest.mark.parametrize("before", [True, False], ids=["by next-hop objects", "by gateways"])
@pytest.mark.usefixtures("linux")
def test_a_successor_of_the_other_kind_takes_over_without_a_gap(*, before: bool) -> None:
    routes = (ROUTE, ROUTE6, GROUP_ROUTE)
    first, second = (LinuxKernel(next_hop_objects=objects) for objects in (before, not before))
    put(first, *STACK, DIRECT, GROUP, GROUP_ROUTE)
    first.close()
    seen = second.observe()
    assert {route.prefix for route in routes} <= {route.prefix for route in seen.owned().routes}
    assert missing(second, *routes) == set(routes)
    with open_socket() as listener:
        for group in (7, 11):  # RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE
            listener.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        put(second, HOP, HOP6, DIRECT, GROUP, *routes)
        assert RTM_DELROUTE not in {message.type for message in heard(listener)}
    assert missing(second, *STACK, DIRECT, GROUP, GROUP_ROUTE) == set()
    assert bool(output("ip nexthop")) is not before
    second.close()


def heard(listener: socket.socket) -> Iterator[Message]:
    """The events until now."""
    while True:
        try:
            yield from messages(listener.recv(1 << 16, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return


@pytest.mark.kernel
@needs_root
def test_a_lost_carrier_silently_takes_next_hops_along_and_the_watch_reports_it(linux: LinuxRig) -> None:
    route = ROUTE._replace(next_hop=DIRECT.id)
    put(linux.kernel, DIRECT, route)
    bell = Bell()
    linux.kernel.watch(bell.ring)
    bell.rang_within(0.1)
    shell("link set far down")
    assert bell.rang_within(1.0)
    # The kernel reports the carrier from a work queue, after a delay.
    wait_until(lambda: missing(linux.kernel, DIRECT, route) == {DIRECT, route})


@pytest.mark.kernel
@needs_root
def test_lost_events_count_as_a_change(linux: LinuxRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgpctl.kernel.watch._RECEIVE_BUFFER_BYTES", 1)  # the kernel's least: a few events
    bell = Bell()
    linux.kernel.watch(bell.ring)
    put(linux.kernel, *(Route(prefix, RouteType.BLACKHOLE) for prefix in _blocks(500)))
    assert bell.rang_within(1.0)


@pytest.mark.kernel
@needs_root
def test_a_refusal_explains_what_is_wrong_and_what_to_do(linux: LinuxRig) -> None:
    orphan = Route(Prefix.parse("10.244.9.0/26"), next_hop=99)
    failures = linux.kernel.apply(puts(VXLAN, replace(VXLAN, name="vxlan.two"), orphan))
    assert [(failure.text, failure.hint) for failure in failures] == [
        (
            "A VXLAN device with the specified VNI already exists",
            "another VXLAN device here has VNI 4096 on port 4789: remove it, or choose others",
        ),
        ("Nexthop id does not exist", "next-hop object 99 does not exist"),
    ]


@pytest.mark.kernel
@needs_root
def test_without_privilege_every_change_is_refused_with_a_hint(linux: LinuxRig) -> None:
    linux.kernel.close()
    os.seteuid(65534)
    try:
        unprivileged = LinuxKernel()
        failures = unprivileged.apply(puts(VXLAN, ADDRESS._replace(link="eth0"), BLOCK, DIRECT, FORWARDING))
        unprivileged.close()
    finally:
        os.seteuid(0)
    assert [failure.hint for failure in failures] == ["run as root or with CAP_NET_ADMIN"] * 5


@pytest.mark.kernel
@needs_root
def test_a_changed_sysctl_is_remembered_with_its_former_value_until_that_is_restored(rig: Rig) -> None:
    before = FORWARDING._replace(value="0")
    rig.other_program(*puts(before))
    put(rig.kernel, before)
    assert rig.kernel.changed_sysctls() == ()
    for _ in range(2):
        put(rig.kernel, FORWARDING)
    assert rig.kernel.changed_sysctls() == (before,)
    remove(rig.kernel, before)
    assert rig.kernel.changed_sysctls() == ()


def test_a_sysctl_outside_net_is_refused(linux: LinuxRig) -> None:
    outside = [Sysctl("kernel/panic", "0"), Sysctl("net/../kernel/panic", "0")]
    assert refusals(linux.kernel.apply(puts(*outside))) == [(name, errno.EINVAL) for name in outside]


@pytest.mark.kernel
@needs_root
def test_doing_it_again_makes_no_event_but_for_next_hops_ipv6_routes_and_fdb_entries(linux: LinuxRig) -> None:
    # Linux 6.1 sends an event for a forwarding entry that is replaced by an equal one; 6.18 does not.
    everything = (VXLAN, ADDRESS, ADDRESS6, NEIGHBOUR, NEIGHBOUR6, BLOCK, FORWARDING, LOOSE)
    put(linux.kernel, *everything)
    # What the first time set going, as duplicate address detection, makes its own events for a while.
    assert any(_is_silent(lambda: put(linux.kernel, *everything)) for _ in range(5))


def _is_silent(act: Callable[[], None]) -> bool:
    """True if the kernel notified nobody of anything meanwhile."""
    with open_socket() as listener:
        for group in range(1, 33):
            listener.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        act()
        try:
            listener.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        return False


def _blocks(count: int) -> list[Prefix]:
    return [Prefix(4, (10 << 24) + (245 << 16) + (number << 6), 26) for number in range(count)]


@pytest.mark.kernel
@needs_root
def test_an_ipv6_address_can_be_used_at_once(linux: LinuxRig) -> None:
    put(linux.kernel, VXLAN6, VTEP6)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.bind((str(VTEP6.address.address), 5006))  # EADDRNOTAVAIL while the link is asked about it


@pytest.mark.kernel
@needs_root
def test_whether_router_advertisements_are_heeded_is_seen_of_links_with_a_global_ipv6_address(linux: LinuxRig) -> None:
    heeding = Sysctl("net/ipv6/conf/eth0/accept_ra", "2")
    put(linux.kernel, heeding)
    fresh = LinuxKernel()
    try:
        seen = {sysctl for sysctl in fresh.observe().sysctls if sysctl.name.endswith("accept_ra")}
    finally:
        fresh.close()
    assert seen == {heeding}


@pytest.mark.kernel
@needs_root
@pytest.mark.parametrize(("heeding", "stays"), [("2", True), ("1", False)])
def test_the_default_route_of_a_router_outlives_the_start_of_forwarding_only_with_accept_ra_2(
    linux: LinuxRig, heeding: str, stays: bool
) -> None:
    sysctl.write(FORWARDING6._replace(value="0"))
    sysctl.write(Sysctl("net/ipv6/conf/eth0/accept_ra", "1"))
    shell("addr add fe80::1/64 dev far nodad")
    advertise("far", "fe80::1")
    deadline = time.monotonic() + DEADLINE_S
    while not (advertised := default_route(linux)):
        assert time.monotonic() < deadline
    put(linux.kernel, Sysctl("net/ipv6/conf/eth0/accept_ra", heeding), FORWARDING6)
    assert default_route(linux) == (advertised if stays else set())


def advertise(link: str, source: str) -> None:
    """A router advertisement (RFC 4861, section 4.2): the sender is a default router for 1800 s."""
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    index = socket.if_nametoindex(link)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.bind((source, 0, 0, index))
        sender.sendto(message, ("ff02::1", 0, 0, index))


def default_route(linux: LinuxRig) -> set[Route]:
    return {route for route in linux.kernel.observe().routes if route.prefix == Prefix.parse("::/0")}


@pytest.mark.kernel
@needs_root
def test_a_kind_of_object_that_the_kernel_does_not_list_is_unanswered() -> None:
    netlink = Netlink()
    with pytest.raises(Unanswered):
        netlink.dump(0x1000, NHMSG.pack(0, 0, 0, 0))
    netlink.close()
