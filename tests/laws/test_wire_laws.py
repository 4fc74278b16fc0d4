"""
The decoder of UPDATEs: nothing makes it raise, no value ends a session or hides a prefix, and on right messages it
agrees with ExaBGP's own.

BGPCTL_TEST_MESSAGES is the number of damaged messages.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import fields, replace
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import pytest
from exabgp.bgp.message import Action
from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.update import Update
from exabgp.environment import getenv
from exabgp.logger import log
from exabgp.protocol.family import AFI, SAFI
from exabgp.reactor.api import API
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp.path import AsSet, Attributes, Path
from bgpctl.core.bgp.speaker import Announce
from bgpctl.core.bgp.speaker import Update as Event
from bgpctl.core.bgp.wire.attribute_list import MP_REACH_NLRI, MP_UNREACH_NLRI, PARTIAL, split
from bgpctl.core.bgp.wire.attributes import AS_PATH, NEXT_HOP
from bgpctl.core.bgp.wire.encode import encode
from bgpctl.core.bgp.wire.events import events
from bgpctl.core.bgp.wire.message import (
    IPV4_UNICAST,
    IPV6_UNICAST,
    SessionFacts,
    SessionReset,
    Treatment,
    UpdateMessage,
)
from bgpctl.core.bgp.wire.update import decode
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix
from bgpctl.speaker import encode as lines
from tests.laws.messages import (
    INTERNAL,
    NOT_TRANSITIVE,
    SESSIONS,
    UNKNOWN,
    US,
    Message,
    damaged,
    right,
    with_wrong_values,
)

MESSAGES: Final = int(os.environ.get("BGPCTL_TEST_MESSAGES", "20000"))
BATCHES: Final = 4
PASSED_ON: Final = 400
PEER: Final = Address.parse("10.99.0.10")

getenv()
log.silence()


def batch(seed: int, share: int = 2) -> Iterator[tuple[Random, SessionFacts, Message]]:
    rng = Random(f"{seed} {MESSAGES}")
    for _ in range(MESSAGES // BATCHES // share):
        session = rng.choice(SESSIONS)
        yield rng, session, right(rng, session)


def is_sound(meaning: UpdateMessage | SessionReset) -> bool:
    """Whatever the message was."""
    if isinstance(meaning, SessionReset):
        return meaning.code in (1, 3) and len(meaning.data) <= 4096 - 21 and meaning.section.startswith("RFC ")
    announced = [prefix for item in meaning.announced for prefix in item.nlri.prefixes]
    withdrawn = [prefix for nlri in meaning.withdrawn for prefix in nlri.prefixes]
    return (
        not (set(announced) & set(withdrawn))
        and all(Prefix.parse(str(prefix)) == prefix for prefix in announced[:1] + withdrawn[:1])
        and not (announced and any(fault.treatment is Treatment.WITHDRAW for fault in meaning.faults))
        and not (meaning.end_of_rib and (announced or withdrawn or meaning.faults))
    )


@pytest.mark.parametrize("seed", range(BATCHES))
def test_whatever_comes_has_a_meaning(seed: int) -> None:
    for rng, session, message in batch(seed):
        body = damaged(rng, message.body)
        assert is_sound(decode(body, session)), body.hex()


@given(st.binary(max_size=200), st.sampled_from(SESSIONS))
def test_any_bytes_have_a_meaning(body: bytes, session: SessionFacts) -> None:
    assert is_sound(decode(body, session))


@pytest.mark.parametrize("seed", range(BATCHES))
def test_no_value_of_an_attribute_ends_the_session_or_hides_a_prefix(seed: int) -> None:
    """RFC 7606: prefixes that can be found are announced or withdrawn, all of them alike."""
    for rng, session, message in batch(seed):
        wrong = with_wrong_values(rng, message)
        meaning = decode(wrong.body, session)
        assert isinstance(meaning, UpdateMessage), (wrong.body.hex(), meaning)
        announced = [prefix for item in meaning.announced for prefix in item.nlri.prefixes]
        withdrawn = [prefix for nlri in meaning.withdrawn for prefix in nlri.prefixes]
        assert sorted(announced + withdrawn) == sorted(message.prefixes)
        assert bool(announced) != any(fault.treatment is Treatment.WITHDRAW for fault in meaning.faults)
        assert is_sound(meaning)


# ExaBGP's reading ----------------------------------------------------------------------------------------------

_FAMILIES: Final = {IPV4_UNICAST: (AFI.ipv4, SAFI.unicast), IPV6_UNICAST: (AFI.ipv6, SAFI.unicast)}


def negotiated(session: SessionFacts) -> Any:
    return SimpleNamespace(
        families=[_FAMILIES[family] for family in session.families],
        nexthop=[(*_FAMILIES[family], AFI.ipv6) for family in session.extended_next_hop],
        asn4=session.four_octet,
        addpath=SimpleNamespace(receive=lambda *_: False, send=lambda *_: False),
        aigp=False,
        cached_attributes=None,
        cached_wire=b"",
    )


def exabgps(body: bytes, session: SessionFacts) -> tuple[dict[Prefix, dict[str, Any]], set[Prefix]]:
    """Announced prefixes with their attributes, and withdrawn ones."""
    update = Update.unpack_message(body, Direction.IN, negotiated(session))
    attributes = json.loads(f"{{{update.attributes.json()}}}")
    announced: dict[Prefix, dict[str, Any]] = {}
    withdrawn: set[Prefix] = set()
    for nlri in update.nlris:
        prefix = InterfaceAddress.parse(nlri.cidr.prefix()).network  # it keeps bits behind the length
        if nlri.action == Action.WITHDRAW:
            withdrawn.add(prefix)
        else:  # under two next hops it is there twice, the global one first
            announced.setdefault(prefix, {**attributes, "next-hop": str(nlri.nexthop)})
    return announced, withdrawn


def in_exabgps_words(path: Path) -> dict[str, Any]:
    """A path as ExaBGP's JSON has it, as far as both say the same."""
    words: dict[str, Any] = {"origin": path.origin, "next-hop": str(path.next_hop), "as-path": path.as_path}
    optional = {
        "med": path.med,
        "local-preference": path.local_pref,
        "originator-id": str(path.originator) if path.originator else None,
        "cluster-list": [str(cluster) for cluster in path.cluster_list] or None,
        "community": sorted(list(plain) for plain in path.communities if len(plain) == 2) or None,
        "large-community": sorted(list(large) for large in path.communities if len(large) == 3) or None,
        "extended-community": sorted(path.extended) or None,
    }
    words |= {name: value for name, value in optional.items() if value is not None}
    for raw in path.passed_on:
        match raw.code:
            case 6:
                words["atomic-aggregate"] = True
            case 7:
                words["aggregator"] = (
                    f"{int.from_bytes(raw.value[:4], 'big')}:{Address(4, int.from_bytes(raw.value[4:], 'big'))}"
                )
            case code:
                words[f"attribute-0x{code:02X}-0x{raw.flags:02X}"] = f"0x{raw.value.hex()}"
    return words


