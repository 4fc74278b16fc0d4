"""
Costs of a node with many quiet BGP peers: ExaBGP as bgpctl runs it beside ExaBGP as it is.

All peers are played by one BIRD. The two take turns in the same fresh network namespace; the result is the median of
the rounds. CPU is that of ExaBGP's process alone, from /proc, with every session established and no route.

    PEERS=100 ROUNDS=3 SECONDS=20 python -m bench.bgp_idle bench/results/bgp-idle.json
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.processes import cpu_s
from bgpctl.core.bgp.speaker import Session, SessionUp, SpeakerAttached, SpeakerConfig, SpeakerEvent
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.speaker.exabgp import ExabgpSpeaker

PEERS = int(os.environ.get("PEERS", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = float(os.environ.get("SECONDS", "20"))
HOLD_TIME_S = 30
UP_WITHIN_S = 60.0
AS = Asn(64512)
OURS = [Address.parse(f"10.1.{i // 250}.{i % 250 + 1}") for i in range(PEERS)]
THEIRS = [Address.parse(f"10.2.{i // 250}.{i % 250 + 1}") for i in range(PEERS)]


class Sessions:
    """Counts those that are up."""

    def __init__(self) -> None:
        self._up: set[Address] = set()
        self._all = threading.Event()

    def hear(self, event: SpeakerEvent) -> None:
        match event:
            case SessionUp(peer):
                self._up.add(peer)
            case SpeakerAttached(_, established):
                self._up.update(peer for peer, _ in established)
            case _:
                pass
        if len(self._up) == PEERS:
            self._all.set()

    def wait(self) -> None:
        assert self._all.wait(UP_WITHIN_S), f"{len(self._up)} of {PEERS} sessions are up"


def bird(directory: Path) -> subprocess.Popen[bytes]:
    protocols = "\n".join(
        f"protocol bgp p{i} {{ local {theirs} as {AS}; neighbor {ours} as {AS}; passive on; strict bind yes; "
        f"hold time {HOLD_TIME_S}; ipv4 {{ import all; export none; }}; }}"
        for i, (ours, theirs) in enumerate(zip(OURS, THEIRS, strict=True))
    )
    (directory / "bird.conf").write_text(f"router id 10.2.255.1;\nprotocol device {{ }}\n{protocols}\n")
    files = ("-c", str(directory / "bird.conf"), "-s", str(directory / "bird.ctl"), "-P", str(directory / "bird.pid"))
    return subprocess.Popen(("bird", "-f", *files))


def config() -> SpeakerConfig:
    sessions = (
        Session(theirs, f"p{i}", ours, AS, AS, passive=False, hold_time_s=HOLD_TIME_S)
        for i, (ours, theirs) in enumerate(zip(OURS, THEIRS, strict=True))
    )
    return SpeakerConfig(OURS[0], OURS[0], 1179, tuple(sessions))


def measure(directory: Path, *, patched: bool) -> float:
    """Percent of one CPU."""
    run_dir = directory / ("patched" if patched else "stock")
    speaker, sessions = ExabgpSpeaker(run_dir, patched=patched), Sessions()
    speaker.start(sessions.hear)
    try:
        speaker.configure(config())
        sessions.wait()
        pid = int((run_dir / "exabgp.pid").read_text().split()[0])
        before_s, began_s = cpu_s(pid), time.monotonic()
        time.sleep(SECONDS)
        return 100 * (cpu_s(pid) - before_s) / (time.monotonic() - began_s)
    finally:
        speaker.shutdown()
        speaker.close()


def main(output: Path | None) -> None:
    if os.environ.get("BENCH_INSIDE") != "1":
        command = ("unshare", "--net", "--mount", sys.executable, "-m", "bench.bgp_idle", *sys.argv[1:])
        os.execvpe(command[0], command, {**os.environ, "BENCH_INSIDE": "1"})
    lines = ["link set lo up", *(f"address add {address}/32 dev lo" for address in (*OURS, *THEIRS))]
    subprocess.run(("ip", "-batch", "-"), input="\n".join(lines), text=True, check=True)
    found: dict[str, list[float]] = {"stock": [], "patched": []}
    with tempfile.TemporaryDirectory() as name:
        judge = bird(Path(name))
        try:
            for _ in range(ROUNDS):
                for kind, values in found.items():
                    values.append(measure(Path(name), patched=kind == "patched"))
        finally:
            judge.terminate()
            judge.wait()
    percent = {kind: round(statistics.median(values), 2) for kind, values in found.items()}
    record = {"peers": PEERS, "cpu_percent": percent, "ratio": round(percent["patched"] / percent["stock"], 2)}
    print(json.dumps(record))
    if output:
        figures.write(output, record)
    sys.exit(percent["patched"] > percent["stock"] / 2)


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
