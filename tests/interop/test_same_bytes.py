"""
The same bytes for bgpctl, BIRD and FRR: what becomes of the session and of the route, and what goes on to others.

Each daemon is AS 64512 at 10.99.0.2 in a network of its own. Several routers of AS 65001 (and one of AS 64512) send the
inputs; a router of AS 65002 takes what is passed on. Each input has a prefix of its own, for which a good route is
announced first, so that it shows whether an input is used, withdraws it, or is ignored. Inputs and what is right are in
tests/data/bgp-updates.yaml and tests/data/bgp-messages.yaml; where BIRD or FRR differ, and why, in same-bytes.yaml.

BGPCTL_SAME_BYTES names a file for the table of a run, as docs/explanation/same-bytes.md has it.
"""

from __future__ import annotations

import os
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
from tests.interop.world import ADDRESS, World, made
from tests.waiting import wait_until

DATA: Final = Path(__file__).parents[1] / "data"
UPDATES, MESSAGES, DIFFERENCES = (
    yaml.safe_load((DATA / f"{name}.yaml").read_text()) for name in ("bgp-updates", "bgp-messages", "same-bytes")
)
PAGE: Final = Path(__file__).parents[2] / "docs/explanation/same-bytes.md"
SUBJECTS: Final = ("bgpctl", "BIRD", "FRR")
US, SINK = ADDRESS["us"], ADDRESS["two"]
EXTERNAL, SINK_AS = Asn(65001), Asn(65002)
LANES: Final = (*["external"] * 5, "two-octet", "internal")
"""The sessions that inputs come by, side by side."""
SOURCES: Final = tuple(Address.parse(f"10.99.0.{10 + number}") for number in range(len(LANES)))
BEFORE: Final = bytes.fromhex("c00804fde90bb8")
"""A community of the good route."""
SHORT: Final = {
    "base": "40010100 40020602010000fde9 4003040a63000a",
    "inner": "40010100 400200 4003040a63000a 40050400000064",
    "bare": "40010100 40020602010000fde9",
    "V6": "3020010db80001",
    "H6": "1020010db8000000000000000000000001",
}
GOOD: Final = {
    "external": bytes.fromhex(SHORT["base"]),
    "two-octet": bytes.fromhex("40010100 40020402 01fde9 4003040a63000a"),
    "internal": bytes.fromhex(SHORT["inner"]),
}
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
        return Prefix(4, (172 << 24) + (20 << 16) + (self.number << 8), 24)

    @property
    def mark(self) -> Prefix:
        """Announced after the input: once it is passed on, so is what came before."""
        return Prefix(4, (172 << 24) + (21 << 16) + (self.number << 8), 24)

    @property
    def session(self) -> str:
        return str(self.case.get("session", "external"))

    @property
    def octets(self) -> bytes:
        """The whole message."""
        if "octets" in self.case:
            return bytes.fromhex(self.case["octets"])
        if "body" in self.case:
            return wire.message(2, bytes.fromhex(str(self.case["body"])))
        withdrawn, attributes, announced = map(self._octets, self.case["message"].split("|"))
        lengths = struct.pack("!H", len(withdrawn)), struct.pack("!H", len(attributes))
        return wire.message(2, lengths[0] + withdrawn + lengths[1] + attributes + announced)

    def _octets(self, text: str) -> bytes:
        words = {**SHORT, "P": wire.nlri(self.prefix).hex()}
        return bytes.fromhex("".join(words.get(word, word) for word in text.split()))


def _usable(case: Mapping[str, Any]) -> bool:
    """By IPv4 alone: bgpctl speaks one family in a session."""
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
    """The router that takes what is passed on: its table."""

    def __init__(self, namespace: str) -> None:
        self.peer = wire.Speaker(namespace, SINK, SINK_AS)
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
                for prefix in _prefixes(body[2 : start - 2]):
                    self._table.pop(prefix, None)
                self._table.update(dict.fromkeys(_prefixes(body[end:]), body[start:end]))
            return dict(self._table)


