"""Sessions of every kind between real speakers, and the reports of those that do not come up."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.core.bgp.path import (
    Attributes,
)
from bgpctl.core.bgp.path import Path as BgpPath
from bgpctl.core.bgp.speaker import (
    Announce,
    DownKind,
    Session,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerEvent,
    Update,
)
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.speaker import supervisor
from tests.contract.speaker_rig import (
    NO_PEER,
    OURS,
    OURS6,
    PEERS,
    PEERS6,
    ExabgpRig,
    config_of,
    ends,
    ip,
    session,
)

pytestmark = pytest.mark.kernel

BLUE, BLUE6 = Prefix.parse("10.1.0.0/26"), Prefix.parse("2001:db8:1::/64")
ANY_FILE = "/proc/sys/kernel/ostype"
ABSENT = Address.parse("10.99.0.77")


def active(local: Address = OURS, peer: Address = PEERS) -> Session:
    return replace(session(local, peer), passive=False)


def waiting(local: Address = PEERS, peer: Address = OURS) -> Session:
    return replace(session(local, peer), passive=True)


def paths(events: list[SpeakerEvent]) -> dict[Prefix, BgpPath]:
    """The peer's announcements."""
    known: dict[Prefix, BgpPath] = {}
    for event in events:
        if isinstance(event, Update):
            known |= {path.prefix: path for path in event.announced}
            for prefix in event.withdrawn:
                known.pop(prefix, None)
    return known


def with_password(wanted: Session, directory: Path, password: str) -> Session:
    file = directory / f"password-{wanted.local}-{wanted.peer}"
    file.write_text(password)
    return replace(wanted, password_file=str(file))


# Options of sessions -------------------------------------------------------------------------------------------


def test_every_attribute_arrives_as_it_was_sent(pair: ExabgpRig) -> None:
    sent = Attributes(
        as_path=(Asn(65001), Asn(4200000001)),
        local_pref=300,
        med=7,
        communities=((64512, 7), (65535, 0), (64512, 1, 2)),
        extended=(0x0002FDE900000001, 0x030C000000000007, 0x4304000000000001),
        originator=NO_PEER,
        cluster_list=(Address.parse("10.255.0.1"), Address.parse("10.255.0.2")),
        origin="incomplete",
    )
    pair.speaker.send([Announce(BLUE, PEERS, sent)])
    pair.peer_has({BLUE})
    heard = paths(pair.peer_heard.events)[BLUE]
    assert (heard.next_hop, heard.as_path, heard.local_pref, heard.med) == (OURS, sent.as_path, 300, 7)
    assert (heard.communities, heard.extended, heard.origin) == (sent.communities, sent.extended, "incomplete")
    assert (heard.originator, heard.cluster_list) == (sent.originator, sent.cluster_list)


def test_another_next_hop_and_other_attributes_for_one_peer_take_the_place_of_the_first(pair: ExabgpRig) -> None:
    pair.speaker.send([Announce(BLUE, None, Attributes(med=1))])
    pair.peer_has({BLUE})
    pair.speaker.send([Announce(BLUE, PEERS, Attributes(next_hop=NO_PEER, med=2))])
    pair.peer_heard.wait(lambda events: paths(events)[BLUE].med == 2)
    assert paths(pair.peer_heard.events)[BLUE].next_hop == NO_PEER


def test_an_ipv6_session_carries_ipv6_routes(exabgp: ExabgpRig) -> None:
    exabgp.speaker.configure(config_of(active(OURS6, PEERS6)))
    exabgp.heard.wait_for(SpeakerAttached)
    exabgp.peer.configure(config_of(waiting(PEERS6, OURS6)))
    exabgp.heard.wait_until_up(PEERS6)
    exabgp.peer_heard.wait_until_up(OURS6)
    exabgp.speaker.send([Announce(BLUE6, PEERS6, Attributes(med=5, communities=((64512, 1),)))])
    exabgp.peer_has({BLUE6})
    heard = paths(exabgp.peer_heard.events)[BLUE6]
    assert (heard.next_hop, heard.med, heard.communities) == (OURS6, 5, ((64512, 1),))
    opened = exabgp.heard.wait_for(SessionOpened)
    assert (opened.restart_time_s, opened.forwarding_preserved, opened.notification_restart) == (120, True, True)


