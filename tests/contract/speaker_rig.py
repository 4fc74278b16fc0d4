"""Two BGP speakers facing each other: one under test, one to play the peer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from bgpctl.core.bgp.path import Path as BgpPath
from bgpctl.core.bgp.speaker import (
    Announce,
    Session,
    SessionDown,
    SessionUp,
    SpeakerAttached,
    SpeakerConfig,
    SpeakerEvent,
    Update,
    Withdraw,
)
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.ports import Speaker
from bgpctl.speaker.exabgp import ExabgpSpeaker
from bgpctl.speaker.fake import FakeSpeaker
from tests.waiting import wait_until

OURS, PEERS = Address.parse("10.99.0.1"), Address.parse("10.99.0.2")
OURS6, PEERS6 = Address.parse("fd99::1"), Address.parse("fd99::2")
NO_PEER = Address.parse("10.99.0.3")
HOLD_TIME_S: Final = 3
_WITHIN_S: Final = 15.0

T = TypeVar("T")


class Diary:
    """Every event that was delivered, in order."""

    def __init__(self) -> None:
        self.events: list[SpeakerEvent] = []
        self._more = threading.Condition()

    def write(self, event: SpeakerEvent) -> None:
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def wait(self, answer: Callable[[list[SpeakerEvent]], T | None], *, within_s: float = _WITHIN_S) -> T:
        """The first result that `answer` finds in the events."""
        with self._more:
            found = self._more.wait_for(lambda: answer(self.events), timeout=within_s)
            assert found, f"not within {within_s} s; heard: {self.events}"
            return found

    def wait_for(self, kind: type[T], *, after: int = 0, within_s: float = _WITHIN_S) -> T:
        """The first event of this kind from number `after` on."""
        return self.wait(
            lambda events: next((e for e in events[after:] if isinstance(e, kind)), None), within_s=within_s
        )

    def wait_until_up(self, peer: Address) -> None:
        self.wait(lambda events: peer in established(events))

    def wait_for_end(self) -> SessionDown:
        """The first end of a session that was up."""
        return self.wait(lambda events: next(iter(ends(events)), None))

    def wait_for_table(self, wanted: set[Prefix]) -> None:
        self.wait(lambda events: table(events) == wanted)

    def lacks(self, kind: type[SpeakerEvent], *, for_s: float) -> bool:
        """True if no event of this kind comes for so long."""
        with self._more:
            before = len(self.events)
            return not self._more.wait_for(
                lambda: any(isinstance(e, kind) for e in self.events[before:]), timeout=for_s
            )


def established(events: list[SpeakerEvent]) -> set[Address]:
    up: set[Address] = set()
    for event in events:
        match event:
            case SpeakerAttached(_, sessions):
                up = {peer for peer, _ in sessions}
            case SessionUp(peer):
                up |= {peer}
            case SessionDown(peer):
                up -= {peer}
            case _:
                pass
    return up


def ends(events: list[SpeakerEvent], peer: Address | None = None) -> list[SessionDown]:
    """The ends of sessions that were up, with anyone or with this peer; no vain attempts to connect."""
    found: list[SessionDown] = []
    for number, event in enumerate(events):
        if isinstance(event, SessionDown) and event.peer in established(events[:number]) and peer in {None, event.peer}:
            found.append(event)
    return found


def table(events: list[SpeakerEvent]) -> set[Prefix]:
    known: set[Prefix] = set()
    for event in events:
        if isinstance(event, Update):
            known |= {path.prefix for path in event.announced}
            known -= set(event.withdrawn)
    return known


def session(local: Address, peer: Address, *, hold_time_s: int = HOLD_TIME_S) -> Session:
    return Session(peer, f"node-{peer}", local, Asn(64512), Asn(64512), passive=local == OURS, hold_time_s=hold_time_s)


def config(local: Address, *peers: Address) -> SpeakerConfig:
    return config_of(*(session(local, peer) for peer in peers), local=local)


def config_of(*sessions: Session, local: Address | None = None) -> SpeakerConfig:
    """A speaker with just these sessions, at the address of the first."""
    here = local or sessions[0].local
    router_id = here if here.version == 4 else OURS if here == OURS6 else PEERS
    return SpeakerConfig(router_id, here, 179, sessions)


class Rig(Protocol):
    """A speaker under test, started and not yet configured, and its peer."""

    @property
    def speaker(self) -> Speaker: ...

    @property
    def heard(self) -> Diary: ...

    def peer_up(self) -> None:
        """The peer starts; it connects when the speaker is configured."""

    def peer_announces(self, prefix: Prefix) -> None: ...

    def peer_withdraws(self, prefix: Prefix) -> None: ...

    def peer_has(self, prefixes: set[Prefix]) -> None:
        """Wait until the peer knows just these from us."""

    def speaker_dies(self) -> None: ...


class FakeRig:
    """Scripted: the fake emits the events that a peer would have caused."""

    def __init__(self) -> None:
        self.heard = Diary()
        self.speaker = FakeSpeaker()
        self.speaker.start(self.heard.write)

    def peer_up(self) -> None:
        self.speaker.inject(SessionUp(PEERS))

    def peer_announces(self, prefix: Prefix) -> None:
        self.speaker.inject(Update(PEERS, announced=(BgpPath(prefix, PEERS),)))

    def peer_withdraws(self, prefix: Prefix) -> None:
        self.speaker.inject(Update(PEERS, withdrawn=(prefix,)))

    def peer_has(self, prefixes: set[Prefix]) -> None:
        known: set[Prefix] = set()
        for command in self.speaker.commands:
            match command:
                case Announce(prefix):
                    known |= {prefix}
                case Withdraw(prefix):
                    known -= {prefix}
                case _:
                    pass
        assert known == prefixes

    def speaker_dies(self) -> None:
        self.speaker.crash()
        self.speaker.attach()


class ExabgpRig:
    """Two ExaBGP in two network namespaces; the other speaker plays the peer."""

    def __init__(
        self, names: tuple[str, str], directory: Path, *, patched: bool = True, environment: Sequence[str] = ()
    ) -> None:
        self.run_dir = directory / "a"
        prefix, self.peer_prefix = (("ip", "netns", "exec", name) for name in names)
        self.prefix = (*prefix, *(("env", *environment) if environment else ()))
        self.heard, self.peer_heard = Diary(), Diary()
        self.speaker = ExabgpSpeaker(self.run_dir, prefix=self.prefix, patched=patched)
        self.peer = ExabgpSpeaker(directory / "b", prefix=self.peer_prefix)
        self.speaker.start(self.heard.write)
        self.peer.start(self.peer_heard.write)

    def peer_up(self) -> None:
        self.peer.configure(config(PEERS, OURS))
        self.peer_heard.wait_for(SpeakerAttached)

    def both_up(self) -> None:
        self.peer_up()
        self.speaker.configure(config(OURS, PEERS))
        self.heard.wait_until_up(PEERS)
        self.peer_heard.wait_until_up(OURS)

    def peer_announces(self, prefix: Prefix) -> None:
        self.peer.send([Announce(prefix)])

    def peer_withdraws(self, prefix: Prefix) -> None:
        self.peer.send([Withdraw(prefix)])

    def peer_has(self, prefixes: set[Prefix]) -> None:
        self.peer_heard.wait_for_table(prefixes)

    def peer_repeats_one_by_one(self) -> None:
        """
        The peer sends its table again, one route an UPDATE: 400 bytes of JSON each at our side.

        No command of a Speaker does that, so for a moment the test takes the place of the peer's agent.
        """
        deadline = time.monotonic() + _WITHIN_S
        while not self._intrude(b"flush adj-rib out\nversion\n", until=b"\nexabgp "):
            assert time.monotonic() < deadline, "the peer's agent came back too fast every time"

    def _intrude(self, lines: bytes, *, until: bytes) -> bool:
        heard = b""
        with socket.socket(socket.AF_UNIX) as intruder:
            intruder.connect(str(self.run_dir.with_name("b") / "bridge.sock"))
            intruder.sendall(lines)
            while until not in heard:
                chunk = intruder.recv(1 << 16)
                if not chunk:
                    return False
                heard += chunk
        return True

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a state that no event reports."""
        wait_until(holds, within_s=_WITHIN_S)

    def exabgp_pid(self) -> int:
        return int((self.run_dir / "exabgp.pid").read_text().split()[0])

    def signal_exabgp(self, number: signal.Signals) -> None:
        os.kill(self.exabgp_pid(), number)

    def speaker_dies(self) -> None:
        self.signal_exabgp(signal.SIGKILL)

    def end(self) -> None:
        for speaker in (self.speaker, self.peer):
            speaker.close()
        for speaker in (ExabgpSpeaker(self.run_dir), ExabgpSpeaker(self.run_dir.with_name("b"))):
            speaker.shutdown()
            speaker.close()


@contextlib.contextmanager
def facing_exabgp(directory: Path, *, patched: bool = True, environment: Sequence[str] = ()) -> Iterator[ExabgpRig]:
    """Both speakers started, none configured; `patched` and `environment` (NAME=VALUE) are about the one under test."""
    with facing_namespaces() as names:
        rig = ExabgpRig(names, directory, patched=patched, environment=environment)
        try:
            yield rig
        finally:
            rig.end()


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)


@contextlib.contextmanager
def facing_namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a veth pair, with OURS in the first and PEERS in the second."""
    tag = f"spk{os.getpid()}{time.monotonic_ns() % 1000}"
    names = (f"{tag}-a", f"{tag}-b")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "peer", "netns", names[0], "type", "veth", "peer", "name", "peer", "netns", names[1])
        for name, address, address6 in zip(names, (OURS, PEERS), (OURS6, PEERS6), strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "peer")
            ip("-n", name, "address", "add", f"{address6}/64", "dev", "peer", "nodad")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "peer", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "delete", name), check=False)
