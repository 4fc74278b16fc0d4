"""Peers that are configured as a range of addresses: BIRD and FRR connect from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from bgpctl.client import AgentAway
from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons.session_options import Origin
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon
from tests.interop.frr import Frr
from tests.interop.rig import has_block, router
from tests.interop.world import ADDRESS, BLOCK, POOL, US, Part, World, made
from tests.waiting import wait_until

EDGE: Final = {"one": Asn(65001), "two": Asn(65002), "three": Asn(65003)}
OUTSIDE: Final = {part: Prefix.parse(f"172.20.{asn - 65000}.0/24") for part, asn in EDGE.items()}
CLUSTER: Final = f"""\
calico_backend: bird
pools: {{blue: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
{US}peers:
  edge: {{range: 10.99.0.0/24, asRange: 65000-65099, limit: 2, filters: [outside]}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}}]}}
"""
UP_WITHIN_S: Final = 60


@pytest.fixture
def world() -> Iterator[World]:
    with made("range", "three") as world:
        yield world


def started(world: World, kind: type[Daemon], part: Part) -> Daemon:
    daemon = kind(world.place(part))
    daemon.start(router(part, asn=EDGE[part], routes={OUTSIDE[part]: Origin()}))
    return daemon


def peers(world: World) -> dict[str, Any]:
    """The rows of `show peers`, by name; empty while the agent does not answer."""
    try:
        return {row["name"]: row for row in world.show("peers")["peers"]}
    except AgentAway:
        return {}


def uptimes(world: World) -> dict[str, float]:
    return {name: row["uptime_s"] or 0.0 for name, row in peers(world).items()}


def is_used(world: World, part: Part) -> bool:
    return world.gateways(OUTSIDE[part]) == {str(ADDRESS[part])}


def test_routers_of_a_range_get_sessions_up_to_its_limit_and_keep_them_while_an_agent_is_killed(world: World) -> None:
    world.agree(CLUSTER)
    wait_until(world.converged, within_s=30)
    assert peers(world) == {}
    one, two = started(world, Bird, "one"), started(world, Frr, "two")
    for part, daemon in (("one", one), ("two", two)):
        wait_until(lambda part=part: is_used(world, part), within_s=UP_WITHIN_S)  # type: ignore[misc]
        wait_until(lambda daemon=daemon: has_block(daemon, BLOCK["us"], ADDRESS["us"]))  # type: ignore[misc]
    assert {name: row["asn"] for name, row in peers(world).items()} == {
        "edge-10.99.0.10": 65001,
        "edge-10.99.0.3": 65002,
    }

    before = uptimes(world)
    three = started(world, Bird, "three")
    world.kill_agent()
    world.start_agent()
    wait_until(lambda: len(peers(world)) == 2 and world.converged(), within_s=UP_WITHIN_S)
    assert is_used(world, "one")
    assert is_used(world, "two")
    now = uptimes(world)
    assert all(now[name] >= before[name] for name in before)
    assert not three.established(ADDRESS["us"])

    one.end()
    wait_until(lambda: is_used(world, "three"), within_s=UP_WITHIN_S)
    assert not is_used(world, "one")
    assert set(peers(world)) == {"edge-10.99.0.3", "edge-10.99.0.4"}
    for daemon in (two, three):
        daemon.end()
