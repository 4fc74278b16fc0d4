"""
The BFD process beside BIRD and FRR: real packets, real time.

BGPCTL_TEST_BFD_CUTS is how often the network is cut, and BGPCTL_TEST_BFD_CALM_S how long a loaded machine must raise no
false alarm; `make nightly` asks for more of both.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import quantiles
from typing import Final

import pytest

from bgpctl.core.bfd import packet
from bgpctl.core.bfd.packet import Diagnostic, Packet, SessionState
from bgpctl.lab import netns
from bgpctl.speaker import orphans
from tests.contract.bfd_rig import BIRDS, FRRS, INTERVALS_MS, MULTIPLIER, PEERS, Rig, running, session
from tests.waiting import wait_until

CUTS: Final = int(os.environ.get("BGPCTL_TEST_BFD_CUTS", "3"))
CALM_S: Final = float(os.environ.get("BGPCTL_TEST_BFD_CALM_S", "10"))
_ENOUGH_TO_JUDGE: Final = 50
_FOUND_WITHIN_S: Final = 15

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        rig.up()
        yield rig


def test_a_dead_network_is_found_in_three_intervals(rig: Rig) -> None:
    """From the cut to the report, 2 to 3 intervals after the last packet could have come."""
    took_ms: dict[int, list[float]] = {every_ms: [] for every_ms in INTERVALS_MS}
    for _ in range(CUTS):
        rig.up()
        with rig.cut() as began_s:
            wait_until(lambda: rig.all_are(SessionState.DOWN), within_s=_FOUND_WITHIN_S)
            found = dict(rig.left_up(began_s))
        for peer, every_ms in PEERS.items():
            took_ms[every_ms].append((found[peer] - began_s) * 1000)
            last = rig.report(peer)
            assert last is not None
            assert last.diagnostic in {Diagnostic.TIME_EXPIRED, Diagnostic.NEIGHBOR_DOWN}
    for every_ms, taken_ms in took_ms.items():
        cuts = quantiles(taken_ms, n=100, method="inclusive")
        p50_ms, p99_ms = cuts[49], cuts[98]
        print(f"found in {MULTIPLIER} x {every_ms} ms, {len(taken_ms)} times: p50 {p50_ms:.0f} p99 {p99_ms:.0f} ms")
        assert min(taken_ms) > (MULTIPLIER - 1) * every_ms * 0.75
        if len(taken_ms) >= _ENOUGH_TO_JUDGE:
            assert p99_ms <= (MULTIPLIER + 1) * every_ms


def test_a_loaded_machine_raises_no_false_alarm(rig: Rig) -> None:
    rig.supervisor.configure(session(peer, 300) for peer in PEERS)
    rig.up()
    busy = [subprocess.Popen((sys.executable, "-c", "while True: pass")) for _ in range(2 * (os.cpu_count() or 1))]
    began_s = time.monotonic()
    try:
        wait_until(lambda: bool(rig.left_up(began_s)) or time.monotonic() > began_s + CALM_S, within_s=CALM_S + 15)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert rig.left_up(began_s) == []
    assert rig.all_are(SessionState.UP)


def test_other_intervals_come_into_force_without_an_end(rig: Rig) -> None:
    began_s = time.monotonic()
    for factor in (2, 1):
        rig.supervisor.configure(session(peer, every_ms * factor) for peer, every_ms in PEERS.items())
        wait_until(
            lambda factor=factor: all(  # type: ignore[misc]
                (found := rig.report(peer)) is not None and found.detection_us == MULTIPLIER * every_ms * factor * 1000
                for peer, every_ms in PEERS.items()
            ),
            within_s=15,
        )
    assert rig.left_up(began_s) == []


def test_another_agent_finds_the_sessions_as_they_are(rig: Rig) -> None:
    rig.up()
    pid, began_s = rig.pid(), time.monotonic()
    rig.supervisor.close()
    rig.events.clear()
    rig.supervisor = rig.new_supervisor()
    rig.start()
    wait_until(lambda: rig.all_are(SessionState.UP), within_s=15)
    assert rig.pid() == pid
    assert rig.left_up(began_s) == []


def test_a_process_that_has_lost_its_pid_file_is_adopted(rig: Rig) -> None:
    rig.up()
    pid, began_s = rig.pid(), time.monotonic()
    rig.supervisor.close()
    (rig.directory / "us" / "bfd.pid").unlink()
    _start_alone(rig)
    assert rig.pid() == pid
    assert rig.left_up(began_s) == []


def test_a_process_of_a_lost_run_directory_is_ended(rig: Rig) -> None:
    """Two processes for one session would each take the other's packets for their own."""
    rig.up()
    pid = rig.pid()
    rig.supervisor.close()
    shutil.rmtree(rig.directory / "us")
    _start_alone(rig)
    rig.up()
    assert _bfd_processes(rig) == (rig.pid(),) != (pid,)


