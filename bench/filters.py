"""
The price of the filters: packets between workloads of two nodes with and without them, by encapsulation and IP version.

The nodes are real (topologies/one-rack.yaml), converged, and then frozen: nobody mends what the benchmark takes away.
The sets of members have MEMBERS addresses. A round sends UDP packets of 18 bytes from one workload to the other, first
with the tables of ours and then without them, or the other way round. Sender, nodes and receiver share one CPU, and the
kernel charges most of the way to the sending process: CPU is that process's. Without means without all tables for
workloads and tunnels; the BPF program of IP in IP, which is also the driver, keeps its own list of senders.

    SECONDS=1 ROUNDS=10 MEMBERS=1000 python -m bench.filters bench/results/filters.json
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.labs import lab_of
from bench.common.machine import kernel_has_ipip
from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab

SECONDS: Final = float(os.environ.get("SECONDS", "1"))
ROUNDS: Final = int(os.environ.get("ROUNDS", "10"))
MEMBERS: Final = int(os.environ.get("MEMBERS", "1000"))
WITHIN_S: Final = 60.0
PAYLOAD: Final = bytes(18)
PORT: Final = 5201
SENDER, RECEIVER = "web-a1", "web-a2"
NODES: Final = ("a1", "a2")
_OURS: Final = re.compile(r"^table (\w+) (bgpctl_\w+)", re.MULTILINE)
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START: Final = multiprocessing.get_context("fork")
_SIX: Final = {
    "10.244.0.0/16": "fd00:10:244::/64, blockSize: 122",
    **{f"10.0.0.{node}/24": f"fd00:10::{node}/64" for node in range(1, 5)},
    **{f"10.244.{node}.0/26": f"fd00:10:244::{node:x}40/122" for node in range(1, 5)},
    **{f"10.244.{node}.10": f"fd00:10:244::{node:x}4a" for node in range(1, 5)},
    "rack-a: 10.0.0.0/24": "rack-a: fd00:10::/64",
}


class Case(NamedTuple):
    """An encapsulation over one IP version, and the IPIP driver of all nodes."""

    name: str
    encapsulation: str
    version: int = 4
    driver: str = ""


CASES: Final = (
    Case("direct", "None"),
    Case("direct, IPv6", "None", 6),
    Case("IPIP, module", "IPIP", driver="kernel"),
    Case("IPIP, BPF", "IPIP", driver="bpf"),
    Case("VXLAN", "VXLAN"),
    Case("VXLAN, IPv6", "VXLAN", 6),
)


class Tables:
    """The tables for workloads and tunnels of one node."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        names = _OURS.findall(self._nft("list", "tables"))
        self._names = [(family, name) for family, name in names]
        listed = "".join(self._nft("list", "table", family, name) for family, name in self._names)
        self._text = _with_members(listed)

    def put(self) -> None:
        self.remove()
        self._nft("-f", "-", text=self._text)

    def remove(self) -> None:
        self._nft(
            "-f",
            "-",
            text="".join(f"add table {family} {name}\ndelete table {family} {name}\n" for family, name in self._names),
        )

    def _nft(self, *arguments: str, text: str | None = None) -> str:
        command = ("ip", "netns", "exec", self._namespace, "nft", *arguments)
        return subprocess.run(command, input=text, text=True, check=True, capture_output=True).stdout


def _with_members(listed: str) -> str:
    """The same with more addresses in the sets of members and of senders."""

    def more(found: re.Match[str]) -> str:
        version = int(found["version"])
        base = Address.parse("198.18.0.1" if version == 4 else "2001:db8::1").value
        others = ", ".join(str(Address(version, base + number)) for number in range(MEMBERS))
        return f"{found[0]}{others}, "

    text = r"set (?:members|sources) \{\s+type ipv(?P<version>[46])_addr\s+elements = \{ "
    return re.sub(text, more, listed)


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Rows of all rounds."""
    more = f"ipip-drivers: {{{', '.join(f'a{number}: {case.driver}' for number in range(1, 5))}}}\n"
    words = {"encapsulation: IPIP}": f"encapsulation: {case.encapsulation}}}", "are: ipip": "are: bare"}
    if case.version == 6:
        words = {**words, **_SIX}
    with lab_of("filters", "one-rack", words, more if case.driver else "") as lab:
        assert lab.wait(WITHIN_S), "did not converge"
        frozen = [pid for node in lab.topology.agents for pid in netns.processes(lab.names.of(node.name))]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        tables = [Tables(lab.names.of(node)) for node in NODES]
        try:
            for number in range(ROUNDS):
                both = (True, False) if number % 2 else (False, True)
                taken = dict(zip(both, (datagrams(lab, tables, filters=there) for there in both), strict=True))
                yield {
                    "case": case.name,
                    **{f"{word}_with": value for word, value in taken[True].items()},
                    **{f"{word}_without": value for word, value in taken[False].items()},
                    "share": taken[True]["cpu_us"] / taken[False]["cpu_us"] - 1,
                }
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


def datagrams(lab: Lab, tables: Sequence[Tables], *, filters: bool) -> dict[str, float]:
    """Packets a second that arrive, and microseconds of CPU for each."""
    for item in tables:
        item.put() if filters else item.remove()
    target = str(next(item.address for item in lab.topology.workloads if item.name == RECEIVER))
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with netns.open_socket(lab.names.of(RECEIVER), family, socket.SOCK_DGRAM) as received:
        received.bind((target, PORT))
        sender = _START.Process(target=_send, args=(lab.names.of(SENDER), target, family), daemon=True)
        sender.start()
        assert sender.pid is not None
        try:
            _until_arrived(lab, arrived(lab) + 1000)
            packets, cpu_s, began_s = arrived(lab), _cpu_s(sender.pid), time.monotonic()
            time.sleep(SECONDS)
            packets, cpu_s = arrived(lab) - packets, _cpu_s(sender.pid) - cpu_s
            return {"cpu_us": 1e6 * cpu_s / packets, "packets_per_s": packets / (time.monotonic() - began_s)}
        finally:
            sender.kill()
            sender.join()


def _send(namespace: str, target: str, family: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    netns.enter(namespace)
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.connect((target, PORT))
        send = opened.send
        while True:
            send(PAYLOAD)


def _until_arrived(lab: Lab, packets: int) -> None:
    until_s = time.monotonic() + 10
    while arrived(lab) < packets:
        assert time.monotonic() < until_s, "nothing arrives"
        time.sleep(0.01)


def arrived(lab: Lab) -> int:
    """Packets that the receiver's device has received."""
    text = netns.inside(lab.names.of(RECEIVER), lambda: Path("/proc/thread-self/net/dev").read_text())
    return int(next(line for line in text.splitlines() if "eth0:" in line).partition(":")[2].split()[1])


def _cpu_s(pid: int) -> float:
    """CPU seconds of the process, to a nanosecond (proc(5), schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9


def summary(samples: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Medians of the rounds."""
    for key, taken in figures.grouped(samples, "case").items():
        yield {**key, **{name: figures.median(row[name] for row in taken) for name in taken[0] if name != "case"}}


def main(output: Path | None) -> None:
    absent = {} if kernel_has_ipip() else {"IPIP, module": "this kernel has no ipip module"}
    samples: list[dict[str, Any]] = []
    only = os.environ.get("CASES", "").split("/")
    for case in CASES:
        if case.name not in absent and (not any(only) or case.name in only):
            samples += measure(case)
            print(list(summary(samples))[-1], flush=True)
    if output:
        figures.write(output, {"rounds": ROUNDS, "members": MEMBERS, "absent": absent, "rows": [*summary(samples)]})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
