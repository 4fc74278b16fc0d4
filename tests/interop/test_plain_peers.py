"""Peers that offer little in their OPEN, written by hand: the agent is killed beside them, or they die."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from bgpctl.client import AgentAway
from bgpctl.core.net.addresses import Asn, Prefix
from tests.interop import wire
from tests.interop.world import ADDRESS, BLOCK, POOL, US, World, made
from tests.waiting import wait_until

BARE, DEFAULT = Asn(65001), Asn(65002)
ONE, TWO = ADDRESS["one"], ADDRESS["two"]
OF_ONE, OF_TWO = Prefix.parse("172.20.1.0/24"), Prefix.parse("172.21.1.0/24")
NO_FAMILIES: Final = bytes.fromhex("4002 0078")
"""Graceful restart of no family (RFC 4724, section 3), as FRR has it by default."""
CLUSTER: Final = f"""\
calico_backend: bird
pools: {{blue: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
{US}peers:
  bare: {{ip: {ONE}, asNumber: {BARE}, filters: [outside]}}
  default: {{ip: {TWO}, asNumber: {DEFAULT}, filters: [outside]}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}}]}}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made("plain") as world:
        yield world


@pytest.fixture(scope="module")
def peers(world: World) -> Iterator[tuple[wire.Speaker, wire.Speaker]]:
    """One without any capability, and one without route refresh whose graceful restart has no family; both are up."""
    bare = wire.Speaker(world.names.of("one"), ONE, BARE, wire.opening_with(BARE, ONE, b""))
    offered = wire.four_octet(DEFAULT) + NO_FAMILIES
    default = wire.Speaker(world.names.of("two"), TWO, DEFAULT, wire.opening_with(DEFAULT, TWO, offered))
    world.agree(CLUSTER)
    narrow = wire.attribute(2, bytes([2, 1]) + BARE.to_bytes(2, "big"))
    for peer, path, hop, prefix in ((bare, narrow, ONE, OF_ONE), (default, wire.as_path(DEFAULT), TWO, OF_TWO)):
        peer.up()
        peer.send(wire.update(wire.origin() + path + wire.next_hop(hop), wire.nlri(prefix)), wire.END_OF_RIB)
    wait_until(lambda: in_use(world), within_s=30)
    wait_until(lambda: all(has_our_block(peer) for peer in (bare, default)), within_s=30)
    yield bare, default
    bare.close()
    default.close()


def in_use(world: World) -> bool:
    return (world.gateways(OF_ONE), world.gateways(OF_TWO)) == ({str(ONE)}, {str(TWO)})


def has_our_block(peer: wire.Speaker) -> bool:
    """The last UPDATE about our block announces it."""
    last = [body for body in peer.updates if wire.nlri(BLOCK["us"]) in body]
    return bool(last) and last[-1].endswith(wire.nlri(BLOCK["us"])) and last[-1][:2] == b"\0\0"


def test_an_agent_that_is_killed_beside_peers_without_route_refresh_loses_nothing(
    world: World, peers: tuple[wire.Speaker, wire.Speaker]
) -> None:
    for _ in range(2):
        world.kill_agent()
        world.start_agent()
        wait_until(lambda: {(str(OF_ONE), "bare"), (str(OF_TWO), "default")} <= received(world), within_s=30)
        wait_until(world.converged, within_s=30)
        assert in_use(world)
    for peer in peers:
        assert has_our_block(peer)
        assert not [body for body in peer.updates if body[:2] != b"\0\0"]
        assert (peer.notifications, peer.refreshes, peer.ended.is_set()) == ([], [], False)


def received(world: World) -> set[tuple[str, str]]:
    try:
        return set(world.received())
    except AgentAway:
        return set()


def test_a_peer_whose_graceful_restart_has_no_family_leaves_no_route(
    world: World, peers: tuple[wire.Speaker, wire.Speaker]
) -> None:
    bare, default = peers
    default.hang_up()
    wait_until(lambda: not world.established(TWO), within_s=30)
    wait_until(lambda: world.gateways(OF_TWO) == set(), within_s=15)
    assert world.gateways(OF_ONE) == {str(ONE)}
    assert not bare.ended.is_set()
