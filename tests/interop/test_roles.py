"""Roles (RFC 9234) with routers that know of them, and with those that do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons.session_options import Origin
from tests.interop import wire
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon, installed
from tests.interop.frr import Frr
from tests.interop.rig import UP_WITHIN_S, Rig, router
from tests.interop.world import ADDRESS, BLOCK, POOLS, US, World, made
from tests.waiting import wait_until

FIRST, SECOND, OURS = Asn(65001), Asn(65002), Asn(64512)
OUTSIDE, PLAIN = Prefix.parse("172.20.1.0/24"), Prefix.parse("172.20.2.0/24")


@pytest.fixture(scope="module", params=(Bird, Frr), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Daemon]:
    """The daemons with roles."""
    wanted: type[Daemon] = request.param
    installed(wanted)
    return wanted


def cluster(first: str = "", second: str = "") -> str:
    """Of two routers to which all is announced, with more keys."""
    return f"""\
{POOLS}nodes:
{US}peers:
  first: {{ip: {ADDRESS["one"]}, asNumber: {FIRST}, filters: [all]{first}}}
  second: {{ip: {ADDRESS["two"]}, asNumber: {SECOND}, filters: [all]{second}}}
filters:
  all: {{importV4: [{{action: Accept}}], exportV4: [{{action: Accept}}]}}
"""


def routers(rig: Rig, first: Role | None, second: Role | None) -> Daemon:
    """The first announces a route; the second is given back."""
    rig.start("one", router("one", asn=FIRST, routes={OUTSIDE: Origin()}, role=first))
    two = rig.start("two", router("two", asn=SECOND, routes={}, role=second))
    rig.up("one")
    rig.up("two")
    return two


def mark(rig: Rig) -> int | None:
    """The OTC of the route as it came; -1 while there is none."""
    found: int | None = rig.world.received().get((str(OUTSIDE), "first"), {}).get("only_to_customer", -1)
    return found


def is_fresh(rig: Rig) -> bool:
    """In a session that is up and has our role as customer."""
    rows = rig.world.show("neighbor", peer="first")["neighbors"]
    stale = rig.world.received().get((str(OUTSIDE), "first"), {}).get("stale", True)
    return bool(rows) and rows[0]["established"] and rows[0]["local_role"] == "customer" and not stale


def marks(daemon: Daemon) -> dict[Prefix, int | None]:
    """The OTC of each of our routes at a router."""
    return {prefix: entry.only_to_customer for prefix, entry in daemon.table(ADDRESS["us"]).items()}


def has(daemon: Daemon, prefix: Prefix) -> bool:
    return prefix in daemon.table(ADDRESS["us"])


def test_a_providers_route_goes_to_no_other_provider(rig: Rig) -> None:
    world, roles = rig.world, ", localRole: customer, strictRole: true"
    world.agree(cluster(roles, roles))
    two = routers(rig, Role.PROVIDER, Role.PROVIDER)
    wait_until(lambda: world.gateways(OUTSIDE) == {str(ADDRESS["one"])}, within_s=UP_WITHIN_S)
    wait_until(lambda: mark(rig) == FIRST, within_s=UP_WITHIN_S)
    wait_until(lambda: has(two, BLOCK["us"]), within_s=UP_WITHIN_S)
    assert not has(two, OUTSIDE)
    assert world.show("neighbor", peer="second")["neighbors"][0]["kept_in_by_role"] == [str(OUTSIDE)]
    two.end()
    world.agree(cluster(roles, ", localRole: provider"))
    rig.start("two", router("two", asn=SECOND, routes={}, role=Role.CUSTOMER))
    wait_until(lambda: marks(two) == {OUTSIDE: FIRST, BLOCK["us"]: OURS}, within_s=UP_WITHIN_S)


def test_a_mark_that_is_set_here_stops_a_leak_at_the_next_router(rig: Rig) -> None:
    """The first router knows of no role, and we of none to the second."""
    world = rig.world
    world.agree(cluster())
    two = routers(rig, None, Role.PROVIDER)
    wait_until(lambda: has(two, OUTSIDE) and has(two, BLOCK["us"]), within_s=UP_WITHIN_S)
    world.agree(cluster(", localRole: customer"))
    # It came without a mark, in a session with the role, and the router has got it with ours, or not at all.
    wait_until(lambda: mark(rig) is None and is_fresh(rig) and not has(two, OUTSIDE), within_s=UP_WITHIN_S)
    world.agree(cluster())
    wait_until(lambda: has(two, OUTSIDE), within_s=UP_WITHIN_S)


def test_two_providers_of_each_other_have_no_session_and_are_told_why(rig: Rig) -> None:
    rig.world.agree(cluster(", localRole: provider"))
    rig.start("one", router("one", asn=FIRST, routes={}, role=Role.PROVIDER))
    text = (
        "the OPEN of 10.99.0.10 has role provider; "
        "the cluster file has localRole provider, whose counterpart is customer"
    )
    wait_until(lambda: rig.world.peer(ADDRESS["one"]).get("error") == text, within_s=UP_WITHIN_S)
    assert not rig.world.established(ADDRESS["one"])


@pytest.fixture
def customer() -> Iterator[tuple[World, wire.Speaker]]:
    """Our agent as provider of a peer by hand, which is up and sends no role."""
    with made("roles-hand") as world:
        world.agree(cluster(", localRole: provider"))
        peer = wire.Speaker(world.names.of("one"), ADDRESS["one"], FIRST)
        peer.up()
        # A speaker that is taken up later would ask for the table again, and this peer never answers.
        wait_until(lambda: world.established(ADDRESS["one"]), within_s=UP_WITHIN_S)
        yield world, peer
        peer.close()


def test_a_leak_is_rejected_with_its_reason_and_what_goes_to_a_customer_is_marked(
    customer: tuple[World, wire.Speaker],
) -> None:
    world, peer = customer
    own, foreign = wire.as_path(FIRST), wire.attribute(35, SECOND.to_bytes(4), flags=0xC0)
    attributes = wire.origin() + own + wire.next_hop(ADDRESS["one"])
    peer.send(wire.update(attributes + foreign, wire.nlri(OUTSIDE)), wire.update(attributes, wire.nlri(PLAIN)))
    wait_until(lambda: world.gateways(PLAIN) == {str(ADDRESS["one"])}, within_s=UP_WITHIN_S)
    rejected = world.received(which="rejected")[str(OUTSIDE), "first"]
    assert (rejected["rule"], rejected["only_to_customer"]) == ("route-leak", SECOND)
    assert rejected["reason"] == "a route leak (RFC 9234): by its OTC, AS 65002, it may go to customers only"
    assert world.gateways(OUTSIDE) == set()
    mark = wire.attribute(35, OURS.to_bytes(4), flags=0xC0)
    wait_until(lambda: any(mark in body and wire.nlri(BLOCK["us"]) in body for body in peer.updates), within_s=15)
