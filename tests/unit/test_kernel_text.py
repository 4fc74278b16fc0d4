"""Kernel state as text loses nothing, and a difference shows as one."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix, Vni
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
    RouteType,
    Rule,
    Sysctl,
    WorkloadFilter,
)
from tests.cluster import bare_kernel, member, two_racks
from tests.kernel_text import assert_has, assert_same, kernel_text, object_line

ONE, TWO = Address.parse("10.0.0.1"), Address.parse("10.0.0.2")
MAC, OTHER_MAC = Mac("66:00:00:00:00:01"), Mac("66:00:00:00:00:02")
BLOCK, OTHER_BLOCK = Prefix.parse("10.244.1.0/26"), Prefix.parse("10.244.2.0/26")
VXLAN = Vxlan(Vni(4096), 4789, ONE, "eth0")

OBJECTS: list[tuple[KernelObject, dict[str, Any]]] = [
    (Sysctl("net/ipv4/ip_forward", "1"), {"name": "net/ipv6/x", "value": "0"}),
    (
        Link("a", Ipip(), 1480),
        {
            "name": "b",
            "kind": Plain("ipip"),
            "mtu_bytes": 1450,
            "mac": MAC,
            "up": False,
            "owned": False,
            "workload": True,
        },
    ),
    (LinkAddress("a", InterfaceAddress(ONE, 32)), {"link": "b", "address": InterfaceAddress(ONE, 24), "protocol": 179}),
    (
        Decap("a", "eth0", ONE, (TWO,)),
        {"link": "b", "underlay": "eth1", "local": TWO, "sources": (ONE, TWO), "also": (TWO,)},
    ),
    (
        Masquerade((BLOCK,), (OTHER_BLOCK,), (1, 2), (), "eth0", ONE),
        {
            "sources": (OTHER_BLOCK,),
            "inside": (BLOCK,),
            "udp_ports": (1, 3),
            "bgp_ports": (179,),
            "link": "eth1",
            "address": TWO,
        },
    ),
    (
        WorkloadFilter((BLOCK,), (OTHER_BLOCK,), (1, 2), 179),
        {
            "inside": (OTHER_BLOCK,),
            "masqueraded": (BLOCK,),
            "udp_ports": (1,),
            "bgp_port": 180,
            "neighbours": (ONE,),
            "channel_port": 9179,
        },
    ),
    (FdbEntry("a", MAC, ONE), {"link": "b", "mac": OTHER_MAC, "remote": TWO}),
    (Neighbour("a", ONE, MAC), {"link": "b", "address": TWO, "mac": OTHER_MAC}),
    (
        NextHop(1, "a", ONE, onlink=True),
        {"id": 2, "link": "b", "gateway": None, "onlink": False, "protocol": 4},
    ),
    (NextHopGroup(1, (2, 3)), {"id": 4, "members": (2,), "protocol": 4}),
    (
        Route(BLOCK),
        {
            "prefix": OTHER_BLOCK,
            "type": RouteType.BLACKHOLE,
            "next_hop": 7,
            "gateway": ONE,
            "link": "a",
            "metric": 0,
            "table": 100,
            "protocol": 4,
            "mtu_bytes": 1400,
        },
    ),
]
CASES = [(obj, name, value) for obj, others in OBJECTS for name, value in others.items()]


def names(obj: KernelObject) -> set[str]:
    return {field.name for field in fields(obj)} if isinstance(obj, Link) else set(obj._fields)


def changed(obj: KernelObject, name: str, value: Any) -> KernelObject:
    return replace(obj, **{name: value}) if isinstance(obj, Link) else obj._replace(**{name: value})


@pytest.mark.parametrize(("obj", "name", "value"), CASES, ids=[f"{type(t).__name__}.{name}" for t, name, _ in CASES])
def test_another_value_of_any_field_makes_another_line(obj: KernelObject, name: str, value: object) -> None:
    assert object_line(changed(obj, name, value)) != object_line(obj)


@pytest.mark.parametrize(("obj", "others"), OBJECTS, ids=[type(obj).__name__ for obj, _ in OBJECTS])
def test_every_field_is_changed_above(obj: KernelObject, others: dict[str, Any]) -> None:
    assert set(others) == names(obj)


@pytest.mark.parametrize(
    "other",
    [
        replace(VXLAN, vni=Vni(1)),
        replace(VXLAN, port=1),
        replace(VXLAN, local=TWO),
        replace(VXLAN, underlay="b"),
        replace(VXLAN, df=2),
    ],
)
def test_every_field_of_a_vxlan_device_is_in_its_line(other: Vxlan) -> None:
    assert object_line(Link("a", other, 1450)) != object_line(Link("a", VXLAN, 1450))


def test_kernel_text_has_a_line_for_each_object_as_ip_would_name_it() -> None:
    assert kernel_text(bare_kernel(member(two_racks(ipip=Mode.ALWAYS), "a1"))) == (
        "address 10.0.0.1/24 dev eth0\n"
        "link eth0 type veth (plain) mtu 1500 up foreign\n"
        "route 0.0.0.0/0 via 10.0.0.254 dev eth0 proto 4 metric 0 table 254\n"
        "route 10.0.0.0/24 dev eth0 proto 2 metric 0 table 254\n"
    )


def test_a_difference_is_shown_as_a_unified_diff() -> None:
    expected = bare_kernel(member(two_racks(), "a1"))
    with pytest.raises(AssertionError) as failed:
        assert_same(expected.drop(expected.addresses), expected)
    assert str(failed.value).splitlines()[:4] == [
        "--- expected",
        "+++ actual",
        "@@ -1,2 +1 @@",
        "-address 10.0.0.1/24 dev eth0",
    ]


def test_rules_count_where_whole_dataplanes_are_compared() -> None:
    expected = bare_kernel(member(two_racks(), "a1"))
    with pytest.raises(AssertionError, match="priority 100"):
        assert_same(replace(expected, rules=frozenset({Rule(4, 100)})), expected)


def test_missing_objects_are_shown_and_additional_ones_are_not() -> None:
    kernel = bare_kernel(member(two_racks(), "a1"))
    assert_has(kernel, kernel.links)
    with pytest.raises(AssertionError) as failed:
        assert_has(kernel.links, kernel.addresses)
    assert str(failed.value).splitlines()[3:] == ["-address 10.0.0.1/24 dev eth0"]
