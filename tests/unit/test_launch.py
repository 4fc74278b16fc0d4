"""Putting a configuration of ExaBGP in place: what it has accepted before is not validated again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.speaker import conf, launch
from bgpctl.speaker.launch import ConfigRejected, Rendered, RunDir
from bgpctl.speaker.pending_config import PendingConfig

LOCAL, *PEERS = (Address.parse(f"10.0.0.{host}") for host in range(1, 6))


def session(peer: Address, *, hold_time_s: int = 30) -> Session:
    return Session(
        peer, f"node-{peer}", LOCAL, Asn(64512), Asn(64513), passive=False, port=179, hold_time_s=hold_time_s
    )


def rendered(directory: Path, sessions: Sequence[Session], port: int = 179) -> Rendered:
    return launch.prepare(SpeakerConfig(LOCAL, LOCAL, port, tuple(sessions)), RunDir(directory))


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The peers in each file that ExaBGP was asked about."""
    found: list[str] = []

    def note(path: Path, _rendered: Rendered) -> None:
        words = path.read_text().split()
        found.append(" ".join(peer for word, peer in pairwise(words) if word == "neighbor"))

    monkeypatch.setattr(launch, "validate", note)
    return found


def test_a_new_neighbour_is_validated_alone_and_stands_beside_the_others(tmp_path: Path, validated: list[str]) -> None:
    before = rendered(tmp_path, [session(peer) for peer in PEERS[:3]])
    after = rendered(tmp_path, [session(peer) for peer in PEERS])
    launch.install(before, RunDir(tmp_path))
    launch.install(after, RunDir(tmp_path), before)
    assert validated == ["10.0.0.2 10.0.0.3 10.0.0.4", "10.0.0.5"]
    assert RunDir(tmp_path).conf.read_text() == after.text


def test_nothing_is_validated_for_a_neighbour_that_goes(tmp_path: Path, validated: list[str]) -> None:
    before = rendered(tmp_path, [session(peer) for peer in PEERS])
    after = rendered(tmp_path, [session(peer) for peer in PEERS[1:]])
    launch.install(before, RunDir(tmp_path))
    launch.install(after, RunDir(tmp_path), before)
    assert len(validated) == 1
    assert RunDir(tmp_path).conf.read_text() == after.text


def test_everything_is_validated_at_first_and_where_more_than_neighbours_differs(
    tmp_path: Path, validated: list[str]
) -> None:
    sessions = [session(peer) for peer in PEERS[:2]]
    before, moved = rendered(tmp_path, sessions), rendered(tmp_path, sessions, port=1790)
    twice = rendered(tmp_path, [*sessions, session(PEERS[0], hold_time_s=90)])
    launch.install(rendered(tmp_path, ()), RunDir(tmp_path))
    launch.install(before, RunDir(tmp_path))
    launch.install(moved, RunDir(tmp_path), before)
    launch.install(twice, RunDir(tmp_path), before)
    assert validated == ["", "10.0.0.2 10.0.0.3", "10.0.0.2 10.0.0.3", "10.0.0.2 10.0.0.3 10.0.0.2"]


def test_a_new_neighbour_that_exabgp_rejects_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    before = rendered(tmp_path, [session(PEERS[0])])
    launch.install(before, RunDir(tmp_path))
    bad = rendered(tmp_path, [session(PEERS[0]), session(PEERS[1], hold_time_s=2)])
    with pytest.raises(ConfigRejected, match="hold-time"):
        launch.install(bad, RunDir(tmp_path), before)
    assert RunDir(tmp_path).conf.read_text() == before.text
    assert [file.name for file in tmp_path.iterdir()] == ["exabgp.conf"]


def test_a_file_whose_neighbours_were_accepted_one_by_one_is_accepted_as_a_whole(tmp_path: Path) -> None:
    """ExaBGP reads each neighbour by itself."""
    accepted: Rendered | None = None
    for count in range(1, len(PEERS) + 1):
        new = rendered(tmp_path, [session(peer) for peer in PEERS[:count]])
        launch.install(new, RunDir(tmp_path), accepted)
        accepted = new
    again = tmp_path / "again"
    again.mkdir()
    assert accepted
    launch.install(accepted, RunDir(again))


def test_exabgp_rejects_two_neighbours_with_one_peer(tmp_path: Path) -> None:
    """The one thing that only the whole file shows."""
    before = rendered(tmp_path, [session(PEERS[0])])
    launch.install(before, RunDir(tmp_path))
    twice = rendered(tmp_path, [session(PEERS[0]), session(PEERS[0])])
    with pytest.raises(ConfigRejected, match="duplicate"):
        launch.install(twice, RunDir(tmp_path), before)


def test_an_exabgp_of_an_earlier_version_or_with_other_settings_is_not_that_of_a_configuration(tmp_path: Path) -> None:
    wanted = rendered(tmp_path, [session(PEERS[0])])
    running = {**wanted.environment, "HOME": "/root"}
    assert wanted.is_of(running)
    assert not wanted.is_of({**running, conf.VERSION_NAME: "2"})
    assert not wanted.is_of({name: value for name, value in running.items() if name != conf.VERSION_NAME})
    assert not wanted.is_of({**running, "exabgp_tcp_port": "180"})


@pytest.mark.parametrize("patched", [True, False])
def test_roles_are_refused_where_exabgp_runs_as_it_is(tmp_path: Path, *, patched: bool) -> None:
    pending = PendingConfig(RunDir(tmp_path), patched=patched)
    with_role = replace(session(PEERS[0]), role=Role.CUSTOMER)
    pending.ask(SpeakerConfig(LOCAL, LOCAL, 179, (with_role,)), 0.0)
    found = pending.settle(0.0, lambda: False)
    refused = "ExaBGP as it is (--unpatched) has no roles: peer node-10.0.0.2 has localRole"
    assert str(found) == refused if not patched else isinstance(found, Rendered)
