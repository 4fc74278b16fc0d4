"""The encapsulation changes under traffic, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, pairwise

from bgpctl.lab.lab import Lab
from bgpctl.lab.probe import Stream
from tests.lab.conftest import wait_until

PPS = 100


def write(lab: Lab, encapsulation: str) -> None:
    text = lab.topology.file.read_text()
    before = text.split("encapsulation: ")[1].split("}")[0].split(",")[0]
    lab.topology.file.write_text(text.replace(f"encapsulation: {before}", f"encapsulation: {encapsulation}"))


def shown(lab: Lab) -> set[tuple[str, str]]:
    return {(s["state"], tuple(t["name"] for t in s["tunnels"]) and s["tunnels"][0]["encapsulation"]) for s in lab.summaries()}


def test_switch(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    for before, now in pairwise(["IPIPCrossSubnet", "VXLANCrossSubnet", "IPIP", "VXLAN", "IPIPCrossSubnet"]):
        streams = [Stream(lab.names, a, b, PPS, 5005 + i) for i, (a, b) in enumerate(permutations(lab.topology.workloads, 2))]
        for index, stream in enumerate(streams):
            stream.start()
        wait_until(lambda: all(s.received > 20 for s in streams))
        write(lab, now)
        import time
        t=time.monotonic()
        while time.monotonic()-t < 30:
            s = lab.summaries()
            if time.monotonic()-t>1 and all(x["state"]=="converged" for x in s): break
            time.sleep(.2)
        print(before, now, round(time.monotonic()-t,1), [(x["node"],x["state"],x["tunnels"],x["problems"]) for x in lab.summaries()])
        reports = [s.stop() for s in streams]
        print(sum(r.sent for r in reports), "lost", sum(r.lost for r in reports), "gap", max(r.longest_gap_ms for r in reports), [(s.source.name,s.destination.name,r.lost) for s,r in zip(streams,reports) if r.lost])
        import subprocess
        print(subprocess.run(["ip","-n",lab.names.of("a1"),"route"],capture_output=True,text=True).stdout, subprocess.run(["ip","-n",lab.names.of("a1"),"-br","link"],capture_output=True,text=True).stdout)
    raise AssertionError
