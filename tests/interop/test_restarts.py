"""Whoever restarts: packets that cross the two routers meanwhile, and how many are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from signal import SIGKILL

import pytest

from bgpctl.lab.probe import StreamReport
from tests.interop.daemon import Router
from tests.interop.rig import UP_WITHIN_S, Rig, has_block, router
from tests.interop.world import ADDRESS, BLOCK, MEMBERS, Part
from tests.lab.conftest import SLOWNESS, wait_until

US, ONE = ADDRESS["us"], ADDRESS["one"]
PPS = int(1000 / SLOWNESS)
DIRECTIONS: tuple[tuple[Part, Part], ...] = (("us", "one"), ("one", "us"))
AFTERWARDS = PPS // 4
"""So many packets are sent before and after whatever happens."""


@dataclass(slots=True)
class Traffic:
    """Streams between the workloads of two nodes, in both directions."""

    reports: dict[tuple[Part, Part], StreamReport]

    @property
    def sent(self) -> int:
        return sum(report.sent for report in self.reports.values())

    @property
    def lost(self) -> int:
        return sum(report.lost for report in self.reports.values())


@contextmanager
def traffic(rig: Rig) -> Iterator[Traffic]:
    """1,000 packets a second and direction, for the block and a little longer."""
    streams = {pair: rig.world.stream(*pair, PPS, 5005 + n) for n, pair in enumerate(DIRECTIONS)}
    found = Traffic({})
    for stream in streams.values():
        stream.start()
    try:
        wait_until(lambda: all(stream.received > AFTERWARDS for stream in streams.values()))
        yield found
        enough = {pair: stream.sent + AFTERWARDS for pair, stream in streams.items()}
        wait_until(lambda: all(stream.sent > enough[pair] for pair, stream in streams.items()))
    finally:
        found.reports = {pair: stream.stop() for pair, stream in streams.items()}


def settled(rig: Rig) -> bool:
    """The session is up, and both know the other's block and use it where they can."""
    one, world = rig.running("one"), rig.world
    if not (world.established(ONE) and one.established(US) and has_block(one, BLOCK["us"], US)):
        return False
    return world.gateways(BLOCK["us"], "one") == {str(US)} and world.gateways(BLOCK["one"]) == {str(ONE)}


BOTH = pytest.mark.parametrize("graceful", [True, False], ids=["graceful", "not graceful"])


@pytest.fixture
def graceful() -> bool:
    """Whether the router does graceful restart."""
    return True


@pytest.fixture
def wanted(rig: Rig, graceful: bool) -> Router:
    """A router that is up, with its routes in use everywhere."""
    made = router("one", restarts=graceful)
    rig.world.agree(MEMBERS)
    rig.start("one", made)
    wait_until(lambda: settled(rig), within_s=UP_WITHIN_S)
    return made


@pytest.mark.usefixtures("wanted")
def test_agent_killed_and_started_again(rig: Rig, record_property: Callable[[str, object], None]) -> None:
    since = rig.world.peer(ONE)["uptime_s"]
    with traffic(rig) as seen:
        rig.world.kill_agent()
        rig.world.start_agent()
        wait_until(lambda: settled(rig) and rig.world.converged(), within_s=UP_WITHIN_S)
    record_property("interop", f"{seen.lost}/{seen.sent}")
    assert seen.lost == 0
    assert rig.world.peer(ONE)["uptime_s"] > since


@BOTH
@pytest.mark.usefixtures("wanted")
def test_exabgp_killed(rig: Rig, graceful: bool, record_property: Callable[[str, object], None]) -> None:
    with traffic(rig) as seen:
        rig.world.kill_exabgp()
        wait_until(lambda: not rig.world.established(ONE))
        wait_until(lambda: settled(rig), within_s=UP_WITHIN_S)
    record_property("interop", f"{seen.lost}/{seen.sent}")
    assert bool(seen.lost) is not graceful


@pytest.mark.usefixtures("wanted")
def test_node_rebooted(rig: Rig, record_property: Callable[[str, object], None]) -> None:
    """Agent and ExaBGP die at once; the network namespace stays."""
    with traffic(rig) as seen:
        rig.world.kill_agent()
        rig.world.kill_exabgp()
        wait_until(lambda: not rig.running("one").established(US))
        rig.world.start_agent()
        wait_until(lambda: settled(rig), within_s=UP_WITHIN_S)
    record_property("interop", f"{seen.lost}/{seen.sent}")
    assert seen.lost == 0


@BOTH
def test_router_killed_and_started_again(
    rig: Rig, wanted: Router, graceful: bool, record_property: Callable[[str, object], None]
) -> None:
    one = rig.running("one")
    with traffic(rig) as seen:
        one.end(SIGKILL)
        wait_until(lambda: not rig.world.established(ONE))
        one.start(replace(wanted, recovering=True))
        wait_until(lambda: settled(rig), within_s=UP_WITHIN_S)
    record_property("interop", f"{seen.lost}/{seen.sent}")
    ours = seen.reports["us", "one"].lost
    assert bool(ours) is not graceful
