"""Lab files: what they mean, and every problem of a bad one with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bgpctl.core.cluster.problems import Problem
from bgpctl.core.net.addresses import Address
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import AbsenceCheck, DropCheck, PacketCheck, Scope, SeenAs, SourceCheck, Topology
from tests.topologies import TOPOLOGIES, read_topology

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


MANY = 20
"""Nodes: every pair of workloads is pinged."""


def bad(file: Path) -> tuple[Problem, ...]:
    loaded = load(file)
    assert not isinstance(loaded, Topology)
    return loaded


@pytest.mark.parametrize("file", sorted(TOPOLOGIES.rglob("*.yaml")), ids=lambda file: file.stem)
def test_each_shipped_topology_opens_with_its_picture_and_has_workloads_on_its_nodes(file: Path) -> None:
    """On every node with a block; where nodes are many, on some in each segment."""
    topology = read_topology(file)
    assert file.read_text().startswith("#")
    intent = topology.intent
    owners = {n.name: topology.segment_of(n.address.address) for n in intent.nodes if intent.blocks_of(n)}
    used = {workload.node for workload in topology.workloads}
    assert used <= set(owners)
    assert used == set(owners) or len(owners) >= MANY
    assert {owners[name] for name in used} == set(owners.values())
    assert topology.checks


def test_nodes_join_the_segment_of_their_address_and_use_its_router() -> None:
    topology = read_topology(TOPOLOGIES / "cross-subnet.yaml")
    places = {
        node.name: (segment.name, str(topology.gateway_of(node.address.address)))
        for node in topology.intent.nodes
        if (segment := topology.segment_of(node.address.address))
    }
    west, east = ("rack-a", "10.0.0.254"), ("rack-b", "10.1.0.254")
    assert places == {"a1": west, "a2": west, "b1": east, "b2": east}


@pytest.mark.parametrize(("file", "mtu_bytes"), [("cross-subnet", 1480), ("vxlan", 1450)])
def test_a_workload_s_mtu_leaves_room_for_the_encapsulation_of_its_pool(file: str, mtu_bytes: int) -> None:
    topology = read_topology(TOPOLOGIES / f"{file}.yaml")
    assert {topology.mtu_bytes(workload) for workload in topology.workloads} == {mtu_bytes}


def test_an_omitted_address_is_the_next_free_one_whatever_comes_later_in_the_file(write: Callable[..., Path]) -> None:
    file = write(
        ("web-a1: {node: a1, address: 10.244.1.10}", "web-a1: {node: a1}\n  api-a1: {node: a1}"),
        ("web-a2: {node: a2, address: 10.244.2.10}", "web-a2: {node: a1, address: 10.244.1.1}"),
    )
    addresses = {workload.name: str(workload.address) for workload in read_topology(file).workloads}
    assert addresses["web-a2"] == "10.244.1.1"
    assert addresses["web-a1"] == "10.244.1.2"
    assert addresses["api-a1"] == "10.244.1.3"


def test_the_kinds_of_checks_are_read() -> None:
    checks = {check.name: check for check in read_topology(TOPOLOGIES / "vxlan.yaml").checks}
    assert checks["between-racks-vxlan"] == PacketCheck("between-racks-vxlan", "core", Scope.ACROSS, "vxlan")
    assert checks["nothing-leaks"] == DropCheck("nothing-leaks", "core", 0)
    assert checks["no-bgp"] == AbsenceCheck("no-bgp", ("tcp-179", "exabgp"))
    checks = {check.name: check for check in read_topology(TOPOLOGIES / "mixed-pools.yaml").checks}
    assert checks["bare-ipv6"] == PacketCheck("bare-ipv6", "core", Scope.ACROSS, "bare", "bare6")
    assert checks["the-world-sees-the-node"] == SourceCheck("the-world-sees-the-node", "vxlan-a1", "world", SeenAs.NODE)


def test_a_workload_s_mtu_leaves_room_for_the_largest_header_of_its_pools() -> None:
    assert {
        read_topology(TOPOLOGIES / "dual-stack.yaml").mtu_bytes(w)
        for w in read_topology(TOPOLOGIES / "dual-stack.yaml").workloads
    } == {1430}
    mixed = read_topology(TOPOLOGIES / "mixed-pools.yaml")
    assert {workload.name[:4]: mixed.mtu_bytes(workload) for workload in mixed.workloads} == {
        "ipip": 1480,
        "vxla": 1450,
        "bare": 1500,
    }


def test_a_workload_without_an_address_gets_one_of_each_ip_version_that_its_node_has_blocks_of() -> None:
    addresses = {w.name: tuple(map(str, w.addresses)) for w in read_topology(TOPOLOGIES / "dual-stack.yaml").workloads}
    assert addresses["web-a1"] == ("10.244.1.1", "fd00:10:244::41")


def test_routers_may_know_routes_and_lead_each_ip_version() -> None:
    mixed = read_topology(TOPOLOGIES / "mixed-pools.yaml")
    (core,) = mixed.routers
    assert {str(prefix): str(gateway) for prefix, gateway in core.routes} == {
        "10.246.2.0/26": "10.0.0.2",
        "10.246.4.0/26": "10.1.0.4",
        "fd00:10:246::80/122": "fd00:10:a::2",
        "fd00:10:246::100/122": "fd00:10:b::4",
    }
    assert str(mixed.gateway_of(Address.parse("fd00:10:b::4"))) == "fd00:10:b::fe"
    assert str(mixed.gateway_of(Address.parse("10.1.0.4"))) == "10.1.0.254"


def test_ip_in_ip_on_ipv6_is_refused_with_the_reason() -> None:
    (problem,) = bad(Path(__file__).parents[1] / "data" / "ipip-on-ipv6.yaml")
    assert (problem.rule, problem.place.line, problem.path) == (
        "ipip-ipv6",
        10,
        "IPPool/ippool-ipv6-ipip-1.spec.ipipMode",
    )
    assert "IPIP carries IPv4 only" in problem.message


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
    "no address left for a workload": (
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
    "a check of drops without a node": (("at: core, drops: 0", "drops: 0"), "a check of drops needs at"),
    "a check without a shape": (("packets: across, are: ipip", "packets: across"), "a check of packets needs are"),
    "a check of nothing": (("{at: core, drops: 0}", "{}"), "a check is {at, packets, are}, {at, drops}, {from"),
    "absence of nothing": (
        ("{at: core, drops: 0}", "{absent: []}"),
        "names the traces that must be absent; known: tcp-179, exabgp",
    ),
    "absence of something unknown": (
        ("{at: core, drops: 0}", "{absent: [udp]}"),
        "udp is unknown; known: tcp-179, exabgp",
    ),
    "an IPIP driver for an unknown node": (
        ("checks:", "ipip-drivers: {z9: bpf}\nchecks:"),
        "ipip-drivers.z9: z9 is not a node",
    ),
    "an IPIP driver that is none": (("checks:", "ipip-drivers: {a1: tun}\nchecks:"), "ipip-drivers.a1: tun is none of"),
    "a switch to nothing known": (
        ("checks:", "checks:\n  moves: {switch: blue, to: GRE, lost: 0}"),
        "checks.moves.to: GRE is none of",
    ),
    "a switch of no pool": (
        ("checks:", "checks:\n  moves: {switch: red, to: VXLAN, lost: 0}"),
        "checks.moves.switch: red is none of",
    ),
    "a daemon for an unknown node": (
        ("checks:", "runs: {z9: bird}\nchecks:"),
        "runs.z9: z9 is neither a node nor a router",
    ),
    "a daemon that is none": (("checks:", "runs: {a1: quagga}\nchecks:"), "runs.a1: quagga is none of"),
    "a router's daemon without a peer": (("checks:", "runs: {core: frr}\nchecks:"), "no node has a BGP session"),
    "a router's route to a gateway of another IP version": (
        ("core: {", "core: {routes: {10.9.0.0/16: 'fd00::1'}, "),
        "routers.core.routes.10.9.0.0/16: fd00::1 is of another IP version than 10.9.0.0/16",
    ),
    "a router's route to no network": (
        ("core: {", "core: {routes: {10.9.0.1/16: 10.0.0.1}, "),
        "10.9.0.1/16 has host bits set",
    ),
    "a workload with two IPv4 addresses": (
        ("node: a1, address: 10.244.1.10", "node: a1, address: 10.244.1.10, address6: 10.244.1.11"),
        "address6 is the IPv6 address beside an IPv4 one",
    ),
    "a host nowhere": (
        ("workloads:", "hosts:\n  far: {addresses: [192.0.2.1/24]}\nworkloads:"),
        "hosts.far: 192.0.2.1/24 is on none of the segments",
    ),
    "a host in two places": (
        ("workloads:", "hosts:\n  far: {addresses: [10.0.0.9/24, 10.1.0.9/24]}\nworkloads:"),
        "hosts.far: its addresses are on different segments: rack-a, rack-b",
    ),
    "a check of a pool that is none": (
        ("packets: across, are: ipip", "packets: across, pool: red, are: ipip"),
        "red is none of blue",
    ),
    "a check that no node can observe": (
        ("{at: core, drops: 0}", "{from: web-a1, to: web-z9, seen-as: node}"),
        "web-z9 is none of",
    ),
    "a check somewhere unknown": (("at: rack-a", "at: rack-z"), "rack-z is none of rack-a, rack-b, core"),
}


def test_a_node_s_ipip_driver_is_read(write: Callable[..., Path]) -> None:
    assert read_topology(write(("checks:", "ipip-drivers: {a1: bpf}\nchecks:"))).drivers == {"a1": {"ipip": "bpf"}}


@pytest.mark.parametrize("what", REFUSED)
def test_an_inconsistent_lab_file_is_refused(write: Callable[..., Path], what: str) -> None:
    edit, message = REFUSED[what]
    file = write(edit)
    if what == "no address left for a workload":
        file.write_text(file.read_text().replace("workloads:\n", "workloads:\n  more: {node: a1}\n"))
    assert message in "\n".join(map(str, bad(file)))


def test_all_problems_of_the_cluster_and_of_the_lab_are_reported_at_once_with_their_places(
    write: Callable[..., Path],
) -> None:
    file = write(
        ("10.0.0.1/24", "10.0.0.1/240"),
        ("rack-b: 10.1.0.0/24", "rack-b: 10.1.0.1/24"),
        ("packets: across, are: ipip", "packets: across, are: gre"),
    )
    problems = bad(file)
    lines = file.read_text().splitlines()
    shown = {lines[problem.place.line - 1][problem.place.column - 1 :]: problem.path for problem in problems}
    assert [text.split()[0].rstrip(",}") for text in shown] == ["10.0.0.1/240", "10.1.0.1/24", "gre"]
    assert all(problem.place.file == str(file) for problem in problems)


def test_a_file_that_cannot_be_read_is_a_problem_with_its_name(tmp_path: Path) -> None:
    (problem,) = bad(tmp_path / "absent.yaml")
    assert str(problem).startswith(f"{tmp_path}/absent.yaml:1:1: cannot be read")
