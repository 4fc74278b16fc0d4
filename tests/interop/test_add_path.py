"""Several paths of one peer to a prefix (RFC 7911), which BIRD and FRR send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Final

import pytest

from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons import bird
from bgpctl.lab.daemons.bird import Style
from bgpctl.lab.daemons.session_options import Neighbor, Origin, Router
from tests.interop.bird import Bird
from tests.interop.daemon import installed
from tests.interop.frr import Frr
from tests.interop.rig import has_block, router
from tests.interop.world import ADDRESS, BLOCK, POOL, US, World, made
from tests.waiting import wait_until

TOR: Final = Asn(65001)
OUTSIDE: Final = Prefix.parse("172.20.1.0/24")
HOPS: Final = {str(ADDRESS["two"]), str(ADDRESS["three"])}
CLUSTER: Final = f"""\
calico_backend: bird
pools: {{blue: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
{US}peers:
  tor: {{ip: {ADDRESS["one"]}, asNumber: {TOR}, filters: [outside]{{more}}}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}}]}}
"""
_TWO_ROUTES: Final = "\n".join(
    f"protocol static by_{part} {{ ipv4; route {OUTSIDE} via {ADDRESS[part]}; }}" for part in ("two", "three")
)


class BirdWithTwoPaths(Bird):
    name: ClassVar = "BIRD, add paths tx"
    style: ClassVar = Style(bird.PLAIN.session.replace("import all;", "add paths tx; import all;"), _TWO_ROUTES)

    def only_by(self, part: str) -> None:
        """Withdraw the path by the other one."""
        self._ask("disable", "by_three" if part == "two" else "by_two")


class FrrWithAllPaths(Frr):
    name: ClassVar = "FRR, addpath-tx-all-paths"

    def send_all_paths(self) -> None:
        family = ("address-family ipv4 unicast", f"neighbor {ADDRESS['us']} addpath-tx-all-paths")
        self._ask("configure terminal", f"router bgp {TOR}", *family)


@pytest.fixture
def world() -> Iterator[World]:
    installed(Bird)
    installed(Frr)
    with made("addpath", "three") as world:
        yield world


def test_the_paths_of_a_peer_carry_traffic_together_and_each_goes_alone(world: World) -> None:
    world.agree(CLUSTER.replace("{more}", ", addPath: receive"))
    tor = BirdWithTwoPaths(world.place("one"))
    tor.start(router("one", asn=TOR, routes={}))
    wait_until(lambda: world.gateways(OUTSIDE) == HOPS, within_s=60)
    wait_until(lambda: has_block(tor, BLOCK["us"], ADDRESS["us"]))
    rows = world.show("rib")["paths"]
    assert {row["next_hop"] for row in rows if row["prefix"] == str(OUTSIDE)} == HOPS
    assert len({row["path_id"] for row in rows}) == 2

    world.kill_agent()
    world.start_agent()
    wait_until(world.converged, within_s=60)
    assert world.gateways(OUTSIDE) == HOPS

    tor.only_by("two")
    wait_until(lambda: world.gateways(OUTSIDE) == {str(ADDRESS["two"])}, within_s=30)

    world.agree(CLUSTER.replace("{more}", ""))  # nothing is agreed on, so one path is sent
    wait_until(lambda: {row["path_id"] for row in world.show("rib")["paths"]} == {None}, within_s=60)
    assert world.gateways(OUTSIDE) == {str(ADDRESS["two"])}
    tor.end()


def test_all_paths_of_a_router_are_used_and_those_of_a_lost_neighbour_go(world: World) -> None:
    world.agree(CLUSTER.replace("{more}", ", addPath: receive"))
    behind = {part: Bird(world.place(part)) for part in ("two", "three")}
    to_behind = []
    for number, (part, daemon) in enumerate(behind.items()):
        asn = Asn(65010 + number)
        to_hub = Neighbor(ADDRESS["one"], ADDRESS[part], TOR, restarts=False)
        daemon.start(Router(ADDRESS[part], (to_hub,), {OUTSIDE: Origin()}, asn))
        to_behind.append(Neighbor(ADDRESS[part], ADDRESS["one"], asn, restarts=False))
    hub = router("one", asn=TOR, routes={}, restarts=False)
    tor = FrrWithAllPaths(world.place("one"))
    tor.start(replace(hub, neighbors=(*hub.neighbors, *to_behind)))
    tor.send_all_paths()
    wait_until(lambda: world.gateways(OUTSIDE) == HOPS, within_s=90)
    behind["three"].end()
    wait_until(lambda: world.gateways(OUTSIDE) == {str(ADDRESS["two"])}, within_s=60)
    tor.end()
    behind["two"].end()
