"""The patched ExaBGP obeys the OPEN of a peer, and the RFCs in an established session."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from bgpctl.core.bgp.path import AsSet, Attributes, RawAttribute
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    DownKind,
    EndOfRib,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerCommand,
    Withdraw,
)
from bgpctl.core.bgp.wire.attribute_list import split
from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab import netns
from bgpctl.speaker.exabgp import ExabgpSpeaker
from tests.contract.speaker_rig import OURS, PEERS, Diary, config_of, established, facing_namespaces, session, table
from tests.interop import wire
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces and port 179"),
]

ASN = Asn(64512)
FOUR_OCTET = wire.four_octet(ASN)
BLUE, RED, GREEN = (Prefix.parse(text) for text in ("10.1.0.0/26", "10.2.0.0/26", "10.3.0.0/24"))
RIGHT = wire.origin() + wire.attribute(2, b"") + wire.next_hop(PEERS) + wire.attribute(5, struct.pack("!I", 100))
KEEPALIVE = wire.message(4)


def announced(*prefixes: Prefix, attributes: bytes = RIGHT) -> bytes:
    return wire.update(attributes, b"".join(map(wire.nlri, prefixes)))


def withdrawn(prefix: Prefix) -> bytes:
    body = wire.nlri(prefix)
    return wire.message(2, struct.pack("!H", len(body)) + body + b"\0\0")


def refresh(subtype: int) -> bytes:
    return wire.message(5, bytes([0, 1, subtype, 1]))


@dataclass
class Side:
    """A speaker, which may be let go and taken up by another, and the peer that talks to it."""

    names: tuple[str, str]
    directory: Path
    peer: wire.Speaker
    speaker: ExabgpSpeaker
    heard: Diary
    patched: bool = True

    def take_up(self) -> None:
        """A new agent takes over ExaBGP, which has run on."""
        self.speaker.close()
        self.speaker, self.heard = _speaker(self.names, self.directory, patched=self.patched)

    def end(self) -> None:
        self.speaker.shutdown()
        self.speaker.close()

    def has(self, prefix: Prefix) -> bool:
        """The peer was sent the prefix in its last UPDATE about it."""
        last = [body for body in self.peer.updates if wire.nlri(prefix) in body]
        return bool(last) and last[-1].endswith(wire.nlri(prefix))


def _speaker(names: tuple[str, str], directory: Path, *, patched: bool = True) -> tuple[ExabgpSpeaker, Diary]:
    speaker, heard = ExabgpSpeaker(directory, prefix=("ip", "netns", "exec", names[0]), patched=patched), Diary()
    speaker.start(heard.write)
    wanted = replace(session(OURS, PEERS, hold_time_s=30), passive=False)
    speaker.configure(config_of(wanted, local=OURS))
    return speaker, heard


class Made(Protocol):
    """A speaker whose peer has these capabilities, and is up."""

    def __call__(self, capabilities: bytes, *, patched: bool = True) -> Side: ...


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Made]:
    """A speaker whose peer has these capabilities, and is up."""
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(facing_namespaces())

        def made(capabilities: bytes, *, patched: bool = True) -> Side:
            peer = wire.Speaker(names[1], PEERS, ASN, wire.opening_with(ASN, PEERS, capabilities))
            stack.callback(peer.close)
            side = Side(
                names, tmp_path / "run", peer, *_speaker(names, tmp_path / "run", patched=patched), patched=patched
            )
            stack.callback(side.end)
            peer.up()
            side.heard.wait_until_up(PEERS)
            return side

        yield made


def test_keepalives_come_as_often_as_the_configuration_says(side: Made) -> None:
    """Thirds of the hold time that both ends agree on, 30 s, would be too few."""
    plain = side(wire.four_octet(ASN))
    wanted = replace(session(OURS, PEERS, hold_time_s=240), passive=False, keepalive_s=1)
    plain.speaker.configure(config_of(wanted, local=OURS))
    assert plain.peer.ended.wait(30)  # another hold time is another session
    plain.peer.up()
    before = plain.peer.received[4]
    wait_until(lambda: plain.peer.received[4] >= before + 5, within_s=30)


def test_a_speaker_with_options_of_its_own_patches_attaches(tmp_path: Path) -> None:
    """ExaBGP lists them in the descriptions, by which the configuration in force is known."""
    with facing_namespaces() as names:
        speaker, heard = ExabgpSpeaker(tmp_path, prefix=("ip", "netns", "exec", names[0])), Diary()
        try:
            speaker.start(heard.write)
            speaker.configure(config_of(replace(session(OURS, PEERS), keepalive_s=1), local=OURS))
            heard.wait_for(SpeakerAttached)
        finally:
            speaker.shutdown()
            speaker.close()


# Families and refreshes ----------------------------------------------------------------------------------------


def test_a_peer_without_any_capability_speaks_ipv4_in_both_directions(side: Made) -> None:
    plain = side(b"")
    plain.peer.send(announced(BLUE), wire.END_OF_RIB)
    plain.heard.wait_for_table({BLUE})
    plain.speaker.send([Announce(RED, PEERS)])
    wait_until(lambda: plain.has(RED))


def test_exabgp_as_it_is_never_asks_such_a_peer_either(side: Made) -> None:
    """Its table comes with another session."""
    plain = side(wire.four_octet(ASN), patched=False)
    plain.take_up()
    plain.heard.wait_for(SpeakerAttached)
    plain.speaker.send([AskRefresh(PEERS, 4)])
    assert plain.peer.ended.wait(30)
    plain.peer.up()
    plain.heard.wait_for(SessionUp)
    assert plain.peer.refreshes == []


def test_a_peer_without_route_refresh_is_never_asked_and_a_new_agent_has_its_table(side: Made) -> None:
    plain = side(wire.four_octet(ASN))
    unknown = wire.attribute(200, b"\xaa", flags=0xC0)
    plain.peer.send(announced(BLUE, RED, GREEN), announced(RED, attributes=RIGHT + unknown), withdrawn(GREEN))
    plain.peer.send(wire.END_OF_RIB)
    plain.heard.wait_for_table({BLUE, RED})
    plain.take_up()
    plain.heard.wait_until_up(PEERS)
    assert not plain.heard.wait_for(SessionOpened).route_refresh
    plain.speaker.send([AskRefresh(PEERS, 4)])
    assert plain.heard.wait_for(EndOfRib) == EndOfRib(PEERS, 4)
    assert table(plain.heard.events) == {BLUE, RED}
    again = len(plain.heard.events)
    plain.peer.send(announced(GREEN))
    plain.heard.wait_for_table({BLUE, RED, GREEN})
    assert plain.peer.refreshes == []
    assert not [event for event in plain.heard.events[again:] if isinstance(event, SessionDown)]


def test_a_peer_with_route_refresh_is_asked(side: Made) -> None:
    asked = side(wire.REFRESH + FOUR_OCTET)
    asked.speaker.send([AskRefresh(PEERS, 4)])
    wait_until(lambda: asked.peer.refreshes == [bytes([0, 1, 0, 1])])


def test_marks_of_the_peers_own_refresh_and_unknown_subtypes_are_not_answered(side: Made) -> None:
    marking = side(wire.REFRESH + bytes([70, 0]) + FOUR_OCTET)
    marking.speaker.send([Announce(BLUE, PEERS)])
    wait_until(lambda: marking.has(BLUE))
    marking.peer.send(refresh(1), announced(RED), refresh(2), refresh(7), announced(GREEN))
    marking.heard.wait_for_table({RED, GREEN})
    marking.speaker.send([Announce(RED, PEERS)])
    wait_until(lambda: marking.has(RED))
    assert len([body for body in marking.peer.updates if wire.nlri(BLUE) in body]) == 1
    before = len(marking.peer.updates)
    marking.peer.send(refresh(0))
    wait_until(lambda: {BLUE, RED} <= _prefixes(marking.peer.updates[before:]))
    assert not marking.peer.ended.is_set()


def _prefixes(bodies: list[bytes]) -> set[Prefix]:
    return {prefix for prefix in (BLUE, RED, GREEN) for body in bodies if wire.nlri(prefix) in body}


# States --------------------------------------------------------------------------------------------------------


def test_a_second_open_is_an_error_of_the_states(side: Made) -> None:
    twice = side(wire.REFRESH + FOUR_OCTET)
    twice.peer.send(wire.opening(ASN, PEERS))
    wait_until(lambda: [body[:2] for body in twice.peer.notifications] == [bytes([5, 3])])


def test_a_peer_that_is_back_after_a_restart_is_taken_at_once_and_keeps_its_routes(side: Made) -> None:
    graceful = wire.graceful_restart(restarted=False)
    gone = side(graceful + wire.REFRESH + FOUR_OCTET)
    gone.peer.send(announced(BLUE), wire.END_OF_RIB)
    gone.heard.wait_for_table({BLUE})
    back = wire.opening_with(ASN, PEERS, wire.graceful_restart(restarted=True) + wire.REFRESH + FOUR_OCTET)
    # A connection in the first two seconds is taken for a collision.
    wait_until(lambda: _takes(gone.names[1], back))
    ended = gone.heard.wait_for_end()
    assert (ended.kind, ended.notified) == (DownKind.CLOSED, False)
    gone.heard.wait(lambda events: SessionUp(PEERS) in events[events.index(ended) :])
    assert gone.peer.notifications == []


def test_without_graceful_restart_another_connection_is_refused(side: Made) -> None:
    there = side(wire.REFRESH + FOUR_OCTET)
    for _ in range(3):
        assert not _takes(there.names[1], wire.opening(ASN, PEERS))
    assert established(there.heard.events) == {PEERS}


def _takes(namespace: str, opening: bytes) -> bool:
    """Open a session from the peer's address, in place of the one that is there; False if it is refused."""
    connection = netns.open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(15)
    connection.bind((str(PEERS), 0))
    connection.connect((str(OURS), 179))
    with contextlib.suppress(OSError):
        connection.sendall(opening + KEEPALIVE)
        if (header := connection.recv(19, socket.MSG_WAITALL)) and header[18] == 1:
            _kept.append(connection)
            return True
    connection.close()
    return False


