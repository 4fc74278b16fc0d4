"""UPDATEs that the patched ExaBGP hands on as they came, from a peer that writes them by hand."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bgpctl.core.bgp.path import Path as BgpPath
from bgpctl.core.bgp.path import members
from bgpctl.core.bgp.speaker import EndOfRib, Malformed, SpeakerEvent, Update
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.speaker.exabgp import ExabgpSpeaker
from tests.contract.speaker_rig import OURS, PEERS, Diary, config_of, ends, facing_namespaces, ip, session
from tests.interop import wire
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces and port 179"),
]

OURS_TOO, PEERS_TOO = Address.parse("10.99.0.4"), Address.parse("10.99.0.5")
ASN = Asn(64512)
BLUE, RED, MARK = (Prefix.parse(text) for text in ("10.1.0.0/26", "10.2.0.0/26", "10.3.0.0/26"))
POOL = [Prefix(4, (10 << 24) + (5 << 16) + (number << 4), 28 + number % 5) for number in range(0, 400, 4)]
OPTIONAL, TRANSITIVE = 0x80, 0x40
RIGHT = wire.origin() + wire.attribute(2, b"") + wire.next_hop(PEERS) + wire.attribute(5, struct.pack("!I", 100))


def update(prefix: Prefix, *more: bytes) -> bytes:
    return wire.update(b"".join((RIGHT, *more)), wire.nlri(prefix))


@dataclass(frozen=True)
class Side:
    """A speaker, and the peer that talks to it."""

    speaker: ExabgpSpeaker
    heard: Diary
    peer: wire.Speaker
    address: Address

    def up(self) -> None:
        self.peer.up()
        self.heard.wait_until_up(self.address)

    def paths(self) -> dict[Prefix, BgpPath]:
        return paths(self.heard.events)


def paths(events: list[SpeakerEvent]) -> dict[Prefix, BgpPath]:
    """The peer's table after these events."""
    found: dict[Prefix, BgpPath] = {}
    for event in events:
        if isinstance(event, Update):
            found.update((path.prefix, path) for path in event.announced)
            for prefix in event.withdrawn:
                found.pop(prefix, None)
    return found


@contextlib.contextmanager
def side(
    names: tuple[str, str], directory: Path, local: Address, address: Address, *, patched: bool = True
) -> Iterator[Side]:
    speaker = ExabgpSpeaker(directory, prefix=("ip", "netns", "exec", names[0]), patched=patched)
    heard, peer = Diary(), wire.Speaker(names[1], address, ASN)
    try:
        speaker.start(heard.write)
        wanted = replace(session(local, address, hold_time_s=30), passive=False)
        speaker.configure(config_of(wanted, local=local))
        made = Side(speaker, heard, peer, address)
        made.up()
        yield made
    finally:
        peer.close()
        speaker.shutdown()
        speaker.close()


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Side]:
    with facing_namespaces() as names, side(names, tmp_path / "raw", OURS, PEERS) as made:
        yield made


# The same as ExaBGP's own way --------------------------------------------------------------------------------------


def numbers(chance: random.Random, most: int, below: int) -> list[int]:
    """Some, each once and in order: ExaBGP sorts communities."""
    return sorted(chance.sample(range(1, below), chance.randrange(1, most)))


def attributes(chance: random.Random) -> bytes:
    """Attributes of an UPDATE of an internal peer that RFC 4271 and its extensions allow."""
    asns = [chance.randrange(64000, 64500) for _ in range(chance.randrange(4))]
    path = wire.as_path(*asns) if asns else wire.attribute(2, b"")
    if chance.random() < 0.2:
        path = wire.attribute(2, struct.pack("!BBIBBII", 2, 1, 64001, 1, 2, 64002, 64003))
    some = [
        wire.attribute(4, struct.pack("!I", chance.randrange(2**32)), flags=OPTIONAL),
        wire.attribute(6, b""),
        wire.attribute(7, struct.pack("!II", 64001, 1), flags=OPTIONAL | TRANSITIVE),
        wire.attribute(
            8, b"".join(struct.pack("!HH", 64512, n) for n in numbers(chance, 5, 60000)), flags=OPTIONAL | TRANSITIVE
        ),
        wire.attribute(9, struct.pack("!I", chance.randrange(1, 2**31)), flags=OPTIONAL),
        wire.attribute(10, b"".join(struct.pack("!I", n) for n in numbers(chance, 4, 60000)), flags=OPTIONAL),
        wire.attribute(
            16,
            b"".join(struct.pack("!BBHI", 0, 2, 64512, n) for n in numbers(chance, 4, 60000)),
            flags=OPTIONAL | TRANSITIVE,
        ),
        wire.attribute(
            32,
            b"".join(struct.pack("!III", 64512, n, 1) for n in numbers(chance, 4, 60000)),
            flags=OPTIONAL | TRANSITIVE,
        ),
        wire.attribute(99, b"abc", flags=OPTIONAL | TRANSITIVE),
    ]
    hop = wire.next_hop(Address(4, PEERS.value + chance.randrange(8)))
    preference = wire.attribute(5, struct.pack("!I", chance.randrange(1, 1000)))
    return b"".join(
        (wire.origin(chance.randrange(3)), path, hop, preference, *(item for item in some if chance.random() < 0.3))
    )


