"""BFD (RFC 5880) with routers at the top of the rack that speak it: BIRD's own, and FRR's bfdd."""

from __future__ import annotations

import signal
from typing import Final

import pytest

from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons.session_options import Origin
from tests.interop.daemon import Daemon
from tests.interop.gobgp import Gobgp
from tests.interop.rig import Rig, router
from tests.interop.world import ADDRESS, POOLS, US
from tests.waiting import wait_until

TOR: Final = Asn(65001)
OUTSIDE: Final = Prefix.parse("172.20.1.0/24")
EVERY_MS: Final = 300
_ONE, _TWO = str(ADDRESS["one"]), str(ADDRESS["two"])


def cluster(every_ms: int = EVERY_MS) -> str:
    """A node with two routers at the top of its rack."""
    bfd = f"bfd: {{minimumSendInterval: {every_ms}ms, minimumRecvInterval: {every_ms}ms, multiplier: 3}}"
    return f"""\
{POOLS}nodes:
{US}peers:
  tor-one: {{ip: {_ONE}, asNumber: {TOR}, filters: [outside], {bfd}}}
  tor-two: {{ip: {_TWO}, asNumber: {TOR}, filters: [outside], {bfd}}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.20.0.0/16, matchOperator: In}}]}}
"""


@pytest.fixture(autouse=True)
def _with_bfd(kind: type[Daemon]) -> None:
    if kind is Gobgp:
        pytest.skip("GoBGP has no BFD")


def bfd(rig: Rig, part: str) -> str:
    return str((rig.world.peer(ADDRESS[part]).get("bfd") or {}).get("state"))


def both_up(rig: Rig, every_ms: int = EVERY_MS) -> None:
    rig.world.agree(cluster(every_ms))
    for part in ("one", "two"):
        rig.start(part, router(part, asn=TOR, routes={OUTSIDE: Origin()}, bfd_ms=every_ms))
    for part in ("one", "two"):
        rig.up(part)
    wait_until(lambda: bfd(rig, "one") == bfd(rig, "two") == "up", within_s=30)
    wait_until(lambda: rig.world.gateways(OUTSIDE) == {_ONE, _TWO}, within_s=30)


def test_a_dead_path_is_left_at_once(rig: Rig) -> None:
    both_up(rig)
    with rig.world.cut("one"):
        took_s = wait_until(lambda: rig.world.gateways(OUTSIDE) == {_TWO}, within_s=15)
        print(f"traffic goes by the other router {took_s * 1000:.0f} ms after the cut, with 3 x {EVERY_MS} ms")
        assert rig.world.peer(ADDRESS["one"])["down"] == "bfd-down"
        assert "BFD" in rig.world.peer(ADDRESS["one"])["error"]
    wait_until(lambda: rig.world.gateways(OUTSIDE) == {_ONE, _TWO}, within_s=60)


def test_an_agent_that_is_killed_disturbs_nothing(rig: Rig) -> None:
    both_up(rig)
    before = bfd_process(rig)
    rig.world.kill_agent()
    rig.world.start_agent()
    wait_until(lambda: bfd(rig, "one") == bfd(rig, "two") == "up", within_s=30)
    wait_until(lambda: rig.world.established(ADDRESS["one"]), within_s=30)
    assert bfd_process(rig) == before
    assert rig.running("one").established(ADDRESS["us"])


def test_a_failure_that_no_agent_saw_is_found_by_the_next(rig: Rig) -> None:
    both_up(rig)
    rig.world.kill_agent()
    with rig.world.cut("one"):
        rig.world.start_agent()
        wait_until(lambda: rig.world.gateways(OUTSIDE) == {_TWO}, within_s=25)
        wait_until(lambda: rig.world.peer(ADDRESS["one"]).get("down") == "bfd-down", within_s=25)
    wait_until(lambda: rig.world.gateways(OUTSIDE) == {_ONE, _TWO}, within_s=60)


def bfd_process(rig: Rig) -> str:
    return (rig.world.directory / "us" / "bfd.pid").read_text()


def test_a_routers_restart_keeps_its_paths_though_bfd_ends(rig: Rig) -> None:
    """RFC 5882, section 4.3.2: BFD shares the fate of the daemon that is killed."""
    both_up(rig)
    rig.running("one").end(signal.SIGKILL)
    wait_until(lambda: not rig.world.established(ADDRESS["one"]), within_s=15)
    wait_until(lambda: bfd(rig, "one") == "down", within_s=15)
    assert rig.world.gateways(OUTSIDE) == {_ONE, _TWO}
    assert rig.world.peer(ADDRESS["one"])["table"] == "stale"