_kept: list[socket.socket] = []
"""A connection ends with its socket."""


# Attributes ----------------------------------------------------------------------------------------------------

STRANGE = Attributes(
    next_hop=PEERS,
    as_path=(Asn(65001), Asn(4200000001), AsSet((Asn(65011), Asn(65010))), *[Asn(65020)] * 300),
    local_pref=7,
    med=0,
    communities=((65001, 9), (65001, 3), (65001, 1, 2)),
    extended=(0x7F01000000000001, 0x0002FDE900000001),
    origin="incomplete",
    passed_on=(
        RawAttribute(0x40, 6, b""),
        RawAttribute(0xE0, 7, bytes.fromhex("fa56ea0101020304")),
        RawAttribute(0xE0, 35, bytes.fromhex("0000fde9")),
        RawAttribute(0xE0, 200, bytes(300)),
    ),
    partial=(8, 16),
)


@pytest.mark.parametrize("four_octet", [True, False])
def test_attributes_leave_as_they_were_encoded(side: Made, four_octet: bool) -> None:
    sent = side(FOUR_OCTET if four_octet else b"")
    sent.speaker.send([Announce(BLUE, PEERS, STRANGE), Announce(RED, PEERS, replace(STRANGE, next_hop=None))])
    wait_until(lambda: sent.has(BLUE) and sent.has(RED))
    blue, red = (
        split(_attributes(next(body for body in sent.peer.updates if body.endswith(wire.nlri(p))))) for p in (BLUE, RED)
    )
    assert blue.found[3].value == PEERS.packed
    assert red.found[3].value == OURS.packed
    assert [*blue.found] == sorted(blue.found)
    assert not blue.faults
    found = {code: raw.flags for code, raw in blue.found.items()}
    narrow = {} if four_octet else {17: 0xC0, 18: 0xE0}
    expected = {1: 0x40, 2: 0x40, 3: 0x40, 4: 0x80, 5: 0x40, 6: 0x40, 7: 0xE0, 8: 0xE0, 16: 0xE0, 32: 0xC0, 35: 0xE0}
    assert found == {**expected, **narrow, 200: 0xE0}
    assert blue.found[8].value == bytes.fromhex("fde90009fde90003")
    assert blue.found[16].value == bytes.fromhex("7f010000000000010002fde900000001")
    assert blue.found[7].value == bytes.fromhex("fa56ea0101020304" if four_octet else "5ba001020304")