def in_our_words(attributes: dict[str, Any]) -> dict[str, Any]:
    """ExaBGP's JSON with its AS path as ours, and with lists in an order that both have."""
    segments = attributes.pop("as-path", {})
    path: list[Asn | AsSet] = []
    for key in sorted(segments, key=int):
        asns = tuple(segments[key]["value"])
        path += asns if segments[key]["element"] == "as-sequence" else (AsSet(asns),)
    attributes["as-path"] = tuple(path)
    for name in ("community", "large-community"):
        if name in attributes:
            attributes[name] = sorted(attributes[name])
    if "extended-community" in attributes:
        attributes["extended-community"] = sorted(item["value"] for item in attributes["extended-community"])
    # A name of ours ends in the flags of the attribute; ExaBGP counts the size of the length among them.
    return {name.replace("-0xF0", "-0xE0"): value for name, value in attributes.items()}


def update_of(body: bytes, session: SessionFacts) -> Event:
    """The event that a right message is."""
    meaning = decode(body, session)
    assert isinstance(meaning, UpdateMessage), (body.hex(), meaning)
    assert meaning.faults == (), (body.hex(), meaning.faults)
    (update,) = events(PEER, meaning)
    assert isinstance(update, Event)
    return update


@pytest.mark.parametrize("seed", range(BATCHES))
def test_right_messages_mean_the_same_to_exabgp(seed: int) -> None:
    for _, session, message in batch(seed, share=16):
        update = update_of(message.body, session)
        announced, withdrawn = exabgps(message.body, session)
        assert set(update.withdrawn) == withdrawn
        ours = {path.prefix: in_exabgps_words(path) for path in update.announced}
        assert ours == {prefix: in_our_words(dict(item)) for prefix, item in announced.items()}, message.body.hex()