def test_an_ipv6_session_can_have_a_password_and_gtsm(exabgp: ExabgpRig, tmp_path: Path) -> None:
    for speaker, wanted in ((exabgp.peer, waiting(PEERS6, OURS6)), (exabgp.speaker, active(OURS6, PEERS6))):
        speaker.configure(config_of(replace(with_password(wanted, tmp_path, "both"), ttl_security=1)))
    exabgp.heard.wait_until_up(PEERS6)


def test_external_peers_on_a_port_of_their_own_see_our_as(exabgp: ExabgpRig) -> None:
    theirs = replace(waiting(), local_asn=Asn(65001))
    exabgp.peer.configure(replace(config_of(theirs), listen_port=1790))
    exabgp.speaker.configure(config_of(replace(active(), peer_asn=Asn(65001), port=1790)))
    exabgp.heard.wait_until_up(PEERS)
    exabgp.peer_heard.wait_until_up(OURS)
    exabgp.speaker.send([Announce(BLUE, None, Attributes(as_path=(Asn(64512),)))])
    exabgp.peer_has({BLUE})
    heard = paths(exabgp.peer_heard.events)[BLUE]
    assert (heard.as_path, heard.local_pref) == ((64512,), None)


def test_a_session_from_any_address_comes_up(exabgp: ExabgpRig) -> None:
    exabgp.peer.configure(config_of(waiting()))
    exabgp.speaker.configure(config_of(replace(active(), bound=False)))
    exabgp.heard.wait_until_up(PEERS)


@pytest.mark.parametrize("ours_connects", [True, False])
def test_gtsm_sessions_come_up_from_either_end(exabgp: ExabgpRig, *, ours_connects: bool) -> None:
    ours, theirs = (active(), waiting()) if ours_connects else (waiting(OURS, PEERS), active(PEERS, OURS))
    exabgp.peer.configure(config_of(replace(theirs, ttl_security=1)))
    exabgp.speaker.configure(config_of(replace(ours, ttl_security=1)))
    exabgp.heard.wait_until_up(PEERS)


def test_a_peer_that_may_be_far_away_is_not_heard_under_gtsm(exabgp: ExabgpRig) -> None:
    exabgp.peer.configure(config_of(active(PEERS, OURS)))
    exabgp.speaker.configure(config_of(replace(waiting(OURS, PEERS), ttl_security=1)))
    exabgp.heard.wait_for(SessionDown)
    assert not [event for event in exabgp.heard.events if isinstance(event, SessionUp)]


# Why a session is not up ---------------------------------------------------------------------------------------


def test_a_closed_port_and_an_absent_host_are_distinguished(exabgp: ExabgpRig) -> None:
    exabgp.speaker.configure(config_of(active(), active(OURS, ABSENT)))
    assert down(exabgp, PEERS).kind is DownKind.REFUSED
    assert down(exabgp, ABSENT).kind is DownKind.UNREACHABLE


def test_a_wrong_password_is_no_answer_and_the_right_one_mends_it(exabgp: ExabgpRig, tmp_path: Path) -> None:
    exabgp.peer.configure(config_of(with_password(waiting(), tmp_path, "theirs")))
    exabgp.speaker.configure(config_of(with_password(active(), tmp_path, "ours")))
    down(exabgp, PEERS, kind=DownKind.NO_ANSWER)
    with_password(active(), tmp_path, "theirs")
    exabgp.heard.wait_until_up(PEERS)


def test_another_as_than_expected_is_reported_at_both_ends(exabgp: ExabgpRig) -> None:
    exabgp.peer.configure(config_of(waiting()))
    exabgp.speaker.configure(config_of(replace(active(), local_asn=Asn(65001))))
    down(exabgp, PEERS, kind=DownKind.WRONG_AS)
    assert exabgp.peer_heard.wait_for(SessionDown).kind is DownKind.WRONG_AS