def valid(chance: random.Random) -> bytes:
    """An UPDATE that announces, withdraws or does both, of different prefixes."""
    prefixes = chance.sample(POOL, chance.randrange(3, 9))
    kind = chance.randrange(4)
    gone, new = prefixes[: (0, 0, 1, 2)[kind]], prefixes[2:] if kind < 3 else []
    withdrawn = b"".join(map(wire.nlri, gone))
    announced = b"".join(map(wire.nlri, new))
    shared = attributes(chance) if new else b""
    body = struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(shared)) + shared + announced
    return wire.message(2, body)


def comparable(found: dict[Prefix, BgpPath]) -> dict[Prefix, BgpPath]:
    """Without what ExaBGP's JSON does not have: it shows a set as a sequence, and the agent passes nothing of it on."""
    return {prefix: replace(path, as_path=tuple(members(path.as_path)), passed_on=()) for prefix, path in found.items()}


def pieces(chance: random.Random, stream: bytes) -> Iterator[bytes]:
    """The stream cut anywhere."""
    while stream:
        size = chance.choice((1, 7, 18, 19, 20, 100, 5000))
        yield stream[:size]
        stream = stream[size:]


def test_valid_updates_mean_the_same_as_when_exabgp_reads_them(tmp_path: Path) -> None:
    chance = random.Random(7)
    messages = b"".join(valid(chance) for _ in range(400))
    with facing_namespaces() as names:
        for name, more in zip(names, (OURS_TOO, PEERS_TOO), strict=True):
            ip("-n", name, "address", "add", f"{more}/24", "dev", "peer")
        with (
            side(names, tmp_path / "raw", OURS, PEERS) as raw,
            side(names, tmp_path / "stock", OURS_TOO, PEERS_TOO, patched=False) as stock,
        ):
            for made in (raw, stock):
                for piece in pieces(chance, messages):
                    made.peer.send(piece)
                made.peer.send(update(MARK), wire.END_OF_RIB)
                assert made.heard.wait_for(EndOfRib, within_s=30) == EndOfRib(made.address, 4)
            assert MARK in raw.paths()
            assert comparable(raw.paths()) == stock.paths()
            assert len(raw.paths()) > len(POOL) / 2


# Errors ----------------------------------------------------------------------------------------------------------


def test_errors_that_a_session_outlives_are_reported(raw: Side) -> None:
    short_aggregator = wire.attribute(7, b"\0\1\1\2\3\4", flags=OPTIONAL | TRANSITIVE)
    short_med = wire.attribute(4, b"\1", flags=OPTIONAL)
    raw.peer.send(update(BLUE), update(RED, short_aggregator), update(BLUE, short_med), update(MARK))
    raw.heard.wait_for_table({RED, MARK})
    found = {(event.withdrawn, event.count) for event in raw.heard.events if isinstance(event, Malformed)}
    assert found == {(False, 1), (True, 1)}
    assert not ends(raw.heard.events)


def test_an_error_that_ends_a_session_is_notified_and_nothing_after_it_is_used(raw: Side) -> None:
    broken = wire.update(RIGHT, bytes([33, 10, 9, 0, 0, 0]))
    raw.peer.send(update(BLUE), broken, update(RED))
    down = raw.heard.wait_for_end()
    assert down.notified
    assert down.reason == "notification sent (3,10)"
    wait_until(lambda: [body[:2] for body in raw.peer.notifications] == [bytes([3, 10])])
    assert set(raw.paths()) == {BLUE}
    raw.up()
    raw.peer.send(update(MARK))
    raw.heard.wait_for_table({BLUE, MARK})


def test_an_update_right_before_the_end_of_its_connection_is_read(raw: Side) -> None:
    raw.peer.send(update(BLUE))
    raw.peer.hang_up()
    raw.heard.wait_for_end()
    assert set(raw.paths()) == {BLUE}


def test_a_header_that_is_wrong_after_updates_of_the_same_read_ends_the_session(raw: Side) -> None:
    raw.peer.send(update(BLUE) + update(RED) + wire.message(2, b"", length=22))
    assert raw.heard.wait_for_end().reason == "notification sent (1,2)"
    assert set(raw.paths()) == {BLUE, RED}
