"""
Costs of proving the paths to many members, and the time from a dropped path to its verdict.

The prover of an agent works as it is, in a network namespace of its own. Another one stands for all members: its kernel
has all of their addresses, and one process takes packets of protocol 4 out of their outer header and answers. So the
members cost the prover's process nothing. CPU is that of this process alone, on a node that is idle and on one that
sends packets (500 pings a second). Then some members at a time answer no more, and for each the time counts until the
prover reports it.

    MEMBERS="4 50 1000" SECONDS=30 python -m bench.proof bench/results/proof.json
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import Process
from pathlib import Path

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.processes import cpu_s
from bgpctl.agent.prover import Prover
from bgpctl.core.agent.events import ConfigurationsCompared, ForwardingJudged, PathsJudged
from bgpctl.core.cluster.encapsulation import IPIP
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop
from bgpctl.core.proof.paths import MemberPath
from bgpctl.core.proof.schedule import EVERY_S
from bgpctl.core.proof.verdict import Verdict
from bgpctl.kernel.probes import PacketProber
from bgpctl.lab import netns
from bgpctl.process.clock import LinuxClock

MEMBERS = [int(word) for word in os.environ.get("MEMBERS", "4 50 1000").split()]
SECONDS = float(os.environ.get("SECONDS", "30"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
MOST_AT_ONCE = 50
SETTLE_S = 15.0
"""Until the prover has found out whether its node carries traffic, and every path has had its turn."""
WITHIN_S = 60.0
PREFIX = f"bench-proof-{os.getpid()}"
OWN = Address.parse("10.9.0.1")
FIRST = (10 << 24) + (128 << 16) + 1
"""The members' addresses begin here."""
_HEADER_BYTES = 20
_ECHO_REPLY_SUM = 0x0800


def member(number: int) -> MemberPath:
    remote = Address(4, FIRST + number)
    hop = NextHop(number + 1, "tunl0", remote, onlink=True)
    return MemberPath(f"m{number}", Probe(hop, IPIP, OWN, remote, OWN, remote), 1480, 20)


@contextmanager
def two_namespaces() -> Iterator[tuple[str, str]]:
    """The prover's, and the members'."""
    here, there = f"{PREFIX}-a", f"{PREFIX}-b"
    commands = (
        f"netns add {here}",
        f"netns add {there}",
        f"-n {here} link add eth0 type veth peer name eth0 netns {there}",
        f"-n {here} address add {OWN}/24 dev eth0",
        f"-n {there} address add 10.9.0.2/24 dev eth0",
        f"-n {here} link set eth0 up",
        f"-n {there} link set eth0 up",
        f"-n {there} link set lo up",
        f"-n {here} route add 10.128.0.0/16 via 10.9.0.2",
        f"-n {there} route add local 10.128.0.0/16 dev lo",
    )
    try:
        for command in commands:
            subprocess.run(("ip", *command.split()), check=True)
        yield here, there
    finally:
        for name in (here, there):
            subprocess.run(("ip", "netns", "del", name), check=False)


def answer(namespace: str, drop: socket.socket) -> None:
    """Answer as every member, until killed; a member whose number comes by `drop` is silent from then on."""

    def serve() -> None:
        inward = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
        inward.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        outward = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        drop.setblocking(False)
        silent: set[bytes] = set()
        while True:
            packet = inward.recv(4096)[_HEADER_BYTES:]
            while word := _received(drop):
                silent = {Address(4, FIRST + number).packed for (number,) in struct.iter_unpack("!I", word)}
            source, target = packet[12:16], packet[16:20]
            if target not in silent:
                outward.sendto(_reply(packet, source, target), (socket.inet_ntoa(source), 0))

    netns.inside(namespace, serve)


def _received(drop: socket.socket) -> bytes:
    try:
        return drop.recv(4096)
    except BlockingIOError:
        return b""


def _reply(packet: bytes, source: bytes, target: bytes) -> bytes:
    """The echo reply; the kernel sets the header's checksum anew."""
    (checksum,) = struct.unpack_from("!H", packet, _HEADER_BYTES + 2)
    total = checksum + _ECHO_REPLY_SUM
    echo = struct.pack("!BBH", 0, 0, (total & 0xFFFF) + (total >> 16)) + packet[_HEADER_BYTES + 4 :]
    return packet[:10] + b"\0\0" + target + source + echo


