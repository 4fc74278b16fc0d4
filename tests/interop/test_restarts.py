"""Restarts of either side: packets that cross the two routers meanwhile, and how many are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from signal import SIGKILL

import pytest

from bgpctl.lab.daemons.session_options import Router
from tests.interop.rig import UP_WITHIN_S, Rig, router
from tests.interop.traffic import Traffic, settled, traffic
from tests.interop.world import ADDRESS, MEMBERS
from tests.waiting import wait_until

US, ONE = ADDRESS["us"], ADDRESS["one"]
TRIES = 3
"""Restarts, until the router has not ended one itself."""


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
    restart too (RFC 4724, section 4): a bgpd of FRR 8.4 does if a peer connects before zebra has sent it the links.
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
