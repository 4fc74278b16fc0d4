"""Roles (RFC 9234) in the OPENs of the patched ExaBGP: sent, compared, and part of what makes a session."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bgpctl.core.bgp import roles
from bgpctl.core.bgp.speaker import DownKind, Session, SessionDown, SessionOpened, SessionUp
from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.lab import netns
from bgpctl.speaker.exabgp import ExabgpSpeaker
from tests.contract.speaker_rig import OURS, PEERS, Diary, ExabgpRig, config_of, established, facing_namespaces, session
from tests.interop import wire
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces and port 179"),
]

HERE, THERE = Asn(64512), Asn(65001)
ROLE = 9


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ExabgpRig]:
    with facing_namespaces() as names:
        rig = ExabgpRig(names, tmp_path)
        yield rig
        rig.end()


def ours(role: Role | None, *, strict: bool = False) -> Session:
    made = session(OURS, PEERS, hold_time_s=30)
    return replace(made, local_asn=HERE, peer_asn=THERE, passive=False, role=role, strict_role=strict)


def theirs(role: Role | None, *, strict: bool = False) -> Session:
    made = session(PEERS, OURS, hold_time_s=30)
    return replace(made, local_asn=THERE, peer_asn=HERE, passive=True, role=role, strict_role=strict)


def test_counterparts_come_up_and_know_each_others_role(rig: ExabgpRig) -> None:
    """Each role after the other: another role is another session."""
    for role, counterpart in roles.COUNTERPART.items():
        rig.peer.configure(config_of(theirs(counterpart)))
        rig.speaker.configure(config_of(ours(role, strict=True)))
        wait_until(partial(is_agreed, rig.heard, PEERS, counterpart), within_s=30)
        wait_until(partial(is_agreed, rig.peer_heard, OURS, role), within_s=30)


def is_agreed(heard: Diary, peer: Address, role: Role) -> bool:
    """The session is up, and the peer's last OPEN had this role alone."""
    opened = [event.roles for event in heard.events if isinstance(event, SessionOpened)]
    return peer in established(heard.events) and opened[-1:] == [(roles.NUMBERS[role],)]


def test_roles_that_do_not_belong_together_are_rejected_and_reported_at_both_ends(rig: ExabgpRig) -> None:
    rig.peer.configure(config_of(theirs(Role.PROVIDER)))
    rig.speaker.configure(config_of(ours(Role.PROVIDER)))
    for heard in (rig.heard, rig.peer_heard):
        heard.wait(lambda events: [e for e in events if isinstance(e, SessionDown) and e.kind is DownKind.WRONG_ROLE])
        assert heard.wait_for(SessionOpened).roles == (roles.NUMBERS[Role.PROVIDER],)
        assert not [event for event in heard.events if isinstance(event, SessionUp)]


def test_a_session_with_a_role_at_one_end_needs_the_other_only_in_strict_mode(rig: ExabgpRig) -> None:
    rig.peer.configure(config_of(theirs(None)))
    rig.speaker.configure(config_of(ours(Role.PEER)))
    rig.heard.wait_until_up(PEERS)
    rig.peer_heard.wait_until_up(OURS)
    rig.speaker.configure(config_of(ours(Role.PEER, strict=True)))
    rig.heard.wait(lambda events: [e for e in events if isinstance(e, SessionDown) and e.kind is DownKind.WRONG_ROLE])


PLAIN = wire.REFRESH + wire.four_octet(THERE)
PROVIDER, CUSTOMER = bytes([ROLE, 1, 0]), bytes([ROLE, 1, 3])
MISMATCH = (3, bytes([2, 11]))
TAKEN = (4, b"")


@pytest.mark.parametrize(
    ("theirs", "answer"),
    [
        (b"", TAKEN),
        (PROVIDER, TAKEN),
        (PROVIDER + PROVIDER, TAKEN),
        (PROVIDER + CUSTOMER, MISMATCH),
        (CUSTOMER, MISMATCH),
        (bytes([ROLE, 1, 7]), MISMATCH),
        (bytes([ROLE, 0]), MISMATCH),
        (bytes([ROLE, 2, 0, 0]), MISMATCH),
    ],
)
def test_the_capability_of_a_peer_by_hand_is_judged_by_its_octets(
    speaker: tuple[str, ExabgpSpeaker], theirs: bytes, answer: tuple[int, bytes]
) -> None:
    """RFC 9234, section 4.2: the same one may be there twice, two different ones may not."""
    namespace, exabgp = speaker
    exabgp.configure(config_of(replace(ours(Role.CUSTOMER), passive=True)))
    found: list[tuple[bytes, tuple[int, bytes]]] = []

    def is_answered() -> bool:
        found.extend(answers(namespace, wire.opening_with(THERE, PEERS, PLAIN + theirs)))
        return bool(found)

    wait_until(is_answered, within_s=30)
    opened, (kind, body) = found[0]
    assert bytes([2, 3]) + CUSTOMER in opened  # a parameter of its own
    assert (kind, body[:2]) == answer


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[tuple[str, ExabgpSpeaker]]:
    """The peer's namespace, and a speaker that waits for it."""
    with facing_namespaces() as (here, there):
        speaker = ExabgpSpeaker(tmp_path, prefix=("ip", "netns", "exec", here))
        try:
            speaker.start(lambda _: None)
            yield there, speaker
        finally:
            speaker.shutdown()
            speaker.close()


def answers(namespace: str, opening: bytes) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
    """The speaker's OPEN, and its message after that; nothing where it does not take the connection yet."""
    with contextlib.suppress(OSError), netns.open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(15)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind((str(PEERS), 0))
        connection.connect((str(OURS), 179))
        connection.sendall(opening)
        (first, opened), second = received(connection), received(connection)
        if first == 1:
            yield opened, second


def received(connection: socket.socket) -> tuple[int, bytes]:
    """The kind and body of one message; 0 at the end."""
    header = connection.recv(19, socket.MSG_WAITALL)
    if len(header) < 19:
        return 0, b""
    size = int.from_bytes(header[16:18]) - 19
    return header[18], connection.recv(size, socket.MSG_WAITALL) if size else b""
