"""The FIB by literals: rules in order, tables, longest prefixes, next hops. The contract tests ask the kernel."""

from __future__ import annotations

import pytest

from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import Fib, ResolvedNextHop, foreign_fib
from bgpctl.core.net.objects import (
    PROTOCOL,
    KernelObject,
    Link,
    LinkAddress,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    RouteType,
    Rule,
    RuleAction,
)

FAR = Address.parse("192.0.2.1")
GATEWAY = Address.parse("10.0.0.254")
LOCAL, MAIN, VPN = 255, 254, 77


def route(prefix: str, *, table: int = MAIN, metric: int = 0, kind: RouteType = RouteType.UNICAST) -> Route:
    unicast = kind is RouteType.UNICAST
    link, gateway = ("eth0", GATEWAY) if unicast else (None, None)
    return Route(Prefix.parse(prefix), kind, 0, gateway, link, metric, table, protocol=4)


DEFAULT = route("0.0.0.0/0")
ETH0 = Link("eth0", Plain(""), 1500, owned=False)
OWN = LinkAddress("eth0", InterfaceAddress.parse("10.0.0.1/24"))
RULES = (Rule(4, 0, LOCAL), Rule(4, 32766, MAIN))


def found(*objects: KernelObject, rules: tuple[Rule, ...] = (), to: Address = FAR) -> tuple[RouteType, Route | None]:
    answer = Fib(Dataplane.of(objects, rules)).lookup(to)
    return answer.type, answer.route


def test_the_longest_prefix_wins_and_then_the_lowest_metric() -> None:
    best = route("192.0.2.0/24", metric=10)
    assert found(DEFAULT, route("192.0.2.0/24", metric=20), best, route("192.0.0.0/16")) == (RouteType.UNICAST, best)


def test_without_a_match_the_destination_is_unreachable() -> None:
    assert found(route("198.51.100.0/24")) == (RouteType.UNREACHABLE, None)


@pytest.mark.parametrize("kind", [RouteType.BLACKHOLE, RouteType.UNREACHABLE, RouteType.PROHIBIT])
def test_an_error_route_ends_the_lookup(kind: RouteType) -> None:
    refusing = route("192.0.2.0/24", kind=kind)
    assert found(DEFAULT, refusing) == (kind, refusing)


def test_a_throw_goes_on_with_the_next_rule_and_not_with_a_shorter_prefix() -> None:
    thrown = (route("192.0.2.0/24", table=VPN, kind=RouteType.THROW), route("0.0.0.0/0", table=VPN))
    assert found(*thrown, DEFAULT, rules=(Rule(4, 10, VPN), *RULES)) == (RouteType.UNICAST, DEFAULT)
    assert found(*thrown, rules=(Rule(4, 10, VPN), *RULES)) == (RouteType.UNREACHABLE, None)


def test_without_rules_the_table_named_default_comes_last_and_for_ipv4_only() -> None:
    last = route("0.0.0.0/0", table=253)
    assert found(last) == (RouteType.UNICAST, last)
    assert found(route("::/0", table=253), to=Address.parse("2001:db8::1")) == (RouteType.UNREACHABLE, None)


def test_rules_are_consulted_by_priority_and_then_in_the_order_of_addition() -> None:
    vpn, other = route("0.0.0.0/0", table=VPN), route("0.0.0.0/0", table=78)
    rules = (*RULES, Rule(4, 10, 78, place=1), Rule(4, 10, VPN))
    assert found(DEFAULT, vpn, other, rules=rules) == (RouteType.UNICAST, vpn)


def test_a_rule_for_other_destinations_does_not_match_unless_it_is_inverted() -> None:
    vpn = route("0.0.0.0/0", table=VPN)
    rule = Rule(4, 10, VPN, destination=Prefix.parse("198.51.100.0/24"))
    assert found(DEFAULT, vpn, rules=(rule, *RULES)) == (RouteType.UNICAST, DEFAULT)
    assert found(DEFAULT, vpn, rules=(rule._replace(inverted=True), *RULES)) == (RouteType.UNICAST, vpn)


