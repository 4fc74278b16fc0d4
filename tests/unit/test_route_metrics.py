"""Where routes say that they have no MTU, because the kernel would give them another one's."""

from __future__ import annotations

from bgpctl.core.dataplane.effects import Op, Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import Route
from bgpctl.core.net.route_set import RouteSet
from bgpctl.kernel.route_metrics import may_be_taken_over

NEAR, ALSO_NEAR, FAR = (
    Route(Prefix.parse(text), next_hop=1) for text in ("10.244.0.0/26", "10.244.0.64/26", "10.250.0.0/26")
)


def puts(*routes: Route) -> list[Op]:
    return [Put(route, NOT_WANTED) for route in routes]


def narrow(route: Route) -> Route:
    return route._replace(mtu_bytes=1380)


def test_a_route_without_an_mtu_among_others_without_says_nothing() -> None:
    assert not may_be_taken_over(puts(NEAR), RouteSet.of([ALSO_NEAR, FAR]))
    assert not may_be_taken_over(puts(NEAR), RouteSet())


def test_a_route_near_one_with_an_mtu_may_get_that() -> None:
    assert may_be_taken_over(puts(NEAR), RouteSet.of([narrow(ALSO_NEAR), FAR]))
    assert not may_be_taken_over(puts(NEAR), RouteSet.of([ALSO_NEAR, narrow(FAR)]))


def test_of_many_routes_all_that_are_there_are_asked() -> None:
    assert may_be_taken_over(puts(NEAR, ALSO_NEAR, FAR), RouteSet.of([narrow(ALSO_NEAR)]))


def test_a_route_with_an_mtu_that_is_put_together_with_others_counts_as_one_that_is_there() -> None:
    assert may_be_taken_over(puts(NEAR, narrow(ALSO_NEAR)), RouteSet())
