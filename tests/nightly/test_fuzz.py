"""
Inputs that others write, changed by chance: each is taken, or refused as it should be, and nothing else happens.

BGPCTL_TEST_FUZZ_S is how long each kind takes, and BGPCTL_TEST_SEED makes a failure come again. UPDATEs have laws of
their own (tests/laws/test_wire_laws.py).
"""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest
from exabgp.bgp.message.notification import Notify
from exabgp.bgp.message.open import Open
from exabgp.reactor.api.response.json import JSON

from bgpctl.agent import config_changes, journal_file, operator_commands, views
from bgpctl.agent.api import Api
from bgpctl.agent.journal_file import BadJournal
from bgpctl.agent.limits import Limits
from bgpctl.agent.snapshot import Snapshot
from bgpctl.core.bgp.speaker import SessionOpened
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.process.clock import LinuxClock
from bgpctl.speaker import peer_patches
from bgpctl.speaker.decode import decode
from bgpctl.store.change import Change, Standing
from bgpctl.store.files import Files
from bgpctl.store.memory import Memory, MemoryStore
from bgpctl.store.texts import load
from tests.documents import SAMPLE
from tests.interop import wire
from tests.journals import lived
from tests.laws.events import EVENTS
from tests.laws.mutants import CORPUS
from tests.nightly import chance
from tests.stories.mesh import converged

CLUSTER_FILES: Final = tuple(text.encode() for text in CORPUS)
VERBS: Final = ("drain", "undrain", "peer/up", "peer/down", "peer/refresh", "apply", "confirm", "undo")
REQUESTS: Final = (
    *(f"GET /v1/{view} HTTP/1.1\r\n\r\n".encode() for view in views.VIEWS),
    *(f"POST /v1/{verb}?peer=b1&to=10.0.0.1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode() for verb in VERBS),
    b"POST /v1/apply HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(SAMPLE) + 2, json.dumps([SAMPLE]).encode()),
    b"GET /v1/explain?prefix=10.244.2.0/26&destination=10.244.2.1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
)

# Multiprotocol for four families, refresh, enhanced refresh, extended messages, four-octet AS, extended next hop,
# graceful restart with and without a family, add-path, host name, long-lived graceful restart, role.
CAPABILITIES: Final = """
010400010001 010400020001 010400010080 010400190046 0200 4600 0600 41040000fc00 0506000100010002 4002c078
40064078 00010180 450400010103 490803616263 03616263 47070001 01800000 09 090102
"""


def test_a_cluster_file_is_an_intent_or_has_problems(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"

    def take(data: bytes) -> None:
        file.write_bytes(data)
        found = load([file])
        assert isinstance(found, Intent) or found

    assert chance.given(CLUSTER_FILES, take)


def test_a_record_of_a_change_is_one_or_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "bgpctl.store")
    medium, record = Files([tmp_path / "cluster.yaml"]), tmp_path / ".cluster.yaml.change"
    samples = [
        json.dumps(asdict(Change((SAMPLE,), (SAMPLE + "#",), "boot", by_s, standing))).encode()
        for by_s in (None, 1234.5)
        for standing in Standing
    ]

    def take(data: bytes) -> None:
        record.write_bytes(data)
        record.chmod(0o600)
        found = medium.last()
        assert isinstance(found, Change) or not record.exists()
        for aside in tmp_path.glob("*.damaged*"):
            aside.unlink()
        if found:
            medium.remember(found)

    assert chance.given(samples, take)


def test_a_journal_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    kept = lived(*EVENTS, start=converged().state).record()
    sample = journal_file.dump(kept, "1.2", "2026-11-23T10:00:00+00:00")

    def take(data: bytes) -> None:
        file.write_bytes(data)
        with suppress(BadJournal):
            journal_file.load(file)

    assert chance.given([sample], take)


def test_an_open_is_read_or_answered_with_a_notification() -> None:
    """By ExaBGP; and what it reports of it is understood."""
    peer_patches.malformed_opens()
    capabilities = bytes.fromhex(CAPABILITIES)
    long = struct.pack("!BHHIBBH", 4, 64512, 30, 0x0A000001, 255, 255, len(capabilities) + 3)
    samples = [
        wire.opening(Asn(64512), Address.parse("10.0.0.1"), versions=(4, 6))[19:],
        struct.pack("!BHHIB", 4, 64512, 30, 0x0A000001, len(capabilities) + 2)
        + bytes([2, len(capabilities)])
        + capabilities,
        long + bytes([2]) + struct.pack("!H", len(capabilities)) + capabilities,
    ]
    writer = JSON("5.0.0")

    def take(data: bytes) -> None:
        try:
            found = Open.unpack_message(data)
        except Notify:
            return
        assert _reported(writer, found)

    assert chance.given(samples, take)


def _reported(writer: JSON, found: Open) -> SessionOpened | None:
    """By the line that ExaBGP writes of it."""
    fields = {
        **{name: getattr(found, name) for name in ("version", "asn", "hold_time", "router_id")},
        "capabilities": writer._json(f"{{ {writer._json_kv(found.capabilities)} }}"),
    }
    neighbor = f'"address": {{"local": "10.0.0.2", "peer": "10.0.0.1"}}, "open": {{ {writer._kv(fields)} }}'
    line = f'{{ "exabgp": "5.0.0", "counter": 1, "pid": 1, "type": "open", "neighbor": {{ {neighbor} }} }}'
    event = decode(line)
    return event.event if isinstance(event.event, SessionOpened) else None  # type: ignore[union-attr]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The socket of an API that answers with the views of a converged node, to root."""
    clock = LinuxClock()
    store = MemoryStore(Memory(), clock, lambda _: converged().state.intent.in_force)  # type: ignore[arg-type,return-value]
    state = converged().state

    def answer(view: str, query: Mapping[str, str]) -> dict[str, Any]:
        if view == "plan":
            return config_changes.plan(state, store, query, ())
        return views.answer(view, Snapshot(state, 1000.0, query, dict, tuple))

    def act(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
        if verb in config_changes.EDITS:
            return config_changes.edit(verb, state, store, query)
        return {"events": len(operator_commands.events(verb, state, query))}

    path = tmp_path / "agent.sock"
    with closing(Api(path, answer, act, limits=Limits(8, 32, 1.0, 1.0))):
        yield path


def test_a_request_is_answered_and_none_finds_a_bug(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    def take(data: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(15)
            asking.connect(str(place))
            with suppress(BrokenPipeError, ConnectionResetError):
                asking.sendall(data)
                asking.shutdown(socket.SHUT_WR)
                while asking.recv(1 << 16):
                    pass
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text

    assert chance.given(REQUESTS, take)
