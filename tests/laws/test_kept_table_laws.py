"""The table that ExaBGP keeps of a peer without route refresh: written again, it means what the messages meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.speaker import EndOfRib, Update
from bgpctl.core.bgp.wire.events import events
from bgpctl.core.bgp.wire.message import IPV4_UNICAST, IPV6_UNICAST, SessionReset, UpdateMessage
from bgpctl.core.bgp.wire.update import decode
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.speaker.kept_table import KeptTable
from tests.laws.messages import EXTERNAL, damaged, right, with_wrong_values

PEER: Final = Address.parse("10.99.0.10")
FAMILIES: Final = [(1, 1), (2, 1)]
MOST_BYTES: Final = 65536


def whole(body: bytes) -> bytes:
    return b"\xff" * 16 + (19 + len(body)).to_bytes(2, "big") + b"\2" + body


def bodies(stream: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(stream):
        size = int.from_bytes(stream[at + 16 : at + 18], "big")
        yield stream[at + 19 : at + size]
        at += size


def table(messages: Iterable[bytes]) -> tuple[dict[Prefix, Path], list[int]]:
    """The paths after these messages, and the IP versions of which an End-of-RIB came."""
    paths: dict[Prefix, Path] = {}
    ended: list[int] = []
    for body in messages:
        meaning = decode(body, EXTERNAL)
        if not isinstance(meaning, UpdateMessage):
            continue  # the session ends
        for event in events(PEER, meaning):
            if isinstance(event, EndOfRib):
                ended.append(event.version)
            elif isinstance(event, Update):
                paths.update((path.prefix, path) for path in event.announced)
                for prefix in event.withdrawn:
                    paths.pop(prefix, None)
    return paths, ended


def written(kept: KeptTable) -> bytes:
    parts = list(kept.written(MOST_BYTES))
    assert all(len(part) <= MOST_BYTES for part in parts)
    assert all(len(body) + 19 <= 4096 for part in parts for body in bodies(part))
    return b"".join(parts)


@pytest.mark.parametrize("seed", range(40))
def test_a_table_that_is_written_again_means_the_same(seed: int) -> None:
    rng, kept = Random(seed), KeptTable(FAMILIES, 4096)
    pool = [right(rng, EXTERNAL) for _ in range(30)]
    messages = [with_wrong_values(rng, message) if rng.random() < 0.3 else message for message in pool * 2]
    sent = [message.body for message in messages if isinstance(decode(message.body, EXTERNAL), UpdateMessage)]
    for body in sent:
        kept.take(whole(body))
    assert table(bodies(written(kept)))[0] == table(sent)[0]
    assert written(kept) == written(kept)


def test_the_end_is_written_once_the_peer_has_marked_it() -> None:
    kept = KeptTable(FAMILIES, 4096)
    assert written(kept) == b""
    kept.take(whole(bytes(4)))
    assert table(bodies(written(kept)))[1] == [4, IPV6_UNICAST.version]


@pytest.mark.parametrize("seed", range(40))
def test_nothing_that_comes_makes_it_fail(seed: int) -> None:
    rng, kept = Random(seed), KeptTable(FAMILIES, 4096)
    for _ in range(100):
        kept.take(whole(damaged(rng, right(rng, EXTERNAL).body)[:4000]))
    written(kept)


def outcome(messages: Iterable[bytes]) -> tuple[dict[Prefix, Path], tuple[int, int] | None]:
    """The paths, and the NOTIFICATION that ends the session: what comes after it is not read."""
    read: list[bytes] = []
    for body in messages:
        meaning = decode(body, EXTERNAL)
        if isinstance(meaning, SessionReset):
            return table(read)[0], (meaning.code, meaning.subcode)
        read.append(body)
    return table(read)[0], None


@pytest.mark.parametrize("seed", range(100))
def test_an_error_that_ends_the_session_is_found_again(seed: int) -> None:
    """An agent that is killed before it has sent the NOTIFICATION leaves that to the next one."""
    rng, kept = Random(seed), KeptTable(FAMILIES, 4096)
    sent = [right(rng, EXTERNAL).body for _ in range(5)]
    sent += [damaged(rng, right(rng, EXTERNAL).body)[:4000] for _ in range(30)]
    for body in sent:
        kept.take(whole(body))
        if isinstance(decode(body, EXTERNAL), SessionReset):
            break
    (before, ends), (after, ends_again) = outcome(sent), outcome(bodies(written(kept)))
    assert bool(ends_again) is bool(ends)
    assert ends or after == before


def test_paths_with_identifiers_are_kept_each_by_itself() -> None:
    """RFC 7911."""
    session = replace(EXTERNAL, add_path=frozenset({IPV4_UNICAST}))
    attributes = bytes.fromhex("40010100 40020602010000fde9 4003040a63000a")
    routes = [identifier.to_bytes(4, "big") + bytes.fromhex("18ac1401") for identifier in (1, 2, 3)]
    kept = KeptTable(FAMILIES, 4096, [(1, 1)])
    kept.take(whole(b"\0\0" + len(attributes).to_bytes(2, "big") + attributes + b"".join(routes)))
    kept.take(whole(len(routes[1]).to_bytes(2, "big") + routes[1] + b"\0\0"))
    (again,) = bodies(written(kept))
    meaning = decode(again, session)
    assert isinstance(meaning, UpdateMessage)
    assert [item.nlri.path_ids for item in meaning.announced] == [(1, 3)]
