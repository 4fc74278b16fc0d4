"""
Packets through a node's data path, by encapsulation: small UDP packets a second, TCP gigabits a second, CPU a packet.

A workload sends to one of another node (topologies/one-rack.yaml, real agents): a process sends UDP packets of 64 bytes
as fast as it can, then a process sends a TCP stream. Packets are those that arrive at the other workload's device. CPU
is that of the whole machine, interrupts and both ends included, so only differences to `direct` are due to an
encapsulation. A tunnel without hardware: sender, both nodes and receiver share the machine's cores.

    SECONDS=3 ROUNDS=2 python -m bench.forwarding bench/results/forwarding.json
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.labs import lab_of
from bench.common.machine import kernel_has_ipip
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab

SECONDS: Final = float(os.environ.get("SECONDS", "3"))
ROUNDS: Final = int(os.environ.get("ROUNDS", "2"))
WITHIN_S: Final = 60.0
PAYLOAD: Final = bytes(64)
PORT: Final = 5201
SENDER, RECEIVER = "web-a1", "web-a2"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START: Final = multiprocessing.get_context("fork")


class Case(NamedTuple):
    """An encapsulation, and the IPIP driver of all nodes."""

    name: str
    encapsulation: str
    driver: str = ""


CASES: Final = (
    Case("direct", "None"),
    Case("IPIP, module", "IPIP", "kernel"),
    Case("IPIP, BPF", "IPIP", "bpf"),
    Case("VXLAN", "VXLAN"),
)


def measure(case: Case) -> dict[str, Any]:
    """One row of one round."""
    more = f"ipip-drivers: {{{', '.join(f'a{number}: {case.driver}' for number in range(1, 5))}}}\n"
    words = {"encapsulation: IPIP}": f"encapsulation: {case.encapsulation}}}", "are: ipip": "are: bare"}
    with lab_of("forward", "one-rack", words, more if case.driver else "") as lab:
        assert lab.wait(WITHIN_S), "did not converge"
        pps, cpu_us = datagrams(lab)
        gigabits = stream(lab)
    return {"case": case.name, "packets_per_s": pps, "cpu_us_per_packet": cpu_us, "gigabits_per_s": gigabits}


def datagrams(lab: Lab) -> tuple[float, float]:
    """Packets a second that arrive, and microseconds of CPU for each."""
    target = address(lab)
    received = netns.open_socket(lab.names.of(RECEIVER), socket.AF_INET, socket.SOCK_DGRAM)
    received.bind((target, PORT))
    with received, sending(lab, _send_datagrams, target):
        time.sleep(0.5)
        before, busy_s, began_s = arrived(lab), busy(), time.monotonic()
        time.sleep(SECONDS)
        packets, took_s = arrived(lab) - before, time.monotonic() - began_s
        return packets / took_s, 1e6 * (busy() - busy_s) / packets


def stream(lab: Lab) -> float:
    """Gigabits a second of one TCP stream."""
    target = address(lab)
    listener = netns.open_socket(lab.names.of(RECEIVER), socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((target, PORT))
    listener.listen()
    listener.settimeout(10)
    with listener, sending(lab, _send_stream, target):
        connection, _ = listener.accept()
        buffer, total, began_s = bytearray(1 << 20), 0, time.monotonic()
        with connection:
            while time.monotonic() - began_s < SECONDS:
                total += connection.recv_into(buffer)
        return 8e-9 * total / (time.monotonic() - began_s)


def address(lab: Lab) -> str:
    return str(next(item.address for item in lab.topology.workloads if item.name == RECEIVER))


class sending:  # noqa: N801 (a context)
    """A process that sends from inside the sender's namespace, until the end of the block."""

    def __init__(self, lab: Lab, send: Callable[[str], None], target: str) -> None:
        namespace = lab.names.of(SENDER)

        def run() -> None:
            netns.enter(namespace)
            send(target)

        self._process = _START.Process(target=run, daemon=True)

    def __enter__(self) -> None:
        self._process.start()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _send_datagrams(target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.connect((target, PORT))
        send = opened.send
        while True:
            send(PAYLOAD)


def _send_stream(target: str) -> None:
    data = bytes(1 << 18)
    with socket.create_connection((target, PORT), timeout=10) as opened:
        while True:
            opened.sendall(data)


def arrived(lab: Lab) -> int:
    """Packets that the receiver's device has received."""
    text = netns.inside(lab.names.of(RECEIVER), lambda: Path("/proc/thread-self/net/dev").read_text())
    return int(next(line for line in text.splitlines() if "eth0:" in line).partition(":")[2].split()[1])


def busy() -> float:
    """CPU seconds of the machine that were neither idle nor stolen (proc(5))."""
    fields = [int(word) / _TICKS for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    return sum(fields) - fields[3] - fields[4]


def summary(samples: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Medians of the rounds."""
    for key, taken in figures.grouped(samples, "case").items():
        yield {**key, **{name: figures.median(row[name] for row in taken) for name in taken[0] if name != "case"}}


def main(output: Path | None) -> None:
    absent = {} if kernel_has_ipip() else {"IPIP, module": "this kernel has no ipip module"}
    samples = []
    for _ in range(ROUNDS):
        for case in CASES:
            if case.name not in absent:
                samples.append(measure(case))
                print(samples[-1], flush=True)
    if output:
        figures.write(output, {"rounds": ROUNDS, "absent": absent, "rows": [*summary(samples)]})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