def test_what_ended_a_session_before_the_agents_had_attached_is_reported_too(
    exabgp: ExabgpRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both agents find no bridge at first, and try again when the sessions' only attempt is over."""
    monkeypatch.setattr(supervisor, "_CONNECT_EVERY_S", 3.0)
    exabgp.peer.configure(config_of(waiting()))
    exabgp.speaker.configure(config_of(replace(active(), local_asn=Asn(65001))))
    down(exabgp, PEERS, kind=DownKind.WRONG_AS)
    assert exabgp.peer_heard.wait_for(SessionDown).kind is DownKind.WRONG_AS


def test_a_peer_that_accepts_the_connection_and_sends_nothing_is_silent(exabgp: ExabgpRig) -> None:
    with listening(exabgp, "hold"):
        exabgp.speaker.configure(config_of(active()))
        assert down(exabgp, PEERS, within_s=30).kind is DownKind.SILENT


def test_a_peer_that_closes_the_connection_is_not_silent(exabgp: ExabgpRig) -> None:
    with listening(exabgp, "close"):
        exabgp.speaker.configure(config_of(active()))
        assert down(exabgp, PEERS).kind is DownKind.CLOSED


def test_a_peer_that_is_cut_off_expires(pair: ExabgpRig) -> None:
    ip("-n", pair.peer_prefix[-1], "link", "set", "peer", "down")
    assert pair.heard.wait_for_end().kind is DownKind.HOLD_EXPIRED


def test_a_peer_without_a_session_for_us_is_reported(exabgp: ExabgpRig) -> None:
    exabgp.peer.configure(config_of(waiting(PEERS, NO_PEER)))
    exabgp.peer_heard.wait_for(SpeakerAttached)
    exabgp.speaker.configure(config_of(active()))
    down(exabgp, PEERS, kind=DownKind.NOT_CONFIGURED)


def down(rig: ExabgpRig, peer: Address, *, kind: DownKind | None = None, within_s: float = 20.0) -> SessionDown:
    """The first end of a session with the peer; with `kind` the first of that kind: the peer may not listen yet."""
    return rig.heard.wait(
        lambda events: next(
            (e for e in events if isinstance(e, SessionDown) and e.peer == peer and kind in (None, e.kind)), None
        ),
        within_s=within_s,
    )


_LISTENER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 179))
print("ready", flush=True)
kept = []
while True:
    connection, _ = listener.accept()
    kept.append(connection) if sys.argv[2] == "hold" else connection.close()
"""


@contextlib.contextmanager
def listening(rig: ExabgpRig, manner: str) -> Iterator[None]:
    """A program without BGP listens at the peer's address: `hold` keeps connections, `close` ends them at once."""
    command = (*rig.peer_prefix, sys.executable, "-c", _LISTENER, str(PEERS), manner)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()


# Several peers -------------------------------------------------------------------------------------------------


# One speaker knows a remote address once, so each of the two sessions has an address of its own at both ends.
OTHERS, OURS_TOO = NO_PEER, Address.parse("10.99.0.4")


@pytest.fixture
def three(exabgp: ExabgpRig) -> ExabgpRig:
    """Established sessions with two peers, both run by the other speaker."""
    ip("-n", exabgp.prefix[-1], "address", "add", f"{OURS_TOO}/24", "dev", "peer")
    ip("-n", exabgp.peer_prefix[-1], "address", "add", f"{OTHERS}/24", "dev", "peer")
    theirs = config_of(waiting(PEERS, OURS), waiting(OTHERS, OURS_TOO))
    exabgp.peer.configure(replace(theirs, listen=Address.parse("0.0.0.0")))
    exabgp.speaker.configure(config_of(active(), active(OURS_TOO, OTHERS)))
    for peer in (PEERS, OTHERS):
        exabgp.heard.wait_until_up(peer)
    for us in (OURS, OURS_TOO):
        exabgp.peer_heard.wait_until_up(us)
    return exabgp


@pytest.mark.parametrize(
    "change",
    [
        lambda wanted: replace(wanted, hold_time_s=30),
        lambda wanted: replace(wanted, restart_time_s=60),
        lambda wanted: replace(wanted, ttl_security=3),
        lambda wanted: replace(wanted, peer_asn=Asn(65001)),
        lambda wanted: replace(wanted, password_file=ANY_FILE),
    ],
    ids=["hold time", "restart time", "GTSM", "AS", "password"],
)
def test_a_change_of_one_peer_disturbs_no_other(three: ExabgpRig, change: Callable[[Session], Session]) -> None:
    before = len(three.heard.events)
    three.speaker.configure(config_of(change(active()), active(OURS_TOO, OTHERS)))
    attached = three.heard.wait_for(SpeakerAttached, after=before)
    three.heard.wait(lambda events: [e for e in events[before:] if isinstance(e, SessionDown) and e.peer == PEERS])
    assert OTHERS in dict(attached.established)
    assert not ends(three.heard.events, OTHERS)
    assert not ends(three.peer_heard.events, OURS_TOO)
