"""The kernel model, effect by effect. The contract tests compare the same effects with the running kernel."""

import errno
from dataclasses import replace

import pytest

from bgpctl.core.dataplane.effects import KernelError, Put, Remove, after
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Mac,
    Prefix,
    Vni,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    FdbEntry,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    Sysctl,
    link_of_sysctl,
)
from tests.kernel_text import assert_same

ETH0 = Link("eth0", Plain("veth"), 1500, owned=False)
VXLAN = Link("vx", Vxlan(Vni(4096), 4789, Address.parse("10.0.0.1"), "eth0"), 1450, Mac("66:00:00:00:00:01"))
ADDRESS = LinkAddress("vx", InterfaceAddress.parse("10.244.1.0/32"))
NEIGHBOUR = Neighbour("vx", Address.parse("10.244.2.0"), Mac("66:00:00:00:00:02"))
FDB = FdbEntry("vx", Mac("66:00:00:00:00:02"), Address.parse("10.0.0.2"))
HOP = NextHop(1, "vx", Address.parse("10.244.2.0"), onlink=True)
OTHER_HOP = HOP._replace(id=2, link="eth0")
GROUP = NextHopGroup(9, (1, 2))
GROUP_ROUTE = Route(Prefix.parse("10.244.9.0/26"), next_hop=9)
ROUTE = Route(Prefix.parse("10.244.2.0/26"), next_hop=1)
FULL = Dataplane.of((ETH0, VXLAN, ADDRESS, FDB, NEIGHBOUR, HOP, ROUTE))


def put(dataplane: Dataplane, obj: object) -> Dataplane:
    return after(dataplane, Put(obj, NOT_WANTED))  # type: ignore[arg-type]


def remove(dataplane: Dataplane, obj: object) -> Dataplane:
    return after(dataplane, Remove(obj, NOT_WANTED))  # type: ignore[arg-type]


def test_a_removed_link_takes_everything_on_it_along() -> None:
    assert_same(remove(FULL, VXLAN), (ETH0,))


def test_a_link_taken_down_loses_next_hops_routes_and_neighbours_but_not_addresses_and_fdb() -> None:
    down = put(FULL, replace(VXLAN, up=False))
    assert_same(down, (ETH0, replace(VXLAN, up=False), ADDRESS, FDB))


def test_a_changed_mac_loses_the_neighbours() -> None:
    assert put(FULL, replace(VXLAN, mac=Mac("66:00:00:00:00:09"))).neighbours == frozenset()


def test_a_removed_next_hop_takes_its_routes_along() -> None:
    assert remove(FULL, HOP).routes == frozenset()


def test_a_replaced_next_hop_keeps_its_routes() -> None:
    assert put(FULL, HOP._replace(link="eth0", gateway=Address.parse("10.0.0.2"))).routes == {ROUTE}


def test_another_metric_is_a_second_route() -> None:
    assert len(put(FULL, ROUTE._replace(metric=7)).routes) == 2


def test_removing_an_absent_object_changes_nothing() -> None:
    bare = Dataplane.of((ETH0,))
    for obj in (VXLAN, ADDRESS, NEIGHBOUR, FDB, HOP, ROUTE):
        assert_same(remove(bare, obj), bare)


@pytest.mark.parametrize(
    ("start", "obj", "code"),
    [
        (Dataplane(), ADDRESS, errno.ENODEV),
        (Dataplane(), VXLAN, errno.ENODEV),
        (FULL, replace(VXLAN, kind=Vxlan(Vni(4097), 4789, Address.parse("10.0.0.1"), "eth0")), errno.EOPNOTSUPP),
        (FULL, replace(VXLAN, name="vx2"), errno.EEXIST),
        (FULL, FDB._replace(link="eth0"), errno.EOPNOTSUPP),
        (FULL, ROUTE._replace(next_hop=99), errno.EINVAL),
        (FULL.put((replace(VXLAN, up=False),)), HOP, errno.ENETDOWN),
        (FULL, Sysctl("net/ipv4/conf/absent/rp_filter", "2"), errno.ENOENT),
    ],
)
def test_each_refusal_has_its_errno(start: Dataplane, obj: object, code: int) -> None:
    with pytest.raises(KernelError) as refused:
        put(start, obj)
    assert refused.value.errno == code


def test_only_per_link_sysctls_belong_to_a_link() -> None:
    assert link_of_sysctl("net/ipv4/conf/vxlan.bgpctl/rp_filter") == "vxlan.bgpctl"
    assert link_of_sysctl("net/ipv4/conf/all/rp_filter") is None
    assert link_of_sysctl("net/ipv4/ip_forward") is None


def test_a_link_that_goes_leaves_the_groups_of_its_next_hops_with_the_others() -> None:
    grouped = put(put(put(FULL, OTHER_HOP), GROUP), GROUP_ROUTE)
    down = put(grouped, replace(VXLAN, up=False))
    assert (down.groups, down.routes) == ({GROUP._replace(members=(2,))}, {GROUP_ROUTE})


def test_a_group_without_members_is_gone_with_its_routes() -> None:
    grouped = put(put(FULL, GROUP._replace(members=(1,))), GROUP_ROUTE)
    assert_same(remove(grouped, HOP), FULL.drop((HOP, ROUTE)))