def _start_alone(rig: Rig) -> None:
    rig.events.clear()
    rig.supervisor = rig.lone_supervisor()
    rig.start()
    wait_until(lambda: rig.all_are(SessionState.UP), within_s=30)


def _bfd_processes(rig: Rig) -> tuple[int, ...]:
    return netns.inside(rig.name("us"), orphans.running_bfd)


def test_without_sessions_a_lost_process_is_ended_too(rig: Rig) -> None:
    rig.up()
    rig.supervisor.close()
    (rig.directory / "us" / "bfd.pid").unlink()
    idle = rig.lone_supervisor()
    netns.inside(rig.name("us"), lambda: idle.start(lambda _: None))
    idle.configure(())
    wait_until(lambda: _bfd_processes(rig) == (), within_s=15)
    idle.close()
    _start_alone(rig)


def test_a_process_that_is_killed_is_started_again(rig: Rig) -> None:
    rig.up()
    began_s, before = time.monotonic(), rig.pid()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: any(at_s > began_s and event.report is None for at_s, event in rig.events), within_s=15)
    wait_until(lambda: (rig.directory / "us" / "bfd.pid").exists() and rig.pid() != before, within_s=15)
    rig.up()


def test_a_packet_that_has_crossed_a_router_is_dropped(rig: Rig) -> None:
    """RFC 5881, section 5; with a TTL of 255 the same packet ends the session."""
    rig.up()
    peer, every_ms = next(iter(BIRDS.items()))
    part = rig.name(f"bird{every_ms}")
    forged = packet.encode(Packet(SessionState.ADMIN_DOWN, Diagnostic.NONE, MULTIPLIER, 77, 0, 1_000_000, 1_000_000))
    began_s = time.monotonic()
    sender = netns.open_socket(part, socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for ttl, state in ((254, SessionState.UP), (255, SessionState.DOWN)):
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sender.sendto(forged, ("10.9.0.1", 3784))
            if state is SessionState.DOWN:
                wait_until(lambda: bool(_states_since(rig, peer, began_s)), within_s=15)
            else:
                _more_packets(part)
                assert _states_since(rig, peer, began_s) == []
    assert SessionState.DOWN in _states_since(rig, peer, began_s)
    assert rig.left_up(began_s) == []


def _states_since(rig: Rig, peer: object, since_s: float) -> list[SessionState]:
    return [e.report.state for at_s, e in list(rig.events) if at_s >= since_s and e.peer == peer and e.report]


def _more_packets(part: str) -> None:
    """Wait until packets of the real peer follow those that were sent before."""
    before = _sent(part)
    wait_until(lambda: _sent(part) >= before + 4, within_s=15)


def _sent(part: str) -> int:
    command = ("ip", "-n", part, "-s", "-j", "link", "show", "eth0")
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(json.loads(shown)[0]["stats64"]["tx"]["packets"])


def test_the_end_of_the_process_is_no_failure_at_the_other_ends(rig: Rig) -> None:
    """FRR shows the reason: AdminDown, and not an expired time."""
    rig.up()
    rig.supervisor.shutdown()
    assert not (rig.directory / "us" / "bfd.pid").exists()
    wait_until(lambda: set(rig.others().values()) == {"down"}, within_s=15)
    for peer in FRRS:
        assert rig.of_frr(peer)["remote-diagnostic"] == "administratively down"
    rig.supervisor.configure(session(peer, every_ms) for peer, every_ms in PEERS.items())
    rig.up()
