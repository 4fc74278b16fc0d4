"""
The BFD process beside BIRD and FRR's bfdd, without BGP: six sessions on one segment, two for each interval.

    us 10.9.0.1     BIRD at .2, .3, .4     FRR at .12, .13, .14
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bgpctl.core.bfd.packet import SessionState
from bgpctl.core.bfd.session import Intervals
from bgpctl.core.bgp.bfd import BfdChanged, BfdOptions, BfdReport
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.lab import netns
from bgpctl.lab.daemons import bird, frr
from bgpctl.lab.daemons.session_options import Place, Router
from bgpctl.speaker.bfd.supervisor import BfdSupervisor
from tests.waiting import wait_until

MULTIPLIER: Final = 3
_JOIN_BRIDGE: Final = 0x89A2
_LEAVE_BRIDGE: Final = 0x89A3
"""Of linux/sockios.h: without a program that has to be started, whose time would count."""
INTERVALS_MS: Final = (50, 100, 300)
US: Final = Address.parse("10.9.0.1")
BIRDS: Final[Mapping[Address, int]] = {Address.parse(f"10.9.0.{2 + n}"): ms for n, ms in enumerate(INTERVALS_MS)}
FRRS: Final[Mapping[Address, int]] = {Address.parse(f"10.9.0.{12 + n}"): ms for n, ms in enumerate(INTERVALS_MS)}
PEERS: Final[Mapping[Address, int]] = {**BIRDS, **FRRS}


def session(peer: Address, every_ms: int, *, multihop: bool = False) -> Session:
    """A session of BGP with BFD beside it."""
    options = BfdOptions(Intervals(every_ms * 1000, every_ms * 1000, MULTIPLIER), multihop=multihop)
    return Session(peer, "peer", US, Asn(64512), Asn(65001), passive=False, bfd=options)


class Rig:
    """Our process and the others', and everything that our process has reported."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tag = f"bfd{os.getpid()}"
        self._ports: dict[str, str] = {}
        self._running: list[subprocess.Popen[bytes]] = []
        self._news = threading.Lock()
        self.events: list[tuple[float, BfdChanged]] = []
        self.supervisor = self.new_supervisor()

    def name(self, part: str) -> str:
        return f"{self._tag}-{part}"

    def new_supervisor(self) -> BfdSupervisor:
        """An agent's end, which finds the process of the one before."""
        return BfdSupervisor(self.directory / "us", ("ip", "netns", "exec", self.name("us")))

    def lone_supervisor(self) -> BfdSupervisor:
        """One whose thread is in our network namespace, as an agent that has it for itself."""
        return BfdSupervisor(self.directory / "us", alone=True)

    def build(self) -> None:
        (self.directory / "us").mkdir()
        netns.ip([f"netns add {self.name(part)}" for part in ("lan", "us", *self._parts())])
        netns.ip(["link add br0 type bridge mcast_snooping 0", "link set br0 up"], self.name("lan"))
        for part, address in {"us": US, **self._parts()}.items():
            port = self._ports[part] = f"p{len(self._ports)}"
            netns.ip([f"link add eth0 netns {self.name(part)} type veth peer {port} netns {self.name('lan')}"])
            netns.ip([f"link set {port} master br0 up"], self.name("lan"))
            netns.ip(["link set lo up", "link set eth0 up", f"address add {address}/24 dev eth0"], self.name(part))

    def start_others(self) -> None:
        for address, every_ms in BIRDS.items():
            place = self._place(f"bird{every_ms}")
            place.file("bird.conf").write_text(_bird(address, every_ms))
            self._running.append(bird.start(place))
        for address, every_ms in FRRS.items():
            place = self._place(f"frr{every_ms}")
            frr.write(place, Router(address, ()))
            place.file("bfdd.conf").write_text("\n".join(_frr(address, every_ms)))
            self._running.append(frr.start(place, "zebra"))
            # A bfdd that does not know its interfaces waits for ten seconds.
            wait_until(lambda place=place: place.file("zserv.api").exists(), within_s=15)  # type: ignore[misc]
            self._running.append(frr.start(place, "bfdd"))

    def start(self) -> None:
        """Our process with a session to each."""
        netns.inside(self.name("us"), lambda: self.supervisor.start(self._note))
        self.supervisor.configure(session(peer, every_ms) for peer, every_ms in PEERS.items())

    def tear_down(self) -> None:
        self.supervisor.close()
        ending = self.new_supervisor()
        ending.shutdown()
        ending.close()
        for process in self._running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        netns.ip([f"netns delete {self.name(part)}" for part in ("us", *self._parts(), "lan")])

    @contextmanager
    def cut(self) -> Iterator[float]:
        """Nothing passes between us and the others, and all links stay up. The time just before."""
        lan, port = self.name("lan"), self._ports["us"]
        member = struct.pack("16si", b"br0", netns.inside(lan, lambda: socket.if_nametoindex(port)))
        with netns.open_socket(lan, socket.AF_INET, socket.SOCK_DGRAM) as bridge:
            with _uninterrupted():
                began_s = time.monotonic()
                fcntl.ioctl(bridge, _LEAVE_BRIDGE, member)
            try:
                yield began_s
            finally:
                fcntl.ioctl(bridge, _JOIN_BRIDGE, member)

    def pid(self) -> int:
        return int((self.directory / "us" / "bfd.pid").read_text().split()[0])

    # What is known ---------------------------------------------------------------------------------------------

    def report(self, peer: Address) -> BfdReport | None:
        """The last one about a peer."""
        with self._news:
            found = [event.report for _, event in self.events if event.peer == peer]
        return found[-1] if found else None

    def all_are(self, state: SessionState) -> bool:
        return all((found := self.report(peer)) is not None and found.state is state for peer in PEERS)

    def up(self) -> None:
        """Wait until all are Up at both ends."""
        wanted = {str(peer): "up" for peer in PEERS}
        wait_until(lambda: self.all_are(SessionState.UP) and self.others() == wanted, within_s=30)

    def left_up(self, since_s: float) -> list[tuple[Address, float]]:
        """Each failure since then, with its time."""
        with self._news:
            return [
                (event.peer, event.report.since_s)
                for at_s, event in self.events
                if at_s >= since_s and event.report and event.report.failed_at_s is not None
            ]

    def others(self) -> dict[str, str]:
        """The state of each session as the other end has it, by its address there."""
        states = {}
        for address, every_ms in BIRDS.items():
            place, shown = self._place(f"bird{every_ms}"), ""
            with contextlib.suppress(RuntimeError):
                shown = place.run("birdc", "-s", place.file("bird.ctl"), "show", "bfd", "sessions")
            row = next((line.split() for line in shown.splitlines() if line.startswith(str(US))), None)
            states[str(address)] = row[2].lower() if row else "none"
        for address in FRRS:
            states[str(address)] = str(self.of_frr(address).get("status"))
        return states

    def of_frr(self, address: Address) -> dict[str, Any]:
        """FRR's own words about its session; empty while it does not answer."""
        place = self._place(f"frr{FRRS[address]}")
        try:
            shown = place.run("vtysh", "--vty_socket", place.directory, "-d", "bfdd", "-c", "show bfd peers json")
        except RuntimeError:
            return {}
        found: list[dict[str, Any]] = json.loads(shown)
        return found[0] if found else {}

    def _note(self, event: BfdChanged) -> None:
        with self._news:
            self.events.append((time.monotonic(), event))

    def _place(self, part: str) -> Place:
        directory = self.directory / part
        directory.mkdir(exist_ok=True)
        return Place(self.name(part), directory)

    def _parts(self) -> dict[str, Address]:
        birds = {f"bird{every_ms}": address for address, every_ms in BIRDS.items()}
        return {**birds, **{f"frr{every_ms}": address for address, every_ms in FRRS.items()}}


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Between the clock and the cut a busy machine runs nothing else."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _bird(address: Address, every_ms: int) -> str:
    options = f"interval {every_ms} ms; idle tx interval 1 s; multiplier {MULTIPLIER};"
    return f"""\
log stderr all;
router id {address};
protocol device {{}}
protocol bfd {{ interface "*" {{ {options} }}; neighbor {US} dev "eth0" local {address}; }}
"""


def _frr(address: Address, every_ms: int) -> Iterator[str]:
    yield "bfd"
    yield f" peer {US} local-address {address} interface eth0"
    yield f"  detect-multiplier {MULTIPLIER}"
    yield f"  receive-interval {every_ms}"
    yield f"  transmit-interval {every_ms}"
    yield " exit"


@contextmanager
def running() -> Iterator[Rig]:
    """All of it, and its end."""
    with tempfile.TemporaryDirectory(prefix="bfd") as directory:
        rig = Rig(Path(directory))
        rig.build()
        try:
            rig.start_others()
            rig.start()
            yield rig
        finally:
            rig.tear_down()
