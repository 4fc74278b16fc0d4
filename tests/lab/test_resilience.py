"""Fears of an operator: a killed agent, objects deleted by hand, a bad edit, two labs at once, a crash of a lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from bgpctl.kernel.bpf import ingress
from bgpctl.kernel.netlink import Netlink
from bgpctl.lab import lab as labs
from bgpctl.lab import netns, probe
from bgpctl.lab.build import Names
from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load, both_directions
from tests.contract.ipip_rig import receivers
from tests.kernel_text import assert_same_text
from tests.lab.rig import CONVERGE_S, ip, kernel_of, kill
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import SLOWNESS, wait_until

PPS = int(1000 / SLOWNESS)
ENOUGH = PPS
"""Packets: a second of a stream."""


@contextmanager
def monitored(lab: Lab, node: str, *objects: str) -> Iterator[list[str]]:
    """The lines of `ip monitor` from when it listens until the end of the block."""
    command = ("ip", "-n", lab.names.of(node), "monitor", *objects)
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(monitor.stdout or ()), daemon=True)
        reader.start()
        # A route of our own shows that it listens, and is not counted.
        wait_until(lambda: _provoke(lab, node, lines))
        lines.clear()
        yield lines
        monitor.terminate()
        reader.join(timeout=5)
        # An event that was provoked more than once may have arrived late.
        lines[:] = [line for line in lines if "192.0.2.0/24" not in line]


def _provoke(lab: Lab, node: str, lines: list[str]) -> bool:
    ip(lab, node, "route", "replace", "blackhole", "192.0.2.0/24", "proto", "static")
    ip(lab, node, "route", "del", "blackhole", "192.0.2.0/24", "proto", "static")
    return any("Deleted blackhole 192.0.2.0/24" in line for line in lines)


def test_a_killed_agent_loses_no_packet_no_session_and_its_successor_touches_nothing(
    lab_of: Callable[[str], Lab],
) -> None:
    lab = lab_of("cross-subnet")
    workloads = {workload.name: workload for workload in lab.topology.workloads}
    before = kernel_of(lab, "a1")
    uptimes = {peer["name"]: peer["uptime_s"] for peer in lab.read("b1", "peers")["peers"]}
    load = Load(lab.names, both_directions([workloads["web-a1"], workloads["web-b1"]]), PPS)
    with monitored(lab, "a1", "route", "nexthop") as events:
        load.start()
        wait_until(lambda: all(flow.sent > ENOUGH for flow in load.flows))
        kill(lab, "a1")
        wait_until(lambda: all(flow.sent > 2 * ENOUGH for flow in load.flows))
        lab.start_agent("a1")
        assert lab.wait(CONVERGE_S)
        wait_until(lambda: all(flow.sent > 4 * ENOUGH for flow in load.flows))
        flows = load.stop()
    assert [flow.lost for flow in flows] == [0, 0]
    assert events == []
    assert_same_text(kernel_of(lab, "a1"), before)
    for peer in lab.read("b1", "peers")["peers"]:
        assert peer["uptime_s"] > uptimes[peer["name"]]
    assert all(peer["uptime_s"] > uptimes["a1"] for peer in lab.read("a1", "peers")["peers"])


def test_an_agent_that_is_stopped_leaves_forwarding_and_sessions_in_place(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    before = kernel_of(lab, "a1")
    kill(lab, "a1", signal.SIGTERM)
    assert lab.agents["a1"].returncode == 0
    assert_same_text(kernel_of(lab, "a1"), before)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    assert all(peer["established"] for peer in lab.read("b1", "peers")["peers"])


DAMAGE = {
    "a route": ("cross-subnet", ("route", "del", "10.244.3.0/26")),
    "all next hops": ("cross-subnet", ("nexthop", "flush", "proto", "179")),
    "the IPIP device": ("cross-subnet", ("link", "del", "tunl0")),
    "the IPIP device being up": ("cross-subnet", ("link", "set", "tunl0", "down")),
    "the IPIP device's address": ("cross-subnet", ("address", "flush", "dev", "tunl0")),
    "a neighbour": ("vxlan", ("neighbour", "del", "10.244.3.0", "dev", "vxlan.bgpctl")),
    "the VXLAN device": ("vxlan", ("link", "del", "vxlan.bgpctl")),
    "the VXLAN device's alias": ("vxlan", ("link", "set", "vxlan.bgpctl", "alias", "")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_deleted_by_hand_is_back_without_help(
    lab_of: Callable[[str], Lab], record_property: Callable[[str, object], None], what: str
) -> None:
    file, damage = DAMAGE[what]
    lab = lab_of(file)
    healthy = normal(lab)
    if damage[0] == "nexthop":
        for line in ip(lab, "a1", "nexthop").splitlines():
            ip(lab, "a1", "nexthop", "del", "id", line.split()[1])
    else:
        ip(lab, "a1", *damage)
    delay_s = wait_until(lambda: normal(lab) == healthy, within_s=10)
    record_property("repaired_ms", round(delay_s * 1000, 1))
    print(f"{what}: back after {delay_s * 1000:.0f} ms")
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))


def normal(lab: Lab) -> list[str]:
    """The state that must come back, without what may differ afterwards (interface numbers)."""
    routes = ip(lab, "a1", "route").splitlines()
    hops = [" ".join(line.split()) for line in ip(lab, "a1", "nexthop").splitlines()]
    neighbours = ip(lab, "a1", "neighbour", "show", "nud", "permanent").splitlines()
    links = [
        f"{link['ifname']} {link.get('ifalias')} {link['mtu']} {'UP' in link['flags']}"
        for link in json.loads(ip(lab, "a1", "-j", "link"))
    ]
    addresses = [
        f"{item['ifname']} {address['local']}"
        for item in json.loads(ip(lab, "a1", "-j", "address"))
        for address in item["addr_info"]
        if address["family"] == "inet"
    ]
    return sorted([*routes, *hops, *neighbours, *links, *addresses])


def test_decapsulation_removed_by_hand_is_back_after_the_next_observation(lab_of: Callable[[str], Lab]) -> None:
    """The kernel sends an event for a deleted clsact, none for a program on tcx: then any event leads to the repair."""
    lab = lab_of("cross-subnet")
    (before,) = netns.inside(lab.names.of("a1"), receivers)

    def take_away() -> None:
        with closing(Netlink()) as netlink:
            ingress.detach(netlink, before._replace(label=None))

    netns.inside(lab.names.of("a1"), take_away)
    ip(lab, "a1", "address", "add", "192.0.2.1/32", "dev", "lo")
    wait_until(lambda: before not in netns.inside(lab.names.of("a1"), receivers))
    wait_until(lambda: bool(netns.inside(lab.names.of("a1"), receivers)))
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))


FIVE_MISTAKES = {
    "encapsulation: IPIPCrossSubnet": "encapsulation: IPIPCross",
    "10.0.0.1/24": "10.0.0.1/240",
    "blocks: [10.244.2.0/26]": "blocks: [10.244.2.1/26]",
    "blocks: [10.244.3.0/26]": "bloks: [10.244.3.0/26]",
    "calico_backend: bird": "calico_backend: birds",
}


def test_a_bad_edit_changes_nothing_in_the_kernel_and_a_good_one_does(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    file = lab.topology.file
    good = file.read_text()
    before = kernel_of(lab, "a1")
    bad = good
    for right, wrong in FIVE_MISTAKES.items():
        bad = bad.replace(right, wrong)
    replace(file, bad)
    wait_until(lambda: len(problems(lab)) >= 5)
    assert all(str(file) in problem for problem in problems(lab))
    assert_same_text(kernel_of(lab, "a1"), before)
    result = subprocess.run(
        (sys.executable, "-m", "bgpctl", "validate", "-f", str(file)), capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert sum(line.startswith(f"{file}:") for line in result.stderr.splitlines()) == 5
    replace(file, good.replace("IPIPCrossSubnet", "IPIP"))
    wait_until(lambda: problems(lab) == [] and "10.0.0.2 dev tunl0" in ip(lab, "a1", "route"))


def replace(file: Path, text: str) -> None:
    """As an editor does it: whole, by renaming."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def problems(lab: Lab) -> list[str]:
    return [problem for problem in lab.read("a1", "summary")["problems"] if problem.startswith("cluster file rejected")]


