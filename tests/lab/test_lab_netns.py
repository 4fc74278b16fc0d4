"""The network of a lab alone, without agents: what is built, what is dropped, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place
from bgpctl.core.net.addresses import Address
from bgpctl.lab import build, netns, probe
from bgpctl.lab import lab as labs
from bgpctl.lab.build import Names
from bgpctl.lab.capture import Capture
from bgpctl.lab.load import Flow, Load
from bgpctl.lab.topology import Topology, Workload
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import wait_until

CORE = "10.0.0.254"


@pytest.fixture(scope="module")
def racks() -> Topology:
    return read_topology(TOPOLOGIES / "cross-subnet.yaml")


@contextmanager
def built(racks: Topology, suffix: str = "") -> Iterator[Names]:
    """The network of the lab, its nodes forwarding as an agent would make them."""
    names = Names(f"n{os.getpid()}{suffix}")
    try:
        build.build(racks, names)
        for node in racks.intent.nodes:
            netns.set_sysctls(names.of(node.name), {"net/ipv4/ip_forward": "1"})
        yield names
    finally:
        build.tear_down(names)


def shown(names: Names, part: str, *words: str) -> list[dict[str, Any]]:
    result = subprocess.run(("ip", "-j", "-n", names.of(part), *words), capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def join(names: Names) -> None:
    """Routes by hand between a1 and a2, which share a segment."""
    netns.ip(["route add 10.244.2.0/26 via 10.0.0.2"], names.of("a1"))
    netns.ip(["route add 10.244.1.0/26 via 10.0.0.1"], names.of("a2"))


def named(racks: Topology, name: str) -> Workload:
    return next(workload for workload in racks.workloads if workload.name == name)


def test_every_cable_ends_inside_the_lab_and_nothing_is_left_of_it(racks: Topology) -> None:
    with built(racks) as names:
        parts = netns.names(names.prefix)
        assert len(parts) == 1 + 1 + 4 + 4
        cables = [link for link in shown(names, "fabric", "link") if "link_netnsid" in link]
        known = {item["nsid"]: item.get("name") for item in shown(names, "fabric", "netns", "list-id")}
        assert {known[link["link_netnsid"]] for link in cables} <= set(parts)
        assert len(cables) == 6
        inside = subprocess.Popen(("ip", "netns", "exec", names.of("a1"), "sleep", "600"))
        wait_until(lambda: inside.pid in netns.processes(names.of("a1")))
    assert netns.names(names.prefix) == []
    assert not Path(f"/proc/{inside.pid}").exists()
    inside.wait(timeout=5)


def test_a_workload_reaches_its_own_node_through_the_link_local_gateway_and_no_other(racks: Topology) -> None:
    with built(racks) as names:
        (device,) = (link for link in shown(names, "web-a1", "link") if link["ifname"] != "lo")
        assert (device["ifname"], device["mtu"]) == ("eth0", 1480)
        pairs = probe.matrix(names, racks.workloads, within_s=0.3)
        assert [pair for pair in pairs if pair.ok] == []
        join(names)
        pairs = probe.matrix(names, racks.workloads, within_s=1)
        assert {(pair.source, pair.destination) for pair in pairs if pair.ok} == {
            ("web-a1", "web-a2"),
            ("web-a2", "web-a1"),
        }


def test_the_router_drops_and_counts_what_it_does_not_know(racks: Topology) -> None:
    with built(racks) as names:
        assert build.dropped(names, "core") == 0
        netns.ip([f"route add 10.244.3.0/26 via {CORE}"], names.of("a1"))
        flow = run_until(Load(names, [(named(racks, "web-a1"), named(racks, "web-b1"))], pps=200), sent=50)
        assert flow.lost == flow.sent
        assert build.dropped(names, "core") == flow.sent


def run_until(load: Load, sent: int) -> Flow:
    """The load has one flow."""
    load.start()
    wait_until(lambda: load.flows[0].sent >= sent)
    (flow,) = load.stop()
    return flow


def test_a_load_over_a_sound_path_loses_and_reorders_nothing(racks: Topology) -> None:
    with built(racks) as names:
        join(names)
        flow = run_until(Load(names, [(named(racks, "web-a1"), named(racks, "web-a2"))], pps=2000), sent=2000)
        assert (flow.lost, flow.reordered) == (0, 0)


def test_a_capture_sees_each_packet_once_on_each_segment_with_its_sender(racks: Topology) -> None:
    names = Names(f"n{os.getpid()}")
    try:
        ports = build.build(racks, names)
        sender = Address.parse("10.0.0.1")
        with Capture(names, ports, Intent()) as capture:
            subprocess.run(
                ("ip", "netns", "exec", names.of("a1"), "ping", "-q", "-c1", "-W5", "10.1.0.3"),
                check=True,
                stdout=subprocess.DEVNULL,
            )
        seen = [(p.port.segment, p.port.owner, p.ttl, p.source == sender) for p in capture.packets if p.protocol == 1]
        assert sorted(seen) == [
            ("rack-a", "a1", 64, True),
            ("rack-a", "core", 63, False),
            ("rack-b", "b1", 64, False),
            ("rack-b", "core", 63, True),
        ]
        assert capture.missed == 0
    finally:
        build.tear_down(names)


def test_taking_one_lab_down_leaves_another_whose_name_begins_so(racks: Topology) -> None:
    with built(racks) as one, built(racks, "-2") as other:
        before = netns.names(other.prefix)
        build.tear_down(one)
        assert netns.names(one.prefix) == []
        assert netns.names(other.prefix) == before


@pytest.mark.parametrize("name", ["/etc", "../x", "", ".", "a.b", "a b"])
def test_what_is_no_name_cannot_be_built_or_taken_down(racks: Topology, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a lab"):
        labs.up(racks, name, keep=False)
    with pytest.raises(ValueError, match="no name for a lab"):
        labs.down(name)


def test_a_lab_that_cannot_be_built_leaves_nothing(racks: Topology) -> None:
    name = f"n{os.getpid()}-half"
    unbuildable = Workload("second", "a1", racks.workloads[0].addresses, Place("x", 1, 1))
    with pytest.raises(RuntimeError, match="File exists"):
        labs.up(replace(racks, workloads=(*racks.workloads, unbuildable)), name, keep=False)
    assert netns.names(Names(name).prefix) == []
    assert name not in labs.lab_names()


def test_a_lab_of_which_a_crash_left_only_the_beginning_can_be_taken_down(racks: Topology) -> None:
    name = f"n{os.getpid()}-crash"
    (labs.STATE / name).mkdir(parents=True)
    subprocess.run(("ip", "netns", "add", Names(name).of("a1")), check=True)
    with pytest.raises(labs.Exists, match=f"lab down --name {name}"):
        labs.up(racks, name, keep=False)
    assert name in labs.lab_names()
    labs.down(name)
    assert name not in labs.lab_names()
    assert netns.names(Names(name).prefix) == []