def test_the_answer_names_the_rules_that_choose_packets_by_more_than_their_destination() -> None:
    vpn = route("0.0.0.0/0", table=VPN)
    marked = Rule(4, 10, VPN, selector="fwmark 0x7")
    unmarked = Rule(4, 20, VPN, selector="fwmark 0x8", inverted=True)
    fib = Fib(Dataplane.of((DEFAULT, vpn), (marked, unmarked, *RULES)))
    assert fib.lookup(FAR) == (RouteType.UNICAST, vpn, unmarked, (marked, unmarked))
    assert Fib(Dataplane.of((DEFAULT,))).lookup(FAR).conditional == ()


def test_a_rule_can_suppress_a_default_route_but_no_blackhole() -> None:
    suppressing = Rule(4, 10, MAIN, suppress_prefixlength=0)
    vpn = route("0.0.0.0/0", table=VPN)
    rules = (suppressing, Rule(4, 20, VPN), *RULES)
    assert found(DEFAULT, vpn, rules=rules) == (RouteType.UNICAST, vpn)
    specific = route("192.0.2.0/24")
    assert found(DEFAULT, specific, vpn, rules=rules) == (RouteType.UNICAST, specific)
    blackhole = route("0.0.0.0/0", kind=RouteType.BLACKHOLE)
    assert found(blackhole, vpn, rules=rules) == (RouteType.BLACKHOLE, blackhole)


def test_a_rule_can_refuse_jump_and_do_nothing() -> None:
    refusing = Rule(4, 20, action=RuleAction.PROHIBIT)
    assert found(DEFAULT, rules=(refusing, *RULES)) == (RouteType.PROHIBIT, None)
    assert found(DEFAULT, rules=(Rule(4, 15, action=RuleAction.NOP), refusing, *RULES)) == (RouteType.PROHIBIT, None)
    jump = Rule(4, 10, action=RuleAction.GOTO, goto=32766)
    assert found(DEFAULT, rules=(jump, refusing, *RULES)) == (RouteType.UNICAST, DEFAULT)
    assert found(DEFAULT, rules=(jump._replace(goto=11), refusing, *RULES)) == (RouteType.PROHIBIT, None)


@pytest.mark.parametrize(
    ("to", "kind"),
    [("10.0.0.1", RouteType.LOCAL), ("10.0.0.255", RouteType.BROADCAST), ("10.0.0.9", RouteType.UNICAST)],
)
def test_an_own_address_is_local_and_the_last_of_its_network_is_broadcast(to: str, kind: RouteType) -> None:
    assert found(ETH0, OWN, DEFAULT, to=Address.parse(to))[0] is kind


def test_next_hop_objects_and_groups_are_resolved_to_a_link_and_a_gateway() -> None:
    hop = NextHop(1, "eth1", Address.parse("10.0.1.254"), onlink=False)
    by_hop, by_group = Route(DEFAULT.prefix, next_hop=1), Route(DEFAULT.prefix, next_hop=9)
    fib = Fib(Dataplane.of((hop, NextHopGroup(9, (1, 2)))))
    assert fib.resolve(by_hop, FAR) == fib.resolve(by_group, FAR) == ("eth1", Address.parse("10.0.1.254"))
    assert fib.resolve(route("192.0.2.0/24")._replace(gateway=None), FAR) == ResolvedNextHop("eth0", FAR)
    assert fib.resolve(Route(DEFAULT.prefix, next_hop=3), FAR) is None


def test_our_routes_are_not_in_a_foreign_fib() -> None:
    ours = route("192.0.2.0/24")._replace(protocol=PROTOCOL)
    plane = Dataplane.of((ours, DEFAULT))
    assert Fib(plane).in_table(MAIN, FAR) == ours
    assert foreign_fib(plane).in_table(MAIN, FAR) == DEFAULT
    assert list(foreign_fib(plane).matches(MAIN, FAR)) == [DEFAULT]