# What we pass on -----------------------------------------------------------------------------------------------


def sent(path: Path, session: SessionFacts) -> bytes:
    """The UPDATE that ExaBGP makes of our command to announce a path to a peer in our AS."""
    (change,) = API(None).api_route(lines.encode(Announce(path.prefix, None, attributes_of(path))).strip())
    peer = SimpleNamespace(local_as=int(US), peer_as=int(US), asn4=session.four_octet)
    packed = change.attributes.pack(peer)
    return b"".join((struct.pack("!HH", 0, len(packed)), packed, change.nlri.pack(negotiated(session))))


def attributes_of(path: Path) -> Attributes:
    return Attributes(**{field.name: getattr(path, field.name) for field in fields(Attributes)})


def in_one_order(path: Path) -> Path:
    """ExaBGP sorts communities, sends none twice, and forgets that they or an AGGREGATOR were partial."""
    communities = sorted(set(path.communities), key=lambda community: (len(community), community))
    passed_on = (raw._replace(flags=0xC0) if raw.code == 7 else raw for raw in path.passed_on)
    return replace(
        path,
        communities=tuple(communities),
        extended=tuple(sorted(set(path.extended))),
        passed_on=tuple(passed_on),
        partial=(),
    )


@pytest.mark.parametrize("four_octet", [True, False])
def test_a_path_that_is_passed_on_inside_arrives_as_it_came(four_octet: bool) -> None:
    """By way of ExaBGP's commands, also to a peer that knows AS numbers of two octets only."""
    session = replace(INTERNAL, four_octet=four_octet)
    for seed in range(PASSED_ON):
        received = update_of(right(Random(seed), INTERNAL).body, INTERNAL).announced[0]
        if received.prefix.version == 4:
            (again,) = update_of(sent(received, session), session).announced
            assert in_one_order(again) == in_one_order(received)


def encoded(path: Path, session: SessionFacts) -> bytes:
    """The UPDATE with these attributes, encoded by us; only IPv4."""
    listed = encode(attributes_of(path), four_octet=session.four_octet)
    prefix = bytes([path.prefix.length]) + path.prefix.first.packed[: (path.prefix.length + 7) // 8]
    return struct.pack("!HH", 0, len(listed)) + listed + prefix


@pytest.mark.parametrize("session", [session for session in SESSIONS if session.internal])
def test_attributes_that_are_encoded_again_mean_the_same(session: SessionFacts) -> None:
    for seed in range(PASSED_ON):
        message = right(Random(seed), session)
        received = update_of(message.body, session).announced[0]
        if received.prefix.version == 4:
            assert update_of(encoded(received, session), session).announced == (received,)


def test_values_leave_as_the_octets_that_came() -> None:
    """But for an AS path that needs fewer segments, and what must not go on."""
    for seed in range(PASSED_ON):
        message = right(Random(seed), INTERNAL)
        path = update_of(message.body, INTERNAL).announced[0]
        came = split(b"".join(message.attributes)).found
        left = split(encode(attributes_of(path), four_octet=True)).found
        assert came.keys() - left.keys() <= {NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI, NOT_TRANSITIVE}
        assert left.keys() - came.keys() <= {NEXT_HOP}  # IPv4 that came in MP_REACH_NLRI
        assert all(left[code].value == came[code].value for code in left.keys() & came.keys() - {AS_PATH})
        assert all(
            left[raw.code].flags == came[raw.code].flags | (PARTIAL if raw.code in UNKNOWN else 0)
            for raw in path.passed_on
        )


@pytest.mark.parametrize("four_octet", [True, False])
def test_exabgps_encoder_agrees_with_ours(four_octet: bool) -> None:
    session = replace(INTERNAL, four_octet=four_octet)
    for seed in range(PASSED_ON):
        received = in_one_order(update_of(right(Random(seed), INTERNAL).body, INTERNAL).announced[0])
        if received.prefix.version == 4:
            assert decode(sent(received, session), session) == decode(encoded(received, session), session)
