"""UPDATE messages in hexadecimal and their meaning: tests/data/bgp-updates.yaml."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from bgpctl.core.bgp.wire import as_path
from bgpctl.core.bgp.wire.message import (
    IPV4_UNICAST,
    IPV6_UNICAST,
    Announcement,
    NextHop,
    Segment,
    SegmentKind,
    SessionFacts,
    SessionReset,
    UpdateMessage,
)
from bgpctl.core.bgp.wire.update import decode
from bgpctl.core.net.addresses import Address, Asn, Prefix

CASES: Final = yaml.safe_load((Path(__file__).parents[2] / "data/bgp-updates.yaml").read_text())

US, PEER = Asn(64512), Asn(65001)
BOTH = frozenset({IPV4_UNICAST, IPV6_UNICAST})
SESSIONS: Final = {
    "external": SessionFacts(US, PEER, internal=False),
    "internal": SessionFacts(US, US, internal=True),
    "two-octet": SessionFacts(US, PEER, internal=False, four_octet=False),
    "ipv6": SessionFacts(US, PEER, internal=False, families=frozenset({IPV6_UNICAST})),
    "both": SessionFacts(US, PEER, internal=False, families=BOTH),
    "add-path": SessionFacts(US, PEER, internal=False, add_path=frozenset({IPV4_UNICAST})),
    "extended-next-hop": SessionFacts(
        US, PEER, internal=False, families=BOTH, extended_next_hop=frozenset({IPV4_UNICAST})
    ),
    "route-server": SessionFacts(US, PEER, internal=False, first_as_check=False),
    "member-as": SessionFacts(US, PEER, internal=False, confederation=True),
}
SHORT: Final = {
    "base": "40010100 40020602010000fde9 4003040a63000a",
    "inner": "40010100 400200 4003040a63000a 40050400000064",
    "bare": "40010100 40020602010000fde9",
    "P": "18ac1401",
    "V6": "3020010db80001",
    "H6": "1020010db8000000000000000000000001",
}


def octets(text: str) -> bytes:
    return bytes.fromhex("".join(SHORT.get(word, word) for word in text.split()))


def body(case: Mapping[str, Any]) -> bytes:
    if "body" in case:
        return bytes.fromhex(str(case["body"]))
    withdrawn, attributes, announced = map(octets, case["message"].split("|"))
    return b"".join(
        (struct.pack("!H", len(withdrawn)), withdrawn, struct.pack("!H", len(attributes)), attributes, announced)
    )


def written(path: tuple[Segment, ...]) -> str:
    marks = {
        SegmentKind.SEQUENCE: "{}",
        SegmentKind.SET: "{{{}}}",
        SegmentKind.CONFED_SEQUENCE: "({})",
        SegmentKind.CONFED_SET: "[{}]",
    }
    return " ".join(marks[segment.kind].format(" ".join(map(str, segment.asns))) for segment in path)


def words(values: Any) -> str:
    return " ".join(map(str, values))


def shown(announcement: Announcement, name: str) -> str:
    """An attribute as the file has it."""
    attributes, next_hop = announcement.attributes, announcement.next_hop
    match name:
        case "next_hop":
            return words(address for address in next_hop if address)
        case "as_path":
            return written(attributes.as_path)
        case "as_count":
            return str(as_path.count(attributes.as_path))
        case "communities":
            return words(":".join(map(str, community)) for community in attributes.communities)
        case "extended":
            return words(f"{community:016x}" for community in attributes.extended)
        case "others":
            return " ".join(f"{raw.flags:02x} {raw.code} {raw.value.hex()}" for raw in attributes.others)
        case "aggregator" if attributes.aggregator:
            return words(attributes.aggregator)
        case "partial" | "cluster_list":
            return words(getattr(attributes, name))
        case _:
            return str(getattr(attributes, name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_message_means_what_the_rfc_says(case: Mapping[str, Any]) -> None:
    meaning = decode(body(case), SESSIONS[case.get("session", "external")])
    right, _, detail = case["right"].partition(" ")
    if right == "reset":
        assert isinstance(meaning, SessionReset)
        assert f"{meaning.code}/{meaning.subcode}" == detail
        assert meaning.section == case["source"]
        return
    assert isinstance(meaning, UpdateMessage), meaning
    faults = [f"{fault.code or 0} {fault.treatment.name.lower()}" for fault in meaning.faults]
    assert faults == case.get("faults", [])
    prefix = Prefix.parse(case.get("prefix", "172.20.1.0/24"))
    announced = [item for item in meaning.announced if prefix in item.nlri.prefixes]
    withdrawn = [part for part in meaning.withdrawn if prefix in part.prefixes]
    assert len(announced) == int(right == "used")
    assert len(withdrawn) == int(right == "withdrawn" or "also_withdrawn" in case)
    assert meaning.end_of_rib == {"4": IPV4_UNICAST, "6": IPV6_UNICAST}.get(detail)
    assert meaning.announced == () if right != "used" else meaning.announced
    for item in announced:
        assert {name: shown(item, name) for name in case.get("has", {})} == case.get("has", {})
        assert words(item.nlri.path_ids) == str(case.get("path_ids", ""))
    for part in withdrawn:
        assert words(part.path_ids) == str(case.get("also_withdrawn", ""))


def test_each_treatment_names_where_it_is_prescribed() -> None:
    for case in CASES:
        meaning = decode(body(case), SESSIONS[case.get("session", "external")])
        sections = [meaning.section] if isinstance(meaning, SessionReset) else [f.section for f in meaning.faults]
        assert all(section.startswith("RFC ") for section in sections)


def test_a_notification_has_the_attribute_that_it_complains_of() -> None:
    unknown = decode(body({"message": "| base 40c801aa | P"}), SESSIONS["external"])
    assert isinstance(unknown, SessionReset)
    assert unknown.data == bytes.fromhex("40c801aa")
    cut = decode(body({"message": "| bare 800e04 00020110 |"}), SESSIONS["both"])
    assert isinstance(cut, SessionReset)
    assert cut.data == bytes.fromhex("800e0400020110")


def test_a_message_longer_than_was_agreed_is_refused() -> None:
    long = body({"message": "| base |"}) + octets("P") * 1100
    meaning = decode(long, SESSIONS["external"])
    assert isinstance(meaning, SessionReset)
    assert (meaning.code, meaning.subcode, meaning.data) == (1, 2, struct.pack("!H", len(long) + 19))
    extended = SessionFacts(US, PEER, internal=False, extended_message=True)
    assert isinstance(decode(long, extended), UpdateMessage)


def test_messages_with_equal_attributes_share_them() -> None:
    one, two = (decode(body({"message": f"| base | {prefix}"}), SESSIONS["external"]) for prefix in ("P", "18ac1402"))
    assert isinstance(one, UpdateMessage)
    assert isinstance(two, UpdateMessage)
    assert one.announced[0].attributes is two.announced[0].attributes


def test_the_prefixes_of_a_message_share_attributes_and_next_hop() -> None:
    meaning = decode(body({"message": "| base 800e1c 000201 H6 00 V6 | P 18ac1402"}), SESSIONS["both"])
    assert isinstance(meaning, UpdateMessage)
    four, six = meaning.announced
    assert four.attributes is six.attributes
    assert four.nlri.prefixes == (Prefix.parse("172.20.1.0/24"), Prefix.parse("172.20.2.0/24"))
    assert four.next_hop == NextHop(Address.parse("10.99.0.10"))