def _attributes(body: bytes) -> bytes:
    return body[4 : 4 + int.from_bytes(body[2:4], "big")]


def test_the_last_of_many_changes_is_the_one_that_counts(side: Made) -> None:
    """ExaBGP queues changes by attribute set."""
    sent = side(FOUR_OCTET)
    one, two = (Attributes(med=med) for med in (1, 2))
    turns: list[SpeakerCommand] = [
        Announce(BLUE, PEERS, one),
        Withdraw(BLUE, PEERS),
        Announce(BLUE, PEERS, two),
        Announce(BLUE, PEERS, one),
    ]
    gone: list[SpeakerCommand] = [Announce(RED, PEERS, one), Announce(RED, PEERS, two), Withdraw(RED, PEERS)]
    sent.speaker.send([*turns, *gone, Announce(GREEN, PEERS, two)] * 20)
    wait_until(lambda: sent.has(GREEN) and sent.has(BLUE))
    sent.speaker.send([Announce(GREEN, PEERS, one)])
    wait_until(lambda: bytes.fromhex("80040400000001") in _attributes(_last(sent, GREEN)))
    assert bytes.fromhex("80040400000001") in _attributes(_last(sent, BLUE))
    assert not sent.has(RED)


def _last(sent: Side, prefix: Prefix) -> bytes:
    return [body for body in sent.peer.updates if wire.nlri(prefix) in body][-1]
