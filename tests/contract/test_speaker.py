from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    EndOfRib,
    RefreshBegun,
    RefreshEnded,
    SendEndOfRib,
    SessionDown,
    SessionOpened,
    SpeakerAttached,
    SpeakerCommand,
    SpeakerConfig,
    SpeakerConfigRejected,
    SpeakerDetached,
    Withdraw,
)
from bgpctl.core.net.addresses import Prefix
from bgpctl.speaker.exabgp import ExabgpSpeaker
from tests.contract.speaker_rig import (
    HOLD_TIME_S,
    NO_PEER,
    OURS,
    PEERS,
    Diary,
    ExabgpRig,
    Rig,
    config,
    ends,
    session,
    table,
)

BLUE, RED, MARK = (Prefix.parse(text) for text in ("10.1.0.0/26", "10.2.0.0/26", "10.3.0.0/26"))
BLUE_BLOCKS = [Prefix.parse(f"10.4.{i}.0/26") for i in range(50)]


# Promises of every Speaker -------------------------------------------------------------------------------------


def test_a_session_carries_routes_in_both_directions(rig: Rig) -> None:
    rig.speaker.configure(config(OURS, PEERS))
    rig.heard.wait_for(SpeakerAttached)
    rig.peer_up()
    rig.heard.wait_until_up(PEERS)
    rig.peer_announces(BLUE)
    rig.heard.wait_for_table({BLUE})
    rig.speaker.send([Announce(RED), Announce(MARK)])
    rig.peer_has({RED, MARK})
    rig.peer_withdraws(BLUE)
    rig.heard.wait_for_table(set())
    rig.speaker.send([Withdraw(RED)])
    rig.peer_has({MARK})


def attachments(rig: Rig, count: int) -> list[SpeakerAttached]:
    """Wait for so many."""
    return rig.heard.wait(
        lambda events: found if len(found := [e for e in events if isinstance(e, SpeakerAttached)]) >= count else None
    )


def test_the_configuration_in_force_asked_for_again_is_answered_and_disturbs_nothing(rig: Rig) -> None:
    rig.speaker.configure(config(OURS, PEERS))
    rig.peer_up()
    rig.heard.wait_until_up(PEERS)
    rig.speaker.configure(config(OURS, PEERS))
    first, second = attachments(rig, 2)
    assert first.instance == second.instance
    assert [peer for peer, _ in second.established] == [PEERS]
    assert not ends(rig.heard.events)


def test_a_speaker_that_dies_is_reported_and_replaced(rig: Rig) -> None:
    rig.speaker.configure(config(OURS, PEERS))
    first = rig.heard.wait_for(SpeakerAttached)
    seen = len(rig.heard.events)
    rig.speaker_dies()
    rig.heard.wait_for(SpeakerDetached, after=seen)
    second = rig.heard.wait_for(SpeakerAttached, after=seen)
    assert second.instance != first.instance


def test_commands_are_dropped_while_detached(rig: Rig) -> None:
    rig.speaker.send([Announce(BLUE)])
    rig.speaker.configure(config(OURS, PEERS))
    rig.heard.wait_for(SpeakerAttached)
    rig.peer_up()
    rig.heard.wait_until_up(PEERS)
    rig.speaker.send([Announce(MARK)])
    rig.peer_has({MARK})


# Promises that only a real speaker can keep --------------------------------------------------------------------


def agent(
    run_dir: Path,
    prefix: Sequence[str],
    wanted: SpeakerConfig,
    commands: Sequence[SpeakerCommand],
    routes: int,
    ready: Connection,
) -> None:
    """An agent in a process of its own, to be killed."""
    heard = Diary()
    speaker = ExabgpSpeaker(run_dir, prefix=prefix)
    speaker.start(heard.write)
    speaker.configure(wanted)
    heard.wait_until_up(PEERS)
    speaker.send(commands)
    heard.wait(lambda events: len(table(events)) >= routes)
    ready.send("up")
    signal.pause()


