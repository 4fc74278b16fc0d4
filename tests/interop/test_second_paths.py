"""
The second path to a prefix is used at once when the first one cannot be; and what ends a peer's routes waits for no
other peer. Both peers are written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab import netns
from tests.interop import wire
from tests.interop.deletions import deletions
from tests.interop.world import ADDRESS, POOL, US, World, made
from tests.waiting import wait_until

FIRST, SECOND = Asn(65001), Asn(65002)
ONE, TWO = ADDRESS["one"], ADDRESS["two"]
VIP: Final = Address.parse("10.99.0.77")
SHARED, OF_TWO = Prefix.parse("172.20.1.0/24"), Prefix.parse("172.21.1.0/24")
CEASE: Final = wire.message(3, bytes([6, 2]))
"""Administrative Shutdown."""
CLUSTER: Final = f"""\
calico_backend: bird
pools: {{blue: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
{US}peers:
  one: {{ip: {ONE}, asNumber: {FIRST}, filters: [outside]}}
  two: {{ip: {TWO}, asNumber: {SECOND}, filters: [outside]}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}}]}}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made("second") as world:
        world.agree(CLUSTER)
        yield world


@pytest.fixture
def peers(world: World) -> Iterator[tuple[wire.Speaker, wire.Speaker]]:
    """One with graceful restart, which has not marked its table complete, and one without; both are up."""
    family = bytes([1, 4, 0, 1, 0, 1])
    offered = family + wire.four_octet(FIRST) + wire.graceful_restart(restarted=False)
    one = wire.Speaker(world.names.of("one"), ONE, FIRST, wire.opening_with(FIRST, ONE, offered))
    two = wire.Speaker(world.names.of("two"), TWO, SECOND, wire.opening_with(SECOND, TWO, family))
    for peer in (one, two):
        peer.up()
    wait_until(lambda: world.established(ONE) and world.established(TWO), within_s=30)
    yield one, two
    for peer, address in ((one, ONE), (two, TWO)):
        peer.close()
        wait_until(lambda address=address: not world.established(address), within_s=30)  # type: ignore[misc]


def route(prefix: Prefix, hop: Address, *path: int, wide: bool = True) -> bytes:
    """An UPDATE; with AS numbers of two octets if not `wide`."""
    asns = b"".join(asn.to_bytes(4 if wide else 2, "big") for asn in path)
    as_path = wire.attribute(2, bytes([2, len(path)]) + asns)
    return wire.update(wire.origin() + as_path + wire.next_hop(hop), wire.nlri(prefix))


def test_a_path_by_an_address_of_our_own_gives_way_to_the_second_one(
    world: World, peers: tuple[wire.Speaker, wire.Speaker]
) -> None:
    one, two = peers
    one.send(route(SHARED, ONE, FIRST, 65010, 65011))
    two.send(route(SHARED, VIP, SECOND, wide=False), wire.END_OF_RIB)
    wait_until(lambda: world.gateways(SHARED) == {str(VIP)}, within_s=30)
    with deletions(world, "us") as deleted:
        netns.ip([f"addr add {VIP}/32 dev eth0"], world.names.of("us"))
        took_s = wait_until(lambda: world.gateways(SHARED) == {str(ONE)}, within_s=15)
        print(f"the second path is used after {took_s * 1000:.0f} ms")
    assert str(SHARED) not in deleted
    two.send(route(SHARED, VIP, SECOND, wide=False), route(OF_TWO, TWO, SECOND, wide=False))
    wait_until(lambda: world.gateways(OF_TWO) == {str(TWO)}, within_s=15)
    assert world.gateways(SHARED) == {str(ONE)}
    netns.ip([f"addr del {VIP}/32 dev eth0"], world.names.of("us"))
    wait_until(lambda: world.gateways(SHARED) == {str(VIP)}, within_s=15)


@pytest.mark.parametrize("end", ["Cease", "end of the connection"])
def test_the_end_of_a_peer_does_not_wait_for_one_that_may_still_announce_its_routes(
    world: World, peers: tuple[wire.Speaker, wire.Speaker], end: str
) -> None:
    one, two = peers
    two.send(route(OF_TWO, TWO, SECOND, wide=False), wire.END_OF_RIB)
    wait_until(lambda: world.gateways(OF_TWO) == {str(TWO)}, within_s=30)
    one.send(route(SHARED, ONE, FIRST))  # half a minute from now on
    wait_until(lambda: world.gateways(SHARED) == {str(ONE)}, within_s=30)
    if end == "Cease":
        two.send(CEASE)
    two.hang_up()
    took_s = wait_until(lambda: world.gateways(OF_TWO) == set(), within_s=15)
    print(f"its routes are gone after {took_s * 1000:.0f} ms")
    assert world.peer(ONE)["table"] == "awaiting End-of-RIB"
    assert world.gateways(SHARED) == {str(ONE)}