def test_cleanup_removes_everything_of_ours_and_nothing_of_others(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    ip(lab, "a1", "route", "add", "blackhole", "192.0.2.0/24", "proto", "static")
    ip(lab, "a1", "nexthop", "add", "id", "7", "via", "10.0.0.254", "dev", "eth0")
    kill(lab, "a1", signal.SIGTERM)
    command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(lab.run_dir("a1")))
    process = netns.spawn(lab.names.of("a1"), command, lab.directory / "cleanup.log")
    assert process.wait(timeout=30) == 0, (lab.directory / "cleanup.log").read_text()
    left = kernel_of(lab, "a1")
    assert "179" not in "".join(line for line in left.splitlines() if "proto" in line)
    assert "tunl0" not in left
    assert "alias bgpctl" not in left
    assert "blackhole 192.0.2.0/24" in left
    assert "id 7 via 10.0.0.254" in left
    assert "default via 10.0.0.254" in left
    assert not netns.inside(lab.names.of("a1"), receivers)
    assert netns.processes(lab.names.of("a1")) == []


def test_two_labs_of_one_file_do_not_collide() -> None:
    one, two = (f"t{os.getpid()}-{side}" for side in ("left", "right"))
    try:
        pair = [labs.up(read_topology(TOPOLOGIES / "vxlan.yaml"), name, keep=False) for name in (one, two)]
        assert all(lab.wait(CONVERGE_S) for lab in pair)
        for lab in pair:
            assert all(p.ok for p in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    finally:
        labs.down(one)
        labs.down(two)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_and_a_killed_one_is_swept_by_the_next(number: signal.Signals) -> None:
    file = TOPOLOGIES / "vxlan.yaml"
    command = (sys.executable, "-m", "bgpctl", "lab", "run", str(file))
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, start_new_session=True) as run:
        names = Names(f"vxlan-{run.pid}")
        wait_until(lambda: len(netns.names(names.prefix)) >= 5)
        run.send_signal(number)
        run.wait(timeout=30)
    if number is signal.SIGKILL:
        wait_until(lambda: "ip" not in commands_of(run.pid))  # it outlives the run, and may still make a namespace
        assert netns.names(names.prefix)
        assert names.lab in labs.remove_orphans()
    assert netns.names(names.prefix) == []
    assert names.lab not in labs.lab_names()


def commands_of(session: int) -> set[str]:
    """The names of the programs that run in a session."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(process.name)) == session:
                found.add((process / "comm").read_text().strip())
    return found


def test_a_load_counts_what_a_broken_path_loses(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    workloads = {workload.name: workload for workload in lab.topology.workloads}
    load = Load(lab.names, [(workloads["web-a1"], workloads["web-b1"])], pps=500)
    (flow,) = load.flows
    load.start()
    wait_until(lambda: flow.sent > 100)
    ip(lab, "core", "link", "set", "eth1", "down")
    sent = flow.sent
    wait_until(lambda: flow.sent > sent + 100)
    ip(lab, "core", "link", "set", "eth1", "up")
    arrived = flow.arrived
    wait_until(lambda: flow.arrived > arrived + 100)
    load.stop()
    assert 0 < flow.lost < flow.sent
    assert flow.longest_gap_s > 0.1
