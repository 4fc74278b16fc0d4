"""Restarts of either side: packets that cross the two routers meanwhile, and how many are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from signal import SIGKILL

import pytest

from bgpctl.lab.daemons.session_options import Router
from bgpctl.lab.load import Flow
from tests.interop.rig import UP_WITHIN_S, Rig, has_block, router
from tests.interop.world import ADDRESS, BLOCK, MEMBERS, Part
from tests.waiting import SLOWNESS, wait_until

US, ONE = ADDRESS["us"], ADDRESS["one"]
PPS = int(1000 / SLOWNESS)
TRIES = 3
"""Restarts, until the router has not ended one itself."""
AFTERWARDS = PPS // 4
"""So many packets are sent before and after whatever happens."""


@dataclass(slots=True)
class Traffic:
    """The fate of the packets between the workloads of two nodes."""

    flows: Sequence[Flow]

    @property
    def sent(self) -> int:
        return sum(flow.sent for flow in self.flows)

    @property
    def lost(self) -> int:
        return sum(flow.lost for flow in self.flows)

    def lost_from(self, part: Part) -> int:
        """Of the packets that the workload of this node sent."""
        return sum(flow.lost for flow in self.flows if flow.source == f"web-{part}")


@contextmanager
def traffic(rig: Rig) -> Iterator[Traffic]:
    """1,000 packets a second and direction, for the block and a little longer."""
    load = rig.world.traffic("us", "one", pps=PPS)
    load.start()
    try:
        wait_until(lambda: all(flow.arrived > AFTERWARDS for flow in load.flows))
        yield Traffic(load.flows)
        enough = [flow.sent + AFTERWARDS for flow in load.flows]
        wait_until(lambda: all(flow.sent > than for flow, than in zip(load.flows, enough, strict=True)))
    finally:
        load.stop()


def settled(rig: Rig) -> bool:
    """The session is up, and both know the other's block and use it where they can."""
    one, world = rig.running("one"), rig.world
    if not (world.established(ONE) and one.established(US) and has_block(one, BLOCK["us"], US)):
        return False
    return world.gateways(BLOCK["us"], "one") == {str(US)} and world.gateways(BLOCK["one"]) == {str(ONE)}


BOTH = pytest.mark.parametrize("graceful", [True, False], ids=["graceful", "not graceful"])


@pytest.fixture
def graceful() -> bool:
    """True if the router does graceful restart."""
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
    for _ in range(TRIES):
        before = gave_up(rig)
        seen = killed_and_started(rig, wanted)
        if gave_up(rig) == before:
            break
    record_property("interop", f"{seen.lost}/{seen.sent}")
    assert bool(seen.lost_from("us")) is not graceful


def gave_up(rig: Rig) -> int:
    """
    How often the router itself ended a session by a NOTIFICATION of a state machine error, which ends a graceful
    restart too (RFC 4724, section 4): a bgpd of FRR 8.4 does if it is connected to before zebra has told it of links.
    """
    return (rig.world.directory / "agent.log").read_text().count("notification received (5,0)")


def killed_and_started(rig: Rig, wanted: Router) -> Traffic:
    one = rig.running("one")
    with traffic(rig) as seen:
        one.end(SIGKILL)
        wait_until(lambda: not rig.world.established(ONE))
        one.start(replace(wanted, recovering=True))
        wait_until(lambda: settled(rig), within_s=UP_WITHIN_S)
    return seen
