"""The dataplane as a value: what is added, dropped, compared and owned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix, Vni
from bgpctl.core.net.dataplane import Dataplane, DataplaneBuilder
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    KernelObject,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    Rule,
    Sysctl,
)

FOREIGN = 4
ETH0 = Link("eth0", Plain("veth"), 1500, owned=False)
VXLAN = Link("vx", Vxlan(Vni(4096), 4789, Address.parse("10.0.0.1"), "eth0"), 1450)
SYSCTL = Sysctl("net/ipv4/conf/vx/rp_filter", "2")
ADDRESS = LinkAddress("vx", InterfaceAddress.parse("10.244.1.0/32"))
DECAP = Decap("tunl0", "eth0", Address.parse("10.0.0.1"), ())
MASQUERADE = Masquerade((Prefix.parse("10.244.0.0/16"),), (), (4790, 65535))
FDB = FdbEntry("vx", Mac("66:00:00:00:00:02"), Address.parse("10.0.0.2"))
NEIGHBOUR = Neighbour("vx", Address.parse("10.244.2.0"), Mac("66:00:00:00:00:02"))
HOP = NextHop(1, "vx", Address.parse("10.244.2.0"), onlink=True)
GROUP = NextHopGroup(9, (1,))
ROUTE = Route(Prefix.parse("10.244.2.0/26"), next_hop=1)
OURS: tuple[KernelObject, ...] = (VXLAN, ADDRESS, DECAP, MASQUERADE, FDB, NEIGHBOUR, HOP, GROUP, ROUTE)
OTHERS: tuple[KernelObject, ...] = (
    ETH0,
    LinkAddress("eth0", InterfaceAddress.parse("10.0.0.1/24")),
    NEIGHBOUR._replace(link="eth0"),
    HOP._replace(id=7, protocol=FOREIGN),
    GROUP._replace(id=8, protocol=FOREIGN),
    ROUTE._replace(metric=7, protocol=FOREIGN),
)
FULL = Dataplane.of((*OURS, *OTHERS, SYSCTL))


def test_objects_come_in_the_order_of_addition_and_are_counted() -> None:
    whole = Dataplane.of(reversed((VXLAN, SYSCTL, *OURS[1:])), rules=(Rule(4, 0),))
    assert tuple(whole) == (VXLAN, SYSCTL, *OURS[1:])
    assert whole.size == 10
    assert whole.rules == {Rule(4, 0)}


def test_an_object_is_in_a_dataplane_only_exactly_as_it_is() -> None:
    assert ROUTE in FULL
    assert ROUTE._replace(next_hop=2) not in FULL


def test_a_put_replaces_the_object_with_its_key_and_a_drop_removes_it() -> None:
    moved = ROUTE._replace(next_hop=9)
    assert FULL.put((moved,)) == FULL.minus(Dataplane.of((ROUTE,))).put((moved,))
    assert FULL.put((moved,)).size == FULL.size
    assert FULL.drop((moved,)) == Dataplane.of(obj for obj in FULL if obj != ROUTE)


def test_of_two_routes_with_one_key_a_put_leaves_none_and_a_discard_the_other() -> None:
    appended = ROUTE._replace(next_hop=9)
    both = Dataplane.of((ROUTE, appended))
    assert both.size == 2
    assert both.put((ROUTE,)) == Dataplane.of((ROUTE,))
    assert both.drop((ROUTE,)) == Dataplane()
    builder = DataplaneBuilder(both)
    builder.discard((ROUTE,))
    assert builder.built() == Dataplane.of((appended,))


def test_nothing_put_or_dropped_is_the_same_value() -> None:
    assert FULL.put(()) is FULL
    assert FULL.drop((replace(VXLAN, name="absent"),)) is FULL


def test_our_objects_are_marked_or_stand_on_a_marked_link() -> None:
    assert FULL.owned() == Dataplane.of(OURS)
    part = Dataplane.of((ADDRESS, ROUTE))
    assert part.owned() == Dataplane.of((ROUTE,))
    assert part.owned(FULL.links) == part


def test_objects_on_a_link_go_with_it_but_not_routes_by_it() -> None:
    assert FULL.on_links({"vx"}) == Dataplane.of((VXLAN, SYSCTL, ADDRESS, FDB, NEIGHBOUR))


@pytest.mark.parametrize("other", [Dataplane(), FULL, Dataplane.of(OURS), Dataplane.of((ROUTE._replace(next_hop=3),))])
def test_a_comparison_is_both_differences_whatever_was_compared_before(other: Dataplane) -> None:
    found = FULL.compared(other)
    assert set(found.missing) == set(FULL) - set(other)
    assert set(found.extra) == set(other) - set(FULL)
    assert (found.missing, found.extra) == (FULL.minus(other), other.minus(FULL))
    for earlier in (FULL.compared(FULL), FULL.compared(Dataplane()), other.compared(FULL), found):
        assert FULL.compared(other, earlier) == found


def test_keys_are_compared_apart_from_values() -> None:
    other = Dataplane.of((ROUTE._replace(next_hop=3), HOP))
    assert Dataplane.of((ROUTE, HOP, GROUP)).without_keys_of(other) == Dataplane.of((GROUP,))


def test_values_derived_from_a_table_are_recomputed_once_it_changes() -> None:
    builder = DataplaneBuilder(FULL)
    seen = []

    def count(routes: object) -> int:
        seen.append(len(list(routes)))  # type: ignore[call-overload]
        return seen[-1]

    assert [builder.derived(Route, count) for _ in range(2)] == [2, 2]
    builder.put(HOP._replace(id=3))
    assert builder.derived(Route, count) == 2
    builder.drop((ROUTE,))
    assert builder.derived(Route, count) == 1
    assert seen == [2, 1]
