"""BGPFilter rules: what each condition matches, and what an accepting rule changes."""

from dataclasses import replace

import pytest

from bgpctl.core.bgp.filters import Match, Subject, local_pref, matches, on_export, on_import, operated
from bgpctl.core.bgp.path import Attributes
from bgpctl.core.cluster.configuration import Filter, FilterRule, MatchOperator
from bgpctl.core.net.addresses import Asn, Prefix

BLOCK = Prefix.parse("10.244.2.0/26")
SUBJECT = Subject(
    BLOCK,
    Attributes(as_path=(Asn(65001), Asn(65002)), communities=((65001, 7), (65001, 1, 2)), local_pref=local_pref(512)),
    learned=True,
    external=True,
    link="eth0",
)


def within(cidr: str, operator: MatchOperator, length: tuple[int, int] | None = None) -> FilterRule:
    return FilterRule(accept=True, cidr=Prefix.parse(cidr), operator=operator, length=length)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FilterRule(accept=True), True),
        (within("10.244.0.0/16", MatchOperator.IN), True),
        (within("10.244.2.0/26", MatchOperator.IN), True),
        (within("10.245.0.0/16", MatchOperator.IN), False),
        (within("10.244.0.0/16", MatchOperator.IN, (24, 26)), True),
        (within("10.244.0.0/16", MatchOperator.IN, (27, 32)), False),
        (within("10.244.0.0/16", MatchOperator.NOT_IN), False),
        (within("10.244.0.0/16", MatchOperator.NOT_IN, (27, 32)), True),
        (within("10.244.2.0/26", MatchOperator.EQUAL), True),
        (within("10.244.0.0/16", MatchOperator.EQUAL), False),
        (within("10.244.0.0/16", MatchOperator.NOT_EQUAL), True),
        (within("10.244.2.0/26", MatchOperator.NOT_EQUAL), False),
        (FilterRule(accept=True, from_peers=True), True),
        (FilterRule(accept=True, interface="eth*"), True),
        (FilterRule(accept=True, interface="tunl0"), False),
        (FilterRule(accept=True, external=True), True),
        (FilterRule(accept=True, external=False), False),
        (FilterRule(accept=True, community=(65001, 7)), True),
        (FilterRule(accept=True, community=(65001, 1, 2)), True),
        (FilterRule(accept=True, community=(65001, 8)), False),
        (FilterRule(accept=True, as_path=(Asn(65001),)), True),
        (FilterRule(accept=True, as_path=(Asn(65002),)), False),
        (FilterRule(accept=True, priority=512), True),
        (FilterRule(accept=True, priority=1024), False),
        (FilterRule(accept=True, community=(65001, 7), external=False), False),
    ],
)
def test_a_rule_matches_when_all_its_conditions_hold(rule: FilterRule, *, expected: bool) -> None:
    assert matches(rule, SUBJECT) is expected


def test_a_route_made_here_has_normal_priority_and_no_peer() -> None:
    own = replace(SUBJECT, attributes=Attributes(), learned=False, link=None)
    assert matches(FilterRule(accept=True, priority=1024), own)
    assert not matches(FilterRule(accept=True, from_peers=True), own)
    assert not matches(FilterRule(accept=True, interface="*"), own)


def test_the_first_rule_that_matches_decides_across_filters_in_their_order() -> None:
    miss, hit, late = FilterRule(accept=True, external=False), FilterRule(accept=False), FilterRule(accept=True)
    filters = (Filter("one", import4=(miss,)), Filter("two", import4=(hit,)), Filter("three", import4=(late,)))
    assert on_import(filters, SUBJECT) == Match("two", hit)
    assert on_export(filters, SUBJECT) is None


def test_each_ip_version_has_its_own_rules() -> None:
    rule = FilterRule(accept=True)
    filters = (Filter("six", import6=(rule,), export6=(rule,)),)
    six = replace(SUBJECT, prefix=Prefix.parse("fd00::/64"))
    assert on_import(filters, SUBJECT) is None
    assert on_import(filters, six) == on_export(filters, six) == Match("six", rule)


def test_an_accepting_rule_adds_prepends_and_sets() -> None:
    rule = FilterRule(accept=True, add_communities=((65001, 7), (65001, 9)), prepend=(Asn(1), Asn(2)), set_priority=100)
    after = operated(rule, SUBJECT.attributes)
    assert after.communities == ((65001, 7), (65001, 1, 2), (65001, 9))
    assert after.as_path == (1, 2, 65001, 65002)
    assert after.local_pref == local_pref(100)
