"""Lab files: what they mean, and every problem of a bad one with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bgpctl.core.cluster import Problem
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import AbsenceCheck, DropCheck, PacketCheck, Scope, Shape, Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
LAB = (TOPOLOGIES / "cross-subnet.yaml").read_text()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the cross-subnet lab with texts replaced, each of which must be there."""

    def edited(*edits: tuple[str, str]) -> Path:
        text = LAB
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "x.yaml"
        file.write_text(text)
        return file

    return edited


def good(file: Path) -> Topology:
    loaded = load(file)
    assert isinstance(loaded, Topology), loaded
    return loaded


def bad(file: Path) -> tuple[Problem, ...]:
    loaded = load(file)
    assert not isinstance(loaded, Topology)
    return loaded


@pytest.mark.parametrize("file", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_shipped_topology_opens_with_its_picture_and_has_a_workload_on_each_node(file: Path) -> None:
    topology = good(file)
    assert file.read_text().startswith("#")
    assert {workload.node for workload in topology.workloads} == {node.name for node in topology.intent.nodes}
    assert topology.checks


def test_nodes_join_the_segment_of_their_address_and_use_its_router() -> None:
    topology = good(TOPOLOGIES / "cross-subnet.yaml")
    places = {
        node.name: (segment.name, str(topology.gateway_of(node.address.address)))
        for node in topology.intent.nodes
        if (segment := topology.segment_of(node.address.address))
    }
    west, east = ("rack-a", "10.0.0.254"), ("rack-b", "10.1.0.254")
    assert places == {"a1": west, "a2": west, "b1": east, "b2": east}


@pytest.mark.parametrize(("file", "mtu_bytes"), [("cross-subnet", 1480), ("vxlan", 1450)])
def test_a_workload_s_mtu_leaves_room_for_the_encapsulation_of_its_pool(file: str, mtu_bytes: int) -> None:
    topology = good(TOPOLOGIES / f"{file}.yaml")
    assert {topology.mtu_bytes(workload) for workload in topology.workloads} == {mtu_bytes}


def test_an_omitted_address_is_the_next_free_one_whatever_comes_later_in_the_file(write: Callable[..., Path]) -> None:
    file = write(
        ("web-a1: {node: a1, address: 10.244.1.10}", "web-a1: {node: a1}\n  api-a1: {node: a1}"),
        ("web-a2: {node: a2, address: 10.244.2.10}", "web-a2: {node: a1, address: 10.244.1.1}"),
    )
    addresses = {workload.name: str(workload.address) for workload in good(file).workloads}
    assert addresses["web-a2"] == "10.244.1.1"
    assert addresses["web-a1"] == "10.244.1.2"
    assert addresses["api-a1"] == "10.244.1.3"


def test_the_three_kinds_of_checks_are_read() -> None:
    checks = {check.name: check for check in good(TOPOLOGIES / "vxlan.yaml").checks}
    assert checks["between-racks-vxlan"] == PacketCheck("between-racks-vxlan", "core", Scope.ACROSS, Shape.VXLAN)
    assert checks["nothing-leaks"] == DropCheck("nothing-leaks", "core", 0)
    assert checks["no-bgp"] == AbsenceCheck("no-bgp", ("tcp-179", "exabgp"))


REFUSED = {
    "two workloads of one address": (
        ("web-a2: {node: a2, address: 10.244.2.10}", "web-a2: {node: a1, address: 10.244.1.10}"),
        "workloads.web-a2: 10.244.1.10 is taken by workloads.web-a1",
    ),
    "a workload in another node's block": (
        ("address: 10.244.2.10", "address: 10.244.3.10"),
        "workloads.web-a2.address: 10.244.3.10 is in no block of node a2",
    ),
    "a workload at the tunnel's address": (
        ("address: 10.244.1.10", "address: 10.244.1.0"),
        "workloads.web-a1.address: 10.244.1.0 is the tunnel address of node a1",
    ),
    "a workload without a node": (("web-a1: {node: a1, ", "web-a1: {"), "workloads.web-a1: a workload needs node"),
    "no room for a workload": (
        ("blocks: [10.244.1.0/26]", "blocks: []"),
        "workloads.more: no address is free in the blocks of node a1",
    ),
    "a router named as a node": (("  core: {", "  a1: {"), "routers.a1: the name a1 is taken by nodes.a1"),
    "a workload named as the bridges": (
        ("web-a2:", "fabric:"),
        "workloads.fabric: the name fabric is taken by the namespace of the bridges",
    ),
    "a name that leaves /run/netns": (("web-a2:", '"../x":'), "workloads.../x: ../x is not a DNS name"),
    "a name that is too long for a namespace": (
        ("web-a2:", f"{'x' * 40}.{'x' * 40}:"),
        "a name in a lab has 63 characters at most",
    ),
    "a router that is nowhere": (
        ("10.1.0.254/24]", "10.9.0.254/24]"),
        "routers.core: 10.9.0.254/24 is on none of the segments",
    ),
    "a router without a mask": (
        ("10.1.0.254/24]", "10.1.0.254]"),
        "10.1.0.254/32 does not reach all of rack-b (10.1.0.0/24); 10.1.0.254/24 does",
    ),
    "a router at a node's address": (
        ("10.0.0.254/24", "10.0.0.1/24"),
        "routers.core: 10.0.0.1 is taken by nodes.a1",
    ),
    "overlapping segments": (
        ("rack-b: 10.1.0.0/24", "rack-b: 10.0.0.0/15"),
        "segments.rack-b: 10.0.0.0/15 overlaps 10.0.0.0/24 of segment rack-a",
    ),
    "a node outside": (("rack-b: 10.1.0.0/24", "rack-b: 10.2.0.0/24"), "nodes.b1: 10.1.0.3/24 is on none"),
    "a check of drops that says not where": (("at: core, drops: 0", "drops: 0"), "a check of drops needs at"),
    "a check without a shape": (("packets: across, are: ipip", "packets: across"), "a check of packets needs are"),
    "a check of nothing": (("{at: core, drops: 0}", "{}"), "a check is {at, packets, are}, {at, drops}, {from"),
    "absence of nothing": (
        ("{at: core, drops: 0}", "{absent: []}"),
        "say what is to be absent; known: tcp-179, exabgp",
    ),
    "absence of something unknown": (
        ("{at: core, drops: 0}", "{absent: [udp]}"),
        "udp cannot be looked for; known: tcp-179, exabgp",
    ),
    "an IPIP driver for nobody": (("checks:", "ipip-drivers: {z9: bpf}\nchecks:"), "ipip-drivers.z9: z9 is not a node"),
    "an IPIP driver that is none": (("checks:", "ipip-drivers: {a1: tun}\nchecks:"), "ipip-drivers.a1: tun is none of"),
    "a check somewhere unknown": (("at: rack-a", "at: rack-z"), "rack-z is none of rack-a, rack-b, core"),
}


def test_a_node_s_ipip_driver_is_read(write: Callable[..., Path]) -> None:
    assert good(write(("checks:", "ipip-drivers: {a1: bpf}\nchecks:"))).ipip_drivers == {"a1": "bpf"}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_build_something_else_is_refused(write: Callable[..., Path], what: str) -> None:
    edit, message = REFUSED[what]
    file = write(edit)
    if what == "no room for a workload":
        file.write_text(file.read_text().replace("workloads:\n", "workloads:\n  more: {node: a1}\n"))
    assert message in "\n".join(map(str, bad(file)))


def test_all_problems_of_the_cluster_and_of_the_lab_are_told_at_once_where_they_stand(
    write: Callable[..., Path],
) -> None:
    file = write(
        ("10.0.0.1/24", "10.0.0.1/240"),
        ("rack-b: 10.1.0.0/24", "rack-b: 10.1.0.1/24"),
        ("packets: across, are: ipip", "packets: across, are: gre"),
    )
    problems = bad(file)
    lines = file.read_text().splitlines()
    told = {lines[problem.place.line - 1][problem.place.column - 1 :]: problem.path for problem in problems}
    assert [text.split()[0].rstrip(",}") for text in told] == ["10.0.0.1/240", "10.1.0.1/24", "gre"]
    assert all(problem.place.file == str(file) for problem in problems)


def test_a_file_that_cannot_be_read_is_a_problem_with_its_name(tmp_path: Path) -> None:
    (problem,) = bad(tmp_path / "absent.yaml")
    assert str(problem).startswith(f"{tmp_path}/absent.yaml:1:1: cannot be read")
