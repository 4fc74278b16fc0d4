"""
Four routers with different abilities around one node, as they are by default or by one option: BIRD that sends no
capability, GoBGP without graceful restart, FRR whose graceful restart names no family, and BIRD without route refresh.
Agent, ExaBGP and a router are killed beside them.

The kernels count: a route that is deleted anywhere is seen, however soon it is back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from signal import SIGKILL
from typing import ClassVar, Final

import pytest

from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons import bird
from bgpctl.lab.daemons.bird import Style
from bgpctl.lab.daemons.session_options import Origin
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon, installed
from tests.interop.deletions import deletions
from tests.interop.frr import Frr
from tests.interop.gobgp import Gobgp
from tests.interop.rig import has_block, router
from tests.interop.world import ADDRESS, BLOCK, POOL, US, Part, World, made
from tests.waiting import wait_until

WITHIN_S: Final = 60.0


def _with(option: str) -> Style:
    return Style(bird.PLAIN.session.replace("{options}", f"{option}; {{options}}"))


class BirdWithoutCapabilities(Bird):
    name: ClassVar = "BIRD, capabilities off"
    style: ClassVar = _with("capabilities off")


class BirdWithoutRefresh(Bird):
    name: ClassVar = "BIRD, enable route refresh off"
    style: ClassVar = _with("enable route refresh off")


@dataclass(frozen=True)
class Stock:
    """
    A router; `keeps` is true if graceful restart lets it keep our routes without a session, `restarts` as in Neighbor.
    """

    kind: type[Daemon]
    asn: Asn
    route: Prefix
    restarts: bool | None
    keeps: bool


STOCK: Final[dict[Part, Stock]] = {
    "one": Stock(BirdWithoutCapabilities, Asn(65001), Prefix.parse("172.21.1.0/24"), restarts=False, keeps=False),
    "two": Stock(Gobgp, Asn(65002), Prefix.parse("172.21.2.0/24"), restarts=None, keeps=False),
    "three": Stock(Frr, Asn(65003), Prefix.parse("172.21.3.0/24"), restarts=None, keeps=True),
    "four": Stock(BirdWithoutRefresh, Asn(65004), Prefix.parse("172.21.4.0/24"), restarts=True, keeps=True),
}
_LET_IN: Final = "filters: [outside]"
CLUSTER: Final = "".join(
    (
        f"calico_backend: bird\npools: {{blue: {{cidr: {POOL}, encapsulation: None}}}}\nnodes:\n{US}peers:\n",
        *(
            f"  {part}: {{ip: {ADDRESS[part]}, asNumber: {one.asn}, filters: [outside]}}\n"
            for part, one in STOCK.items()
        ),
        "filters:\n  outside: {importV4: [{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}]}\n",
    )
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    for kind in {one.kind for one in STOCK.values()}:
        installed(kind)
    with made("stock", "three", "four") as world:
        yield world


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[dict[Part, Daemon]]:
    daemons = {part: one.kind(world.place(part)) for part, one in STOCK.items()}
    world.agree(CLUSTER)
    for part, daemon in daemons.items():
        _start(daemon, part)
    yield daemons
    for daemon in daemons.values():
        daemon.end()


def _start(daemon: Daemon, part: Part) -> None:
    one = STOCK[part]
    daemon.start(router(part, asn=one.asn, routes={one.route: Origin()}, restarts=one.restarts))


@pytest.fixture
def routers(world: World, running: dict[Part, Daemon]) -> dict[Part, Daemon]:
    """All of them, whose routes are in use everywhere."""
    wait_until(lambda: all(settled(world, running[part], part) for part in STOCK), within_s=WITHIN_S)
    return running


def settled(world: World, daemon: Daemon, part: Part) -> bool:
    """The session is up at both ends, and each uses the other's route."""
    if not (world.established(ADDRESS[part]) and daemon.established(ADDRESS["us"])):
        return False
    both_have = has_block(daemon, BLOCK["us"], ADDRESS["us"]) and received(world, part)
    both_use = world.gateways(STOCK[part].route) == {str(ADDRESS[part])} and uses_ours(world, part)
    return both_have and both_use


def is_back(world: World, part: Part, since_s: float) -> bool:
    """Our end has a session that began later than that."""
    row = world.peer(ADDRESS[part])
    return bool(row.get("established")) and row["uptime_s"] < time.monotonic() - since_s


def received(world: World, part: Part) -> bool:
    return (str(STOCK[part].route), part) in world.received()


def uses_ours(world: World, part: Part) -> bool:
    return world.gateways(BLOCK["us"], part) == {str(ADDRESS["us"])}


@contextmanager
def deleted(world: World) -> Iterator[dict[Part, set[str]]]:
    """The same at each part."""
    with ExitStack() as stack:
        found = {part: stack.enter_context(deletions(world, part)) for part in ("us", *STOCK)}
        yield found


def exchanged(found: dict[Part, set[str]]) -> dict[Part, set[str]]:
    """Of the deleted ones those that a router or we announced; parts without any are left out."""
    routes = {str(BLOCK["us"]), *(str(one.route) for one in STOCK.values())}
    return {part: prefixes & routes for part, prefixes in found.items() if prefixes & routes}


def test_an_agent_that_is_killed_costs_nobody_a_route_or_a_session(world: World, routers: dict[Part, Daemon]) -> None:
    before = {part: world.peer(ADDRESS[part])["uptime_s"] for part in STOCK}
    with deleted(world) as found:
        world.kill_agent()
        world.start_agent()
        wait_until(world.converged, within_s=WITHIN_S)
        wait_until(lambda: all(settled(world, routers[part], part) for part in STOCK), within_s=WITHIN_S)
    assert exchanged(found) == {}
    assert {part for part in STOCK if world.peer(ADDRESS[part])["uptime_s"] <= before[part]} == set()


def test_an_exabgp_that_is_killed_costs_only_what_its_peers_may_not_keep(
    world: World, routers: dict[Part, Daemon]
) -> None:
    """We keep all their routes (RFC 4724, section 4.1); of ours those without graceful restart keep none."""
    with deleted(world) as found:
        killed_s = time.monotonic()
        world.kill_exabgp()
        wait_until(lambda: all(is_back(world, part, killed_s) for part in STOCK), within_s=WITHIN_S)
        wait_until(lambda: all(settled(world, routers[part], part) for part in STOCK), within_s=WITHIN_S)
    keeping_none = {part: {str(BLOCK["us"])} for part, one in STOCK.items() if not one.keeps}
    assert exchanged(found) == keeping_none


def test_a_killed_router_without_families_in_its_graceful_restart_leaves_no_route(
    world: World, routers: dict[Part, Daemon]
) -> None:
    """
    RFC 4724, section 4.2. Its restart time of two minutes does not count, nor that two others have not marked their
    tables complete since ExaBGP was started again.
    """
    with deleted(world) as found:
        routers["three"].end(SIGKILL)
        took_s = wait_until(lambda: world.gateways(STOCK["three"].route) == set(), within_s=30)
        print(f"FRR's routes are gone {took_s * 1000:.0f} ms after it was killed")
        _start(routers["three"], "three")
        wait_until(lambda: settled(world, routers["three"], "three"), within_s=WITHIN_S)
    assert exchanged(found)["us"] == {str(STOCK["three"].route)}
    assert exchanged(found).keys() <= {"us", "three"}
