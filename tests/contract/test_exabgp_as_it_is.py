"""Faults of ExaBGP 5.0.15, and that they do no harm here. BIRD judges what reaches a peer."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.core.bgp.path import (
    Attributes,
)
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    RefreshEnded,
    SessionDown,
    SpeakerAttached,
    SpeakerCommand,
    SpeakerDetached,
    Withdraw,
)
from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.speaker import patches, supervisor
from tests.contract.speaker_rig import (
    HOLD_TIME_S,
    NO_PEER,
    OURS,
    PEERS,
    ExabgpRig,
    config,
    config_of,
    ends,
    facing_exabgp,
    session,
)

pytestmark = pytest.mark.kernel

needs_bird = pytest.mark.skipif(shutil.which("bird") is None, reason="bird (Debian: bird2)")

BLOCKS = [Prefix.parse(f"10.4.{number}.0/26") for number in range(50)]
MARKS = [Prefix.parse(f"10.5.{number}.0/26") for number in range(50)]


# The order of changes ------------------------------------------------------------------------------------------

_BIRD = """
router id {peer};
protocol device {{ }}
protocol bgp exabgp {{
  local {peer} as 64512; neighbor {ours} as 64512; passive on; hold time 90;
  ipv4 {{ import all; export none; }};
}}
"""


class Bird:
    """BIRD as the peer."""

    def __init__(self, prefix: tuple[str, ...], directory: Path) -> None:
        self._control = directory / "bird.ctl"
        conf = directory / "bird.conf"
        conf.write_text(_BIRD.format(peer=PEERS, ours=OURS))
        command = (*prefix, "bird", "-f", "-c", str(conf), "-s", str(self._control), "-P", str(directory / "bird.pid"))
        self._process = subprocess.Popen(command)

    def table(self) -> Mapping[Prefix, int]:
        """The MED of each prefix."""
        command = ("birdc", "-r", "-s", str(self._control), "show", "route", "all")
        meds: dict[Prefix, int] = {}
        for line in subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines():
            match line.split():
                case [prefix, *_] if "/" in prefix:
                    current = Prefix.parse(prefix)
                case ["BGP.med:", med]:
                    meds[current] = int(med)
                case _:
                    pass
        return meds

    def wait_for(self, wanted: Mapping[Prefix, int], *, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while (found := self.table()) != wanted:
            different = {prefix for prefix in found.keys() | wanted.keys() if found.get(prefix) != wanted.get(prefix)}
            assert time.monotonic() < deadline, f"differs in {sorted(map(str, different))}"
            time.sleep(0.05)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def bird(exabgp: ExabgpRig, tmp_path: Path) -> Iterator[Bird]:
    peer = Bird(exabgp.peer_prefix, tmp_path)
    try:
        exabgp.speaker.configure(config_of(replace(session(OURS, PEERS, hold_time_s=90), passive=False)))
        exabgp.heard.wait_until_up(PEERS)
        yield peer
    finally:
        peer.end()


def burst(chance: random.Random) -> list[SpeakerCommand]:
    """Two thousand changes: a third withdrawals, the rest with one of eight attribute sets, to all or to the one."""
    changes: list[SpeakerCommand] = []
    for _ in range(2000):
        block, to, kind = chance.choice(BLOCKS), chance.choice((None, PEERS)), chance.randrange(12)
        attributes = Attributes(med=1 + kind % 4, communities=((64512, kind),), as_path=(Asn(65000 + kind % 2),))
        changes.append(Withdraw(block, to) if kind >= 8 else Announce(block, to, attributes))
    return changes


def outcome(changes: list[SpeakerCommand]) -> dict[Prefix, int]:
    """The MED of each prefix when every later change has taken the place of the earlier."""
    table: dict[Prefix, int] = {}
    for change in changes:
        match change:
            case Announce(prefix, _, attributes):
                table[prefix] = attributes.med or 0
            case Withdraw(prefix):
                table.pop(prefix, None)
            case _:
                pass
    return table


@needs_bird
def test_a_burst_of_changes_ends_in_the_last_one_twenty_times_of_twenty(exabgp: ExabgpRig, bird: Bird) -> None:
    chance = random.Random(20)
    sent: list[SpeakerCommand] = []
    for mark in MARKS[:20]:
        sent += (changes := burst(chance))
        exabgp.speaker.send(changes)
        bird.wait_for(outcome(sent))
        # The mark is sent after all changes under way: nothing may change after it.
        sent.append(Announce(mark, None, Attributes(med=9)))
        exabgp.speaker.send([sent[-1]])
        bird.wait_for(outcome(sent))


# Reloading -----------------------------------------------------------------------------------------------------


def poisoned(rig: ExabgpRig) -> None:
    """Make ExaBGP load a file with an error in it; bgpctl itself never does."""
    conf = rig.run_dir / "exabgp.conf"
    good = conf.read_text()
    conf.write_text(good.replace("hold-time", "hold-tme"))
    rig.signal_exabgp(signal.SIGUSR1)
    log = rig.run_dir / "exabgp.log"
    rig.until(lambda: "could not load/reload configuration" in log.read_text())
    conf.write_text(good)


def test_after_a_file_with_an_error_the_next_one_is_loaded_and_no_session_lost(pair: ExabgpRig) -> None:
    poisoned(pair)
    seen, instance = len(pair.heard.events), pair.exabgp_pid()
    pair.speaker.configure(config(OURS, PEERS, NO_PEER))
    attached = pair.heard.wait_for(SpeakerAttached, after=seen)
    assert attached.instance == instance
    assert [peer for peer, _ in attached.established] == [PEERS]
    assert not ends(pair.heard.events)


def test_a_stock_exabgp_that_loads_nothing_any_more_is_replaced(
    stock: ExabgpRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_RELOAD_WITHIN_S", 3.0)
    stock.both_up()
    poisoned(stock)
    seen, instance = len(stock.heard.events), stock.exabgp_pid()
    stock.speaker.configure(config(OURS, PEERS, NO_PEER))
    assert stock.heard.wait_for(SpeakerAttached, after=seen).instance != instance
    stock.heard.wait_until_up(PEERS)


def test_changes_kept_for_an_absent_peer_hold_up_no_reload(exabgp: ExabgpRig) -> None:
    exabgp.speaker.configure(config(OURS, PEERS))
    exabgp.heard.wait_for(SpeakerAttached)
    exabgp.speaker.send([Announce(BLOCKS[0])])
    seen = len(exabgp.heard.events)
    exabgp.speaker.configure(config(OURS, PEERS, NO_PEER))
    exabgp.heard.wait_for(SpeakerAttached, after=seen, within_s=5)


def test_the_end_of_rib_of_an_empty_table_is_reported_too(pair: ExabgpRig) -> None:
    pair.peer_heard.wait_until_up(OURS)
    seen = len(pair.heard.events)
    pair.speaker.send([AskRefresh(PEERS, 4)])
    assert pair.heard.wait_for(RefreshEnded, after=seen, within_s=5).peer == PEERS


# Everything else -----------------------------------------------------------------------------------------------


def test_exabgp_and_its_api_process_keep_the_rights_they_need(pair: ExabgpRig) -> None:
    pids = (pair.exabgp_pid(), *children(pair.exabgp_pid()))
    assert len(pids) == 2
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids} == {os.geteuid()}


def test_an_api_process_that_dies_costs_no_session(pair: ExabgpRig) -> None:
    (bridge,) = children(pair.exabgp_pid())
    pair.peer_heard.wait_until_up(OURS)
    seen, peers_seen, instance = len(pair.heard.events), len(pair.peer_heard.events), pair.exabgp_pid()
    os.kill(bridge, signal.SIGKILL)
    pair.heard.wait_for(SpeakerDetached, after=seen)
    attached = pair.heard.wait_for(SpeakerAttached, after=seen)
    assert attached.instance == instance
    assert [peer for peer, _ in attached.established] == [PEERS]
    assert not [event for event in pair.peer_heard.events[peers_seen:] if isinstance(event, SessionDown)]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="not installed: gcc (the shifted clock is a C library)")
def test_a_clock_that_is_set_costs_no_session_and_stops_no_keepalive(tmp_path: Path) -> None:
    """The hold time is 3 s, so a session that is up after 4 s has sent and received keepalives since."""
    library, shift = tmp_path / "shifted_clock.so", tmp_path / "shift"
    source = Path(__file__).with_name("shifted_clock.c")
    subprocess.run(("gcc", "-shared", "-fPIC", "-o", library, source), check=True)
    shift.write_text("0")
    with facing_exabgp(tmp_path, environment=(f"LD_PRELOAD={library}", f"SHIFT_FILE={shift}")) as rig:
        rig.both_up()
        for shift_s in (3600, -3600):
            shift.write_text(str(shift_s))
            assert rig.heard.lacks(SessionDown, for_s=HOLD_TIME_S + 1)
            assert rig.peer_heard.lacks(SessionDown, for_s=0)


def test_another_version_is_refused(tmp_path: Path) -> None:
    """A copy with another version number."""
    exabgp = tmp_path / "exabgp"
    (exabgp / "application").mkdir(parents=True)
    for package in (exabgp, exabgp / "application"):
        (package / "__init__.py").touch()
    (exabgp / "version.py").write_text("version = '5.0.99'\n")
    (exabgp / "application" / "main.py").write_text("def main():\n    print('ran')\n")
    command = (sys.executable, "-I", "-S", str(patches.__file__), str(tmp_path))
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "ExaBGP 5.0.99 is refused" in result.stderr
    assert "--unpatched" in result.stderr
