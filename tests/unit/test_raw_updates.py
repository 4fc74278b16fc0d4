"""Lines of raw UPDATEs: how ExaBGP cuts what it reads into them, and what they mean."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp.speaker import Malformed, SessionDown, SpeakerEvent, Update
from bgpctl.core.bgp.wire.message import IPV4_UNICAST, IPV6_UNICAST
from bgpctl.core.net.addresses import Address
from bgpctl.speaker import decode, encode, raw, raw_patches

PEER = Address.parse("10.99.0.10")
FACTS: dict[str, Any] = {
    "local_as": 64512,
    "peer_as": 65001,
    "four_octet": True,
    "families": [[1, 1]],
    "add_path": [],
    "next_hop6": [],
    "extended_message": False,
}
MARKER = b"\xff" * 16
ATTRIBUTES = bytes.fromhex("40010100400206020100 00fde9 4003040a63000a".replace(" ", ""))


def message(body: bytes, kind: int = 2) -> bytes:
    return MARKER + (19 + len(body)).to_bytes(2, "big") + bytes([kind]) + body


def update(announced: bytes, attributes: bytes = ATTRIBUTES) -> bytes:
    return message(b"\0\0" + len(attributes).to_bytes(2, "big") + attributes + announced)


def line(*messages: bytes, **facts: object) -> str:
    text = json.dumps({**FACTS, **facts}, separators=(",", ":"))
    return f"raw {PEER} 7 {text} {base64.b64encode(b''.join(messages)).decode()}"


def batch(*messages: bytes, **facts: object) -> raw.Batch:
    found = decode.decode(line(*messages, **facts))
    assert isinstance(found, raw.Batch)
    return found


def prefixes(events: list[SpeakerEvent]) -> set[str]:
    return {str(path.prefix) for event in events if isinstance(event, Update) for path in event.announced}


# Lines -------------------------------------------------------------------------------------------------------------


def test_a_line_is_a_batch_of_one_session() -> None:
    found = batch(update(b"\x08\x0a"), message(b"\0\0\0\0"), families=[[1, 1], [2, 1]], extended_message=True)
    assert (found.peer, found.counter) == (PEER, 7)
    assert found.bodies == (update(b"\x08\x0a")[19:], b"\0\0\0\0")
    assert (found.session.local_asn, found.session.peer_asn) == (64512, 65001)
    assert found.session.families == {IPV4_UNICAST, IPV6_UNICAST}
    assert found.session.extended_message
    assert not found.session.internal


@pytest.mark.parametrize(
    "text",
    [
        "raw ",
        "raw 10.99.0.10 7 {}",
        f"raw {PEER} 7 {{}} AAAA",
        f"raw {PEER} x {line()[line().index('{') :]}",
        line(update(b"")[:-1]),
        line(MARKER + b"\0\0\2"),
        line()[:-30],
    ],
)
def test_a_line_that_is_none_is_unrecognised(text: str) -> None:
    assert decode.decode(text) == decode.Unrecognised(text)


# Meaning -----------------------------------------------------------------------------------------------------------


def test_of_a_session_with_a_fatal_error_nothing_more_is_read_until_the_next() -> None:
    reader = raw.Reader()
    broken = update(b"\x21\x0a\0\0\0\0")
    events, reset = reader.read(batch(update(b"\x08\x0a"), broken, update(b"\x08\x0b")))
    assert prefixes(events) == {"10.0.0.0/8"}
    assert reset is not None
    assert (reset.code, reset.subcode) == (3, 10)
    assert reader.read(batch(update(b"\x08\x0b"))) == ([], None)
    reader.note(SessionDown(PEER, "notification sent (3,10)", notified=True))
    events, reset = reader.read(batch(update(b"\x08\x0b")))
    assert prefixes(events) == {"11.0.0.0/8"}
    assert reset is None


def test_errors_of_one_treatment_are_one_event() -> None:
    no_next_hop = update(b"\x08\x0a", ATTRIBUTES[:-7])
    events, reset = raw.Reader().read(batch(no_next_hop, no_next_hop, update(b"\x08\x0b")))
    assert reset is None
    assert [(e.withdrawn, e.count) for e in events if isinstance(e, Malformed)] == [(True, 2)]
    assert {str(p) for e in events if isinstance(e, Update) for p in e.withdrawn} == {"10.0.0.0/8"}
    assert prefixes(events) == {"11.0.0.0/8"}


def test_the_command_for_a_notification() -> None:
    assert encode.notify(PEER, 3, 10, b"") == f"neighbor {PEER} notify 3 10\n"
    assert encode.notify(PEER, 3, 5, b"\1\xff") == f"neighbor {PEER} notify 3 5 01ff\n"


# Reading -----------------------------------------------------------------------------------------------------------


class Tap:
    """A connection whose bytes come as they were cut."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.unread, self.msg_size = b"", 4096
        self.io = SimpleNamespace(recv=lambda _: pieces.pop(0))


@given(st.data())
def test_updates_are_found_whole_and_in_order_however_the_stream_is_cut(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from([update(b""), update(b"\x08\x0a"), message(b"", kind=4)]), max_size=20))
    stream = b"".join(kinds)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=10)))
    edges = [0, *(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges) if a < b]
    tap, found = Tap(pieces), b""
    while pieces or tap.unread:
        if raw_patches._begins_otherwise(tap):
            assert tap.unread.startswith(MARKER + b"\0\x13\4")
            found += raw_patches._taken(tap, 19)
        else:
            found += raw_patches._updates(tap)
    assert found == stream


@pytest.mark.parametrize(
    "header",
    [
        b"\0" * 16 + b"\0\x17\2",
        MARKER + b"\0\x16\2",
        MARKER + b"\x10\1\2",
        MARKER + b"\0\x13\4",
    ],
)
def test_a_header_that_is_no_updates_is_left_to_exabgp(header: bytes) -> None:
    tap = Tap([])
    tap.unread = update(b"\x08\x0a") + header
    assert raw_patches._updates(tap) == update(b"\x08\x0a")
    assert raw_patches._begins_otherwise(tap)
    assert tap.unread == header
