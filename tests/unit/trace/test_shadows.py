"""Foreign routes and rules that take packets away from ours: in words, and with the command that mends it."""

from __future__ import annotations

import pytest

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane, surroundings
from bgpctl.core.net.objects import KernelObject, Link, Plain, Route, RouteType, Rule, RuleAction
from bgpctl.core.simulate.preview import assumed_kernel, converged
from bgpctl.core.trace.shadows import Shadow, Suspects, shadows, suspects
from tests.cluster import member, two_racks, with_ipv6

INTENT = with_ipv6(two_racks(ipip=Mode.CROSS_SUBNET), vxlan=Mode.ALWAYS)
NODE = member(INTENT, "a1")
KERNEL = converged(INTENT, NODE, assumed_kernel(NODE))
POOLS = tuple(pool.cidr for pool in INTENT.pools)
B1, SIX = Prefix.parse("10.244.3.0/26"), Prefix.parse("fd00:10:244::340/122")
ROUTER = Address.parse("10.0.0.254")
BY_TABLE = "0.0.0.0/0 via 10.0.0.254 dev eth0 metric 0"
WORKLOAD = Link("cali1", Plain("veth"), 1500, owned=False, workload=True)
USUAL = (Rule(4, 0, 255), Rule(4, 32766), Rule(4, 32767, 253), Rule(6, 0, 255), Rule(6, 32766))


def route(prefix: Prefix | str, kind: RouteType = RouteType.UNICAST, metric: int = 0, table: int = 254) -> Route:
    where = Prefix.parse(prefix) if isinstance(prefix, str) else prefix
    if kind is not RouteType.UNICAST:
        return Route(where, kind, metric=metric, table=table, protocol=3)
    gateway = ROUTER if where.version == 4 else Address.parse("fd00:10:a::fe")
    return Route(where, gateway=gateway, link="eth0", metric=metric, table=table, protocol=3)


def found(*objects: KernelObject, rules: tuple[Rule, ...] = ()) -> tuple[Shadow, ...]:
    kernel = Dataplane.of((*KERNEL, *objects), (*USUAL, *rules))
    return shadows(among(kernel), kernel.owned())


def among(kernel: Dataplane) -> Suspects:
    return suspects(surroundings(kernel).foreign, POOLS, INTENT.blocks_of(NODE))


@pytest.mark.parametrize(
    ("objects", "rules", "text", "remedy"),
    [
        (
            [route(B1)],
            (),
            f"packets to {B1} do not take our route: the route {B1} via 10.0.0.254 dev eth0 metric 0 comes first",
            f"ip route del {B1} proto 3 metric 0",
        ),
        (
            [route("10.244.3.7/32", RouteType.BLACKHOLE, 9999)],
            (),
            "packets to 10.244.3.7/32 do not take our route: the route blackhole 10.244.3.7/32 metric 9999 comes first",
            "ip route del 10.244.3.7/32 proto 3 metric 9999",
        ),
        (
            [route(SIX, RouteType.UNREACHABLE, 1)],
            (),
            f"packets to {SIX} do not take our route: the route unreachable {SIX} metric 1 comes first",
            f"ip -6 route del {SIX} proto 3 metric 1",
        ),
        (
            [route("0.0.0.0/0", table=100)],
            (Rule(4, 100, 100, destination=B1),),
            f"packets to {B1} do not take our route: the route {BY_TABLE} of table 100 by rule 100 comes first",
            "ip rule show",
        ),
        (
            [],
            (Rule(4, 100, action=RuleAction.PROHIBIT, destination=B1),),
            f"packets to {B1} do not take our route: rule 100 ends them",
            "ip rule show",
        ),
    ],
)
def test_it_is_named_with_the_command(objects: list[Route], rules: tuple[Rule, ...], text: str, remedy: str) -> None:
    assert [(shadow.text, shadow.remedy) for shadow in found(*objects, rules=rules)] == [(text, remedy)]


def test_a_rule_for_all_takes_the_packets_of_every_pool_and_path() -> None:
    prefixes = {shadow.prefix for shadow in found(route("0.0.0.0/0", table=100), rules=(Rule(4, 100, 100),))}
    assert prefixes == {Prefix.parse(f"10.244.{number}.0/26") for number in (2, 3, 4)}


@pytest.mark.parametrize(
    ("objects", "rules"),
    [
        ([], ()),
        ([route(B1, metric=4096)], ()),
        ([route("10.244.0.0/16")], ()),
        ([route("10.244.1.7/32", RouteType.BLACKHOLE)], ()),  # in an own block: a workload's place
        ([WORKLOAD, Route(Prefix.parse("10.244.3.7/32"), link="cali1", metric=0, protocol=3)], ()),
        # wg-quick(8): main first without its default route, then all that is not marked by the tunnel's table.
        (
            [route("0.0.0.0/0", table=51820)],
            (Rule(4, 100, suppress_prefixlength=0), Rule(4, 101, 51820, selector="fwmark 0xca6c", inverted=True)),
        ),
        ([route("0.0.0.0/0", table=100)], (Rule(4, 100, 100, selector="fwmark 0x1"),)),
        ([route("0.0.0.0/0", table=100)], (Rule(4, 100, 100, selector="from 10.9.0.0/16"),)),
    ],
)
def test_the_rest_is_in_nothings_place(objects: list[KernelObject], rules: tuple[Rule, ...]) -> None:
    assert found(*objects, rules=rules) == ()


def test_a_route_that_leads_where_ours_does_is_none() -> None:
    (ours,) = (hop for hop in KERNEL.next_hops if hop.gateway == Address.parse("10.1.0.3"))
    assert found(Route(B1, gateway=ours.gateway, link=ours.link, metric=0, protocol=3)) == ()


def test_packets_from_our_block_are_meant() -> None:
    rule = Rule(4, 100, 100, selector="from 10.244.1.0/26")
    assert len(found(route("0.0.0.0/0", table=100), rules=(rule,))) == 3


def test_without_the_main_rule_no_packet_finds_our_route() -> None:
    kernel = Dataplane.of(KERNEL, (Rule(4, 0, 255), Rule(4, 32767, 253)))
    assert {shadow.by for shadow in shadows(among(kernel), kernel.owned())} == {None}


def test_what_is_foreign_is_gone_through_once() -> None:
    kernel = Dataplane.of((*KERNEL, route(B1)), USUAL)
    seen = surroundings(kernel)
    first = suspects(seen.foreign, POOLS, INTENT.blocks_of(NODE))
    after = surroundings(kernel.drop(kernel.owned().routes), seen)
    assert suspects(after.foreign, POOLS, INTENT.blocks_of(NODE), first) is first
