"""Longest match, and how far a next hop is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.objects import PROTOCOL, LinkAddress, Route, RouteType
from tests.cluster import bare_kernel, member, two_racks

KERNEL = bare_kernel(member(two_racks(), "a1"))


def small(version: int, bits: int, length: int) -> Prefix:
    """A prefix among the last 256 addresses of an IP version, so that many cover each other."""
    whole = {4: 24, 6: 120}[version]
    return Prefix(version, bits >> (8 - length) << (8 - length), whole + length)


prefixes = st.builds(small, st.sampled_from([4, 6]), st.integers(0, 255), st.integers(0, 8))


@given(st.lists(prefixes, max_size=12), prefixes)
def test_the_longest_match_is_the_most_specific_prefix_that_covers(entries: list[Prefix], wanted: Prefix) -> None:
    covering = [entry for entry in entries if entry.covers(wanted)]
    expected = max(covering, key=lambda entry: entry.length, default=None)
    assert LongestMatch((entry, entry) for entry in entries).covering(wanted) == expected


@pytest.mark.parametrize(("next_hop", "cost"), [("10.0.0.2", 0), ("10.1.0.4", 1), ("fd00::1", None)])
def test_a_connected_next_hop_is_nearer_than_a_routed_one(next_hop: str, cost: int | None) -> None:
    assert NextHopCosts(KERNEL).cost(Address.parse(next_hop)) == cost


@pytest.mark.parametrize("next_hop", ["10.0.0.1", "10.0.0.66", "10.0.0.255", "127.0.0.1", "fd00::66"])
def test_an_address_of_this_node_and_a_broadcast_address_are_no_next_hops(next_hop: str) -> None:
    more = (("eth0", "10.0.0.66/24"), ("eth0", "fd00::66/64"), ("lo", "127.0.0.1/8"))
    addresses = [LinkAddress(link, InterfaceAddress.parse(text)) for link, text in more]
    assert NextHopCosts(KERNEL.put(addresses)).cost(Address.parse(next_hop)) is None


def with_route(route: Route) -> Dataplane:
    return KERNEL.put((route,))


def test_our_own_routes_resolve_nothing_and_an_unreachable_route_resolves_to_nothing() -> None:
    remote = Prefix.parse("10.1.0.0/24")
    dead = Route(remote, RouteType.UNREACHABLE, metric=0, protocol=4)
    assert NextHopCosts(with_route(dead)).cost(Address.parse("10.1.0.4")) is None
    assert NextHopCosts(with_route(dead._replace(protocol=PROTOCOL))).cost(Address.parse("10.1.0.4")) == 1


def test_the_lower_metric_of_two_equal_routes_counts() -> None:
    gateway = Address.parse("10.0.0.254")
    low = Route(Prefix.parse("10.1.0.0/24"), gateway=gateway, link="eth0", metric=10, protocol=4)
    plane = KERNEL.put((low, low._replace(metric=20)))
    assert NextHopCosts(plane).cost(Address.parse("10.1.0.4")) == 11


def test_before_the_first_observation_nothing_is_unreachable() -> None:
    assert NextHopCosts(None).cost(Address.parse("10.9.9.9")) == 0