class Verdicts:
    """The last verdict on each member, and when it came."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Verdict, float]] = {}
        self._changed = threading.Condition()

    def report(self, event: PathsJudged | ConfigurationsCompared | ForwardingJudged) -> None:
        if not isinstance(event, PathsJudged):
            return
        with self._changed:
            now_s = time.monotonic()
            self._found.update({path.member: (proof.verdict, now_s) for path, proof in event.verdicts})
            self._changed.notify_all()

    def wait(self, verdict: Verdict, numbers: Iterable[int]) -> list[float]:
        """When these members had it, sorted."""
        names = [f"m{number}" for number in numbers]

        def holds() -> bool:
            return all(self._found.get(name, (None, 0.0))[0] is verdict for name in names)

        with self._changed:
            assert self._changed.wait_for(holds, WITHIN_S), f"not all {verdict.value}"
            return sorted(self._found[name][1] for name in names)


@contextmanager
def traffic(here: str, *, is_there: bool) -> Iterator[None]:
    """More packets than an idle node sends, by another process."""
    words = ("ip", "netns", "exec", here, "ping", "-q", "-i", "0.002", "-l", "100", "10.9.0.2")
    sender = subprocess.Popen(words, stdout=subprocess.DEVNULL) if is_there else None
    try:
        yield
    finally:
        if sender:
            sender.terminate()
            sender.wait()


def measure(here: str, there: str, count: int, *, is_busy: bool) -> dict[str, float]:
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    members = Process(target=answer, args=(there, other), daemon=True)
    members.start()
    verdicts, paths = Verdicts(), [member(number) for number in range(count)]
    prover = Prover(PacketProber(), LinuxClock(), verdicts.report, EVERY_S)
    try:
        with traffic(here, is_there=is_busy):
            began_s = time.monotonic()
            netns.inside(here, lambda: prover.follow(Intent(), paths))
            proven_s = verdicts.wait(Verdict.PROVEN, range(count))[-1] - began_s
            time.sleep(SETTLE_S)
            before_s, began_s = cpu_s(os.getpid()), time.monotonic()
            time.sleep(SECONDS)
            percent = 100 * (cpu_s(os.getpid()) - before_s) / (time.monotonic() - began_s)
            found = detect(mine, verdicts, count)
    finally:
        prover.stop()
        members.kill()
        members.join()
    return {"members": count, "busy": is_busy, "first_proof_s": proven_s, "cpu_percent": percent} | found


def detect(drop: socket.socket, verdicts: Verdicts, count: int) -> dict[str, float]:
    """Seconds from a member's silence to the report that it is unreachable, and from its return to its proof."""
    lost_s: list[float] = []
    back_s: list[float] = []
    at_once = max(1, min(count // 2, MOST_AT_ONCE))
    for _ in range(ROUNDS):
        numbers = random.sample(range(count), at_once)
        began_s = time.monotonic()
        drop.send(struct.pack(f"!{at_once}I", *numbers))
        lost_s += [at_s - began_s for at_s in verdicts.wait(Verdict.UNREACHABLE, numbers)]
        began_s = time.monotonic()
        drop.send(struct.pack("!I", count))
        back_s += [at_s - began_s for at_s in verdicts.wait(Verdict.PROVEN, numbers)]
    return {
        "faults": len(lost_s),
        "lost_p50_s": figures.percentile(lost_s, 50),
        "lost_p99_s": figures.percentile(lost_s, 99),
        "back_p50_s": figures.percentile(back_s, 50),
    }


def main(output: Path | None) -> None:
    with two_namespaces() as (here, there):
        rows = [measure(here, there, count, is_busy=is_busy) for count in MEMBERS for is_busy in (False, True)]
    record = {"every_s": EVERY_S, "rows": [{key: round(value, 3) for key, value in row.items()} for row in rows]}
    print(json.dumps(record))
    if output:
        figures.write(output, record)


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
