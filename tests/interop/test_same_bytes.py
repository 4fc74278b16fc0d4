"""
The same bytes for bgpctl, BIRD and FRR: what becomes of the session and of the route, and what goes on to others.

Each daemon is AS 64512 at 10.99.0.2 in a network of its own. Several routers of AS 65001 (and one of AS 64512) send the
inputs; a router of AS 65002 takes what is passed on. Each is a route reflector too: what a client sends by another
session goes to a second client. Each input has a prefix of its own, for which a good route is
announced first, so that it shows whether an input is used, withdraws it, or is ignored. Inputs and what is right are in
tests/data/bgp-updates.yaml and tests/data/bgp-messages.yaml; where BIRD or FRR differ, and why, in same-bytes.yaml.

BGPCTL_SAME_BYTES names a file for the table of a run, as docs/explanation/same-bytes.md has it.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from bgpctl.core.bgp.wire.attribute_list import split
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab import netns
from bgpctl.lab.daemons.session_options import CLUSTER_AS, Neighbor, Router
from tests.interop import wire
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon, installed
from tests.interop.frr import Frr
from tests.interop.world import ADDRESS, ADDRESS6, World, made
from tests.waiting import wait_until

DATA: Final = Path(__file__).parents[1] / "data"
UPDATES, MESSAGES, DIFFERENCES = (
    yaml.safe_load((DATA / f"{name}.yaml").read_text()) for name in ("bgp-updates", "bgp-messages", "same-bytes")
)
PAGE: Final = Path(__file__).parents[2] / "docs/explanation/same-bytes.md"
SUBJECTS: Final = ("bgpctl", "BIRD", "FRR")
US, SINK, CLIENT = ADDRESS["us"], ADDRESS["two"], Address.parse("10.99.0.4")
EXTERNAL, SINK_AS = Asn(65001), Asn(65002)
LANES: Final = (*["external"] * 5, "two-octet", "internal", "reflected", "offers-add-path", *["ipv6"] * 2)
"""The sessions that inputs come by, side by side."""
SOURCES: Final = tuple(
    Address.parse(f"fd99::{10 + number}" if kind == "ipv6" else f"10.99.0.{10 + number}")
    for number, kind in enumerate(LANES)
)
US6, SINK6 = ADDRESS6["us"], ADDRESS6["two"]
BEFORE: Final = bytes.fromhex("c00804fde90bb8")
"""A community of the good route."""
LONG: Final = (65001, *range(70001, 70300))
SHORT: Final = {
    "base": "40010100 40020602010000fde9 4003040a63000a",
    "inner": "40010100 400200 4003040a63000a 40050400000064",
    "bare": "40010100 40020602010000fde9",
    "300-ASNs": "500204b4"
    + "".join(f"02{len(part):02x}" + "".join(f"{asn:08x}" for asn in part) for part in (LONG[:255], LONG[255:])),
    "H6": "10fd990000000000000000000000000010",
}
GOOD: Final = {
    "external": bytes.fromhex(SHORT["base"]),
    "two-octet": bytes.fromhex("40010100 40020402 01fde9 4003040a63000a"),
    "internal": bytes.fromhex(SHORT["inner"]),
    "reflected": bytes.fromhex(SHORT["inner"]),
    "offers-add-path": bytes.fromhex(SHORT["base"]),
    "ipv6": bytes.fromhex(SHORT["bare"]),
}
_MP_REACH, _MP_UNREACH = 14, 15
END_OF_RIB6: Final = wire.update(wire.attribute(_MP_UNREACH, bytes([0, 2, 1]), flags=0x80), b"")
_SENDS_ADD_PATH: Final = bytes([69, 4, 0, 1, 1, 2])
_TAKES_ADD_PATH: Final = re.compile(rb"\x45.\x00\x01\x01[\x01\x03]", re.DOTALL)
"""RFC 7911, section 4."""
_INTERNAL: Final = frozenset({"internal", "reflected"})
WITHIN_S: Final = 20.0
_RESET_S: Final = 3.0
REASONS: Final = {(item["daemon"], name): item["reason"] for item in DIFFERENCES for name in item["inputs"]}


class Input(NamedTuple):
    """An input with its number, of which its prefix is made."""

    number: int
    case: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.case["name"])

    @property
    def prefix(self) -> Prefix:
        return self._prefix(6 if self.session == "ipv6" else 4, 0)

    @property
    def mark(self) -> Prefix:
        """Announced after the input: once it is passed on, so is what came before."""
        return self._prefix(6 if self.session == "ipv6" else 4, 1)

    def _prefix(self, version: int, other: int) -> Prefix:
        if version == 6:
            return Prefix(6, (0x20010DB8 + other << 96) + (self.number << 80), 48)
        return Prefix(4, (172 << 24) + (20 + other << 16) + (self.number << 8), 24)

    @property
    def session(self) -> str:
        """A case of both families, if it has no IPv4 prefix, is one of IPv6 as well."""
        found = str(self.case.get("session", "external"))
        return "ipv6" if found == "both" else found

    def octets(self, path_id: bytes) -> bytes:
        """The whole message; `path_id` in front of each prefix (RFC 7911)."""
        if "octets" in self.case:
            return bytes.fromhex(self.case["octets"])
        if "body" in self.case:
            return wire.message(2, bytes.fromhex(str(self.case["body"])))
        fields = self.case["message"].split("|")
        withdrawn, attributes, announced = (self._octets(field, path_id) for field in fields)
        lengths = struct.pack("!H", len(withdrawn)), struct.pack("!H", len(attributes))
        return wire.message(2, lengths[0] + withdrawn + lengths[1] + attributes + announced)

    def _octets(self, text: str, path_id: bytes) -> bytes:
        four, six = (wire.nlri(self._prefix(version, 0)) for version in (4, 6))
        words = {**SHORT, "P": (path_id + four).hex(), "V6": six.hex()}
        return bytes.fromhex("".join(words.get(word, word) for word in text.split()))


def _usable(case: Mapping[str, Any]) -> bool:
    """By one family: bgpctl speaks one in a session."""
    if case.get("session") == "both":
        words = case.get("message", "").split()
        own = "V6" in words and ("H6" in words or "800e" not in case["message"])  # a next hop that can be reached
        return own and words[-1] == "|" and "P" not in words
    fields = case.get("message", "").split("|")
    whole = "octets" in case or "body" in case or case["right"].startswith("reset")
    own = whole or "P" in case["message"].split() or not (fields[0] + fields[2]).strip()
    return own and "prefix" not in case and case.get("session", "external") in LANES


INPUTS: Final = tuple(Input(number, case) for number, case in enumerate(filter(_usable, (*UPDATES, *MESSAGES))))


class Outcome(NamedTuple):
    """
    Of an input at one daemon.

    Attributes:
        session: "stays", or the NOTIFICATION that ended it.
        route: "used", "withdrawn", "as before", "-" after the end of the session.
        passed_on: the attributes of a used route by code, but for NEXT_HOP.
    """

    session: str
    route: str
    passed_on: tuple[tuple[int, int, str], ...] = ()

    @property
    def fate(self) -> str:
        return self.route if self.session == "stays" else f"reset {self.session}"

    def __str__(self) -> str:
        return (
            f"{self.fate}: {' '.join(f'{f:02x} {c} {v}' for c, f, v in self.passed_on)}"
            if self.passed_on
            else self.fate
        )


# One daemon ----------------------------------------------------------------------------------------------------


class Sink:
    """A router that takes what is passed on: its table."""

    def __init__(self, namespace: str, address: Address, asn: Asn) -> None:
        opening = wire.opening(asn, SINK, versions=(address.version,)) if address.version == 6 else None
        self.peer = wire.Speaker(namespace, address, asn, opening)
        self._read = 0
        self._table: dict[Prefix, bytes] = {}
        self._lock = threading.Lock()

    def table(self) -> Mapping[Prefix, bytes]:
        """Attributes by prefix."""
        with self._lock:
            while self._read < len(self.peer.updates):
                body = self.peer.updates[self._read]
                self._read += 1
                start = 4 + int.from_bytes(body[:2], "big")
                end = start + int.from_bytes(body[start - 2 : start], "big")
                found = {code: raw.value for code, raw in split(body[start:end]).found.items()}
                reach, unreach = found.get(_MP_REACH, b""), found.get(_MP_UNREACH, b"")
                for prefix in (*_prefixes(4, body[2 : start - 2]), *_prefixes(6, unreach[3:])):
                    self._table.pop(prefix, None)
                announced = (*_prefixes(4, body[end:]), *_prefixes(6, reach[5 + reach[3] :] if reach else b""))
                self._table.update(dict.fromkeys(announced, body[start:end]))
            return dict(self._table)


def _prefixes(version: int, field: bytes) -> Iterator[Prefix]:
    at = 0
    while at < len(field):
        size = (field[at] + 7) // 8
        network = int.from_bytes(field[at + 1 : at + 1 + size].ljust(4 if version == 4 else 16, b"\0"), "big")
        yield Prefix(version, network, field[at])
        at += 1 + size


class Lane:
    """One router that sends inputs, one after the other."""

    def __init__(self, namespace: str, address: Address, kind: str, sink: Sink) -> None:
        asn = _asn(kind)
        more = b"" if kind == "two-octet" else wire.four_octet(asn)
        more += _SENDS_ADD_PATH if kind == "offers-add-path" else b""
        # No route refresh, which it would not answer.
        offered = bytes([1, 4, 0, 2 if kind == "ipv6" else 1, 0, 1]) + more
        router_id = Address(4, (10 << 24) + (99 << 16) + (address.value & 0xFF)) if kind == "ipv6" else address
        self.peer = wire.Speaker(namespace, address, asn, wire.opening_with(asn, router_id, offered))
        self._good, self._sink, self._kind = GOOD[kind], sink, kind
        self._path_id = b""
        self._is_up = False

    def outcomes(self, inputs: list[Input]) -> dict[str, Outcome]:
        return {each.name: self._outcome(each) for each in inputs}

    def _outcome(self, given: Input) -> Outcome:
        if not self._is_up:
            self.peer.up()
            self.peer.send(END_OF_RIB6 if self._kind == "ipv6" else wire.END_OF_RIB)
            takes_it = self._kind == "offers-add-path" and _TAKES_ADD_PATH.search(self.peer.opens[-1])
            self._path_id = b"\0\0\0\7" if takes_it else b""
            self._is_up = True
        before = len(self.peer.notifications)
        self._announce(given.prefix, BEFORE)
        wait_until(lambda: given.prefix in self._sink.table(), within_s=WITHIN_S)
        self.peer.send(given.octets(self._path_id))
        if given.case["right"].startswith("reset"):
            # One that closes while something is unread resets the connection, which may cost the NOTIFICATION.
            self.peer.ended.wait(_RESET_S)
        # With attributes of its own: routes with equal ones go out together, before what came in between.
        self._announce(given.mark, BEFORE[:-2] + struct.pack("!H", given.number))
        wait_until(lambda: self.peer.ended.is_set() or given.mark in self._sink.table(), within_s=WITHIN_S)
        if self.peer.ended.is_set():
            self._is_up = False
            found = [f"{body[0]}/{body[1]}" for body in self.peer.notifications[before:]]
            return Outcome(found[0] if found else "without a word", "-")
        return _of(self._sink.table().get(given.prefix))

    def _announce(self, prefix: Prefix, community: bytes) -> None:
        attributes, announced = self._good + community, self._path_id + wire.nlri(prefix)
        if prefix.version == 6:
            reach = bytes.fromhex(f"000201 {SHORT['H6']} 00") + announced
            attributes, announced = wire.attribute(_MP_REACH, reach, flags=0x80) + attributes, b""
        try:
            self.peer.send(wire.update(attributes, announced))
        except OSError:
            self.peer.ended.wait(WITHIN_S)


def _of(attributes: bytes | None) -> Outcome:
    if attributes is None:
        return Outcome("stays", "withdrawn")
    if BEFORE in attributes:
        return Outcome("stays", "as before")
    found = split(attributes).found
    listed = ((code, raw.flags, raw.value.hex()) for code, raw in sorted(found.items()) if code not in {3, _MP_REACH})
    return Outcome("stays", "used", tuple(listed))


def _start(subject: str, world: World) -> None:
    if subject == "bgpctl":
        peers = "".join(
            f'  lane{number}: {{ip: "{address}", asNumber: {_asn(kind)}, filters: [outside]}}\n'
            for number, (address, kind) in enumerate(zip(SOURCES, LANES, strict=True))
        )
        world.agree(
            f"calico_backend: bird\nasNumber: {CLUSTER_AS}\nmesh: false\n"
            "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: None}}\n"
            f'nodes:\n  us: {{address: 10.99.0.2/24, address6: "fd99::2/64", clusterID: {US}}}\n'
            f"peers:\n{peers}  sink: {{ip: {SINK}, asNumber: {SINK_AS}, filters: [outside]}}\n"
            f"  client: {{ip: {CLIENT}, asNumber: {CLUSTER_AS}, filters: [outside]}}\n"
            f'  sink6: {{ip: "{SINK6}", asNumber: {SINK_AS}, filters: [outside]}}\n'
            "filters:\n  outside:\n    importV4: [{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}]\n"
            "    exportV4: [{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}]\n"
            '    importV6: [{action: Accept, cidr: "2001:db8::/31", matchOperator: In}]\n'
            '    exportV6: [{action: Accept, cidr: "2001:db8::/31", matchOperator: In}]\n'
        )
        return
    ends = (*zip(SOURCES, map(_asn, LANES), strict=True), (SINK, SINK_AS), (SINK6, SINK_AS), (CLIENT, CLUSTER_AS))
    neighbors = (
        Neighbor(end, US6 if end.version == 6 else US, asn=asn, restarts=False, client=asn == CLUSTER_AS)
        for end, asn in ends
    )
    kinds: Mapping[str, type[Daemon]] = {"BIRD": Bird, "FRR": Frr}
    kinds[subject](world.place("us")).start(Router(US, tuple(neighbors), cluster_id=US))


def _asn(kind: str) -> Asn:
    return CLUSTER_AS if kind in _INTERNAL else EXTERNAL


_MASKS: Final = {4: "24 dev eth0", 6: "64 dev eth0 nodad"}


def _shares() -> list[list[Input]]:
    """The inputs of each lane: those that end a session take long, so they are dealt out first."""
    shares: list[list[Input]] = [[] for _ in LANES]
    for given in sorted(INPUTS, key=lambda given: not given.case["right"].startswith("reset")):
        lanes = [number for number, kind in enumerate(LANES) if kind == given.session]
        min((shares[number] for number in lanes), key=len).append(given)
    return shares


def _observed(subject: str, world: World) -> dict[str, Outcome]:
    """All inputs at one daemon."""
    sources, two = world.names.of("one"), world.names.of("two")
    netns.ip([f"addr add {address}/{_MASKS[address.version]}" for address in SOURCES[1:]], sources)
    netns.ip([f"addr add {CLIENT}/24 dev eth0"], two)
    outside, client, outside6 = Sink(two, SINK, SINK_AS), Sink(two, CLIENT, CLUSTER_AS), Sink(two, SINK6, SINK_AS)
    by_kind = {"reflected": client, "ipv6": outside6}
    lanes = [
        Lane(sources, address, kind, by_kind.get(kind, outside)) for address, kind in zip(SOURCES, LANES, strict=True)
    ]
    try:
        _start(subject, world)
        for sink in (outside, client, outside6):
            sink.peer.up()
        with ThreadPoolExecutor(len(lanes)) as pool:
            parts = list(pool.map(Lane.outcomes, lanes, _shares()))
        return {name: outcome for part in parts for name, outcome in part.items()}
    finally:
        for peer in (*(lane.peer for lane in lanes), outside.peer, client.peer, outside6.peer):
            peer.close()


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Mapping[str, Mapping[str, Outcome]]]:
    """By daemon and input."""
    for kind in (Bird, Frr):
        installed(kind)
    with ExitStack() as stack:
        worlds = [stack.enter_context(made(f"same-{subject}")) for subject in SUBJECTS]
        began_s = time.monotonic()
        with ThreadPoolExecutor(len(SUBJECTS)) as pool:
            found = dict(zip(SUBJECTS, pool.map(_observed, SUBJECTS, worlds), strict=True))
        text = table(found)
        print(f"{text}\n{len(INPUTS)} inputs in {time.monotonic() - began_s:.0f} s")
        if name := os.environ.get("BGPCTL_SAME_BYTES"):
            Path(name).write_text(text)
        yield found


# What is right -------------------------------------------------------------------------------------------------


def right(case: Mapping[str, Any]) -> str:
    """The fate that the RFCs prescribe; `at_a_node` of what a decoder lets pass, and the rules for routes do not."""
    word, _, detail = case.get("at_a_node", case["right"]).partition(" ")
    fates = {"reset": f"reset {detail}", "ignored": "as before", "end-of-rib": "as before"}
    return fates.get(word, str(word))


def table(found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """As Markdown: a row for each input, and the differences with their reasons."""
    rows = [("input", "by", *SUBJECTS), ("---",) * 5]
    for given in INPUTS:
        ours = found["bgpctl"][given.name]
        cells = (_cell(found[subject][given.name], ours) for subject in SUBJECTS)
        rows.append((given.name, given.case["source"], *cells))
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join((*lines, "\n", *(f"- {item['daemon']} {_sentence(item)}\n" for item in DIFFERENCES)))


def _cell(outcome: Outcome, ours: Outcome) -> str:
    differs = outcome.fate == ours.fate and outcome.passed_on != ours.passed_on
    return f"{outcome.fate}, passed on in other words" if differs else outcome.fate


def _sentence(item: Mapping[str, Any]) -> str:
    return f"{item['reason']}: {'; '.join(item['inputs'])}."


def test_there_are_as_many_inputs_as_promised() -> None:
    assert len(INPUTS) >= 80
    assert len({given.name for given in INPUTS}) == len(INPUTS)
    assert {name for _, name in REASONS} <= {given.name for given in INPUTS}
    assert all("RFC " in reason for reason in REASONS.values())


def test_bgpctl_does_what_the_rfcs_say(outcomes: Mapping[str, Mapping[str, Outcome]]) -> None:
    found = {given.name: outcomes["bgpctl"][given.name].fate for given in INPUTS}
    wanted = {given.name: right(given.case) for given in INPUTS}
    assert {name: fate for name, fate in found.items() if fate != wanted[name]} == {}


@pytest.mark.parametrize("subject", ["BIRD", "FRR"])
def test_each_difference_from_other_daemons_has_its_reason(
    outcomes: Mapping[str, Mapping[str, Outcome]], subject: str
) -> None:
    ours, theirs = outcomes["bgpctl"], outcomes[subject]
    found = {name: f"{theirs[name]} instead of {ours[name]}" for name in ours if theirs[name] != ours[name]}
    known = {name for daemon, name in REASONS if daemon == subject}
    assert {name: text for name, text in found.items() if name not in known} == {}
    assert known - found.keys() == set()


def test_the_page_has_the_table_of_such_a_run(outcomes: Mapping[str, Mapping[str, Outcome]]) -> None:
    assert table(outcomes) in PAGE.read_text()