def _prefixes(field: bytes) -> Iterator[Prefix]:
    at = 0
    while at < len(field):
        size = (field[at] + 7) // 8
        network = int.from_bytes(field[at + 1 : at + 1 + size].ljust(4, b"\0"), "big")
        yield Prefix(4, network, field[at])
        at += 1 + size


class Lane:
    """One router that sends inputs, one after the other."""

    def __init__(self, namespace: str, address: Address, kind: str, sink: Sink) -> None:
        asn = CLUSTER_AS if kind == "internal" else EXTERNAL
        more = b"" if kind == "two-octet" else wire.four_octet(asn)
        # No route refresh, which it would not answer.
        offered = bytes([1, 4, 0, 1, 0, 1]) + more
        self.peer = wire.Speaker(namespace, address, asn, wire.opening_with(asn, address, offered))
        self._good, self._sink = GOOD[kind], sink
        self._is_up = False

    def outcomes(self, inputs: list[Input]) -> dict[str, Outcome]:
        return {each.name: self._outcome(each) for each in inputs}

    def _outcome(self, given: Input) -> Outcome:
        if not self._is_up:
            self.peer.up()
            self.peer.send(wire.END_OF_RIB)
            self._is_up = True
        before = len(self.peer.notifications)
        self._announce(given.prefix, BEFORE)
        wait_until(lambda: given.prefix in self._sink.table(), within_s=WITHIN_S)
        self.peer.send(given.octets)
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
        try:
            self.peer.send(wire.update(self._good + community, wire.nlri(prefix)))
        except OSError:
            self.peer.ended.wait(WITHIN_S)


def _of(attributes: bytes | None) -> Outcome:
    if attributes is None:
        return Outcome("stays", "withdrawn")
    if BEFORE in attributes:
        return Outcome("stays", "as before")
    found = split(attributes).found
    listed = ((code, raw.flags, raw.value.hex()) for code, raw in sorted(found.items()) if code != 3)
    return Outcome("stays", "used", tuple(listed))


def _start(subject: str, world: World) -> None:
    if subject == "bgpctl":
        peers = "".join(
            f"  lane{number}: {{ip: {address}, asNumber: {_asn(kind)}, filters: [outside]}}\n"
            for number, (address, kind) in enumerate(zip(SOURCES, LANES, strict=True))
        )
        world.agree(
            f"calico_backend: bird\nasNumber: {CLUSTER_AS}\nmesh: false\n"
            "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: None}}\n"
            "nodes:\n  us: {address: 10.99.0.2/24}\n"
            f"peers:\n{peers}  sink: {{ip: {SINK}, asNumber: {SINK_AS}, filters: [outside]}}\n"
            "filters:\n  outside:\n    importV4: [{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}]\n"
            "    exportV4: [{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}]\n"
        )
        return
    neighbors = [
        Neighbor(address, US, asn=_asn(kind), restarts=False) for address, kind in zip(SOURCES, LANES, strict=True)
    ]
    kinds: Mapping[str, type[Daemon]] = {"BIRD": Bird, "FRR": Frr}
    kinds[subject](world.place("us")).start(Router(US, (*neighbors, Neighbor(SINK, US, asn=SINK_AS, restarts=False))))


def _asn(kind: str) -> Asn:
    return CLUSTER_AS if kind == "internal" else EXTERNAL


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
    netns.ip([f"addr add {address}/24 dev eth0" for address in SOURCES[1:]], sources)
    sink = Sink(two)
    lanes = [Lane(sources, address, kind, sink) for address, kind in zip(SOURCES, LANES, strict=True)]
    try:
        _start(subject, world)
        sink.peer.up()
        with ThreadPoolExecutor(len(lanes)) as pool:
            parts = list(pool.map(Lane.outcomes, lanes, _shares()))
        return {name: outcome for part in parts for name, outcome in part.items()}
    finally:
        for peer in (*(lane.peer for lane in lanes), sink.peer):
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