@contextlib.contextmanager
def agent_process(rig: ExabgpRig, *commands: SpeakerCommand, routes: int = 0) -> Iterator[int]:
    """The pid of a running agent that has sent its commands and has received so many routes."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=agent, args=(rig.run_dir, rig.prefix, config(OURS, PEERS), commands, routes, theirs))
    child.start()
    try:
        assert ours.poll(20), "the agent did not come up"
        assert child.pid is not None
        yield child.pid
    finally:
        child.kill()
        child.join()


@pytest.mark.kernel
class TestExabgp:
    def test_the_peers_open_is_reported(self, pair: ExabgpRig) -> None:
        pair.peer.shutdown()
        pair.heard.wait_for_end()
        seen = len(pair.heard.events)
        pair.peer.configure(config(PEERS, OURS))
        opened = pair.heard.wait_for(SessionOpened, after=seen)
        assert (opened.peer, opened.asn, opened.router_id) == (PEERS, 64512, PEERS)
        assert (opened.hold_time_s, opened.restart_time_s) == (HOLD_TIME_S, 120)

    def test_the_peers_open_is_reported_of_every_session_of_a_new_exabgp(self, pair: ExabgpRig) -> None:
        """However soon the session is up, and however late the agent has connected to ExaBGP."""
        for _ in range(6):
            seen = len(pair.heard.events)
            pair.speaker_dies()
            pair.heard.wait_for(SpeakerAttached, after=seen)
            pair.heard.wait_until_up(PEERS)
            attached = max(i for i, event in enumerate(pair.heard.events) if isinstance(event, SpeakerAttached))
            opened = pair.heard.wait_for(SessionOpened, after=attached)
            assert (opened.peer, opened.restart_time_s) == (PEERS, 120)

    def test_end_of_rib_follows_what_was_announced_before_it(self, pair: ExabgpRig) -> None:
        pair.peer.send([*(Announce(BLUE_BLOCKS[i]) for i in range(40)), SendEndOfRib(OURS, 4)])
        pair.heard.wait_for(EndOfRib)
        end = pair.heard.events.index(EndOfRib(PEERS, 4))
        assert table(pair.heard.events[:end]) == set(BLUE_BLOCKS[:40])

    def test_a_refresh_repeats_the_whole_table_between_its_marks(self, pair: ExabgpRig) -> None:
        pair.peer.send([Announce(BLUE), Announce(RED)])
        pair.heard.wait_for_table({BLUE, RED})
        seen = len(pair.heard.events)
        pair.speaker.send([AskRefresh(PEERS, 4)])
        pair.heard.wait_for(RefreshEnded, after=seen)
        repeated = pair.heard.events[seen:]
        assert repeated[0] == RefreshBegun(PEERS, 4)
        assert table(repeated[: repeated.index(RefreshEnded(PEERS, 4))]) == {BLUE, RED}

    def test_a_burst_of_changes_ends_in_the_table_that_was_meant(self, pair: ExabgpRig) -> None:
        changes: list[SpeakerCommand] = [
            (Announce if seed[0] & 1 else Withdraw)(BLUE_BLOCKS[seed[1] % len(BLUE_BLOCKS)])
            for seed in (hashlib.sha256(str(number).encode()).digest() for number in range(800))
        ]
        meant = {block for block in BLUE_BLOCKS if Announce(block) == last_word(changes, block)}
        pair.speaker.send([*changes, SendEndOfRib(PEERS, 4)])
        pair.peer_heard.wait_for(EndOfRib)
        assert table(pair.peer_heard.events) == meant

    def test_an_agents_death_leaves_the_session_and_its_successor_sweeps(self, exabgp: ExabgpRig) -> None:
        exabgp.peer_up()
        with agent_process(exabgp, Announce(BLUE), Announce(RED), SendEndOfRib(PEERS, 4)) as pid:
            exabgp.peer_has({BLUE, RED})
            exabgp_pid = exabgp.exabgp_pid()
            seen = len(exabgp.peer_heard.events)
            os.kill(pid, signal.SIGKILL)
        exabgp.peer.send([Announce(MARK)])
        exabgp.speaker.configure(config(OURS, PEERS))
        attached = exabgp.heard.wait_for(SpeakerAttached)
        assert attached.instance == exabgp_pid
        assert [peer for peer, _ in attached.established] == [PEERS]
        exabgp.speaker.send([AskRefresh(PEERS, 4), Announce(RED, PEERS), SendEndOfRib(PEERS, 4)])
        exabgp.heard.wait_for_table({MARK})
        exabgp.peer_has({RED})
        assert not [event for event in exabgp.peer_heard.events[seen:] if isinstance(event, SessionDown)]

    def test_a_stalled_agent_costs_no_session(self, exabgp: ExabgpRig) -> None:
        exabgp.peer_up()
        exabgp.peer.send([Announce(Prefix(4, 0x0A800000 + host, 32)) for host in range(1500)])
        with agent_process(exabgp, routes=1500) as pid:
            exabgp.peer_heard.wait_until_up(OURS)
            os.kill(pid, signal.SIGSTOP)
            exabgp.peer_repeats_one_by_one()
            assert exabgp.peer_heard.lacks(SessionDown, for_s=2 * HOLD_TIME_S)

    def test_another_neighbour_leaves_the_sessions_alone(self, pair: ExabgpRig) -> None:
        seen, peers_seen = len(pair.heard.events), len(pair.peer_heard.events)
        pair.speaker.configure(config(OURS, PEERS, NO_PEER))
        grown = pair.heard.wait_for(SpeakerAttached, after=seen)
        seen = len(pair.heard.events)
        pair.speaker.configure(config(OURS, PEERS))
        shrunk = pair.heard.wait_for(SpeakerAttached, after=seen)
        assert [peer for peer, _ in grown.established] == [peer for peer, _ in shrunk.established] == [PEERS]
        assert not [event for event in pair.peer_heard.events[peers_seen:] if isinstance(event, SessionDown)]

    def test_a_removed_neighbour_keeps_none_of_our_routes(self, pair: ExabgpRig) -> None:
        pair.speaker.send([Announce(BLUE)])
        pair.peer_has({BLUE})
        pair.speaker.configure(config(OURS, NO_PEER))
        pair.peer_has(set())
        pair.peer_heard.wait_for_end()

    def test_a_changed_session_is_opened_again(self, pair: ExabgpRig) -> None:
        slower = session(OURS, PEERS, hold_time_s=HOLD_TIME_S + 6)
        seen = len(pair.peer_heard.events)
        pair.speaker.configure(replace(config(OURS), sessions=(slower,)))
        assert pair.peer_heard.wait_for(SessionOpened, after=seen).hold_time_s == slower.hold_time_s

    def test_a_refused_configuration_leaves_the_one_before(self, pair: ExabgpRig) -> None:
        conf = (pair.run_dir / "exabgp.conf").read_text()
        impossible = session(OURS, PEERS, hold_time_s=2)
        pair.speaker.configure(replace(config(OURS), sessions=(impossible,)))
        assert "hold-time" in pair.heard.wait_for(SpeakerConfigRejected).reason
        pair.speaker.send([Announce(BLUE)])
        pair.peer_has({BLUE})
        assert (pair.run_dir / "exabgp.conf").read_text() == conf
        assert not ends(pair.heard.events)

    def test_a_first_configuration_that_exabgp_rejects_is_reported_once_and_another_runs(
        self, exabgp: ExabgpRig
    ) -> None:
        """The first one is validated only if ExaBGP ends with it."""
        impossible = session(OURS, PEERS, hold_time_s=2)
        exabgp.speaker.configure(replace(config(OURS), sessions=(impossible,)))
        assert "hold-time" in exabgp.heard.wait_for(SpeakerConfigRejected).reason
        assert not (exabgp.run_dir / "exabgp.conf").exists()
        assert exabgp.heard.lacks(SpeakerConfigRejected, for_s=1.5)  # it is tried again meanwhile, by validating it
        exabgp.speaker.configure(config(OURS, PEERS))
        exabgp.heard.wait_for(SpeakerAttached)

    def test_a_rejected_edit_that_is_undone_leaves_no_peer_unheard(self, pair: ExabgpRig) -> None:
        absent = replace(session(OURS, NO_PEER), password_file=str(pair.run_dir / "absent"))
        pair.speaker.configure(replace(config(OURS), sessions=(absent,)))
        pair.heard.wait_for(SpeakerConfigRejected)
        seen = len(pair.heard.events)
        pair.speaker.configure(config(OURS, PEERS))
        attached = pair.heard.wait_for(SpeakerAttached, after=seen)
        assert [peer for peer, _ in attached.established] == [PEERS]

    def test_a_password_file_that_appears_or_changes_is_read(self, exabgp: ExabgpRig, tmp_path: Path) -> None:
        password = tmp_path / "password"
        secret = replace(session(OURS, PEERS), password_file=str(password))
        exabgp.speaker.configure(replace(config(OURS), sessions=(secret,)))
        assert str(password) in exabgp.heard.wait_for(SpeakerConfigRejected).reason
        password.write_text("first")
        first = exabgp.heard.wait_for(SpeakerAttached).instance
        seen = len(exabgp.heard.events)
        password.write_text("second")
        assert exabgp.heard.wait_for(SpeakerAttached, after=seen).instance == first
        assert "second" not in (exabgp.run_dir / "exabgp.log").read_text()

    def test_a_password_is_needed_by_both(self, exabgp: ExabgpRig, tmp_path: Path) -> None:
        password = tmp_path / "password"
        password.write_text('sec"r; é\n')
        for speaker, local, peer in ((exabgp.speaker, OURS, PEERS), (exabgp.peer, PEERS, OURS)):
            shared = replace(session(local, peer), password_file=str(password))
            speaker.configure(replace(config(local), sessions=(shared,)))
        exabgp.heard.wait_until_up(PEERS)
        assert (exabgp.run_dir / "exabgp.conf").stat().st_mode & 0o777 == 0o600
        assert (exabgp.run_dir / "bridge.sock").stat().st_mode & 0o777 == 0o600

    def test_a_hanging_exabgp_is_replaced(self, pair: ExabgpRig) -> None:
        seen = len(pair.heard.events)
        pair.signal_exabgp(signal.SIGSTOP)
        pair.heard.wait_for(SpeakerDetached, after=seen)
        pair.heard.wait_for(SpeakerAttached, after=seen)
        pair.heard.wait_until_up(PEERS)

    def test_a_changed_listen_port_restarts_exabgp_and_shutdown_ends_it(self, pair: ExabgpRig) -> None:
        before = pair.exabgp_pid()
        seen = len(pair.heard.events)
        pair.speaker.configure(replace(config(OURS, PEERS), listen_port=1179))
        after = pair.heard.wait_for(SpeakerAttached, after=seen).instance
        assert after != before
        pair.speaker.shutdown()
        assert not Path(f"/proc/{after}").exists()
        assert {file.name for file in pair.run_dir.iterdir()} == {"exabgp.log"}
        pair.speaker.configure(config(OURS, PEERS))
        pair.heard.wait_until_up(PEERS)

    def test_a_reused_pid_is_not_taken_for_exabgp(self, exabgp: ExabgpRig) -> None:
        exabgp.run_dir.mkdir(exist_ok=True)
        (exabgp.run_dir / "exabgp.pid").write_text(f"{os.getpid()} 1\n")
        exabgp.speaker.shutdown()
        exabgp.speaker.configure(config(OURS, PEERS))
        assert exabgp.heard.wait_for(SpeakerAttached).instance != os.getpid()


def last_word(changes: list[SpeakerCommand], block: Prefix) -> SpeakerCommand | None:
    return next((change for change in reversed(changes) if change in (Announce(block), Withdraw(block))), None)
