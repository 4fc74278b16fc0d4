"""
Attacks by a workload, on running kernels: each row a packet that must have no effect and be counted, each column a
driver and an IP version. Beside each attack an honest packet of the same workload passes.

Every column is a cluster of three nodes as their agents would have made them, whose workloads bgpctl/attach has wired.
"""

from __future__ import annotations

import os
import struct

import pytest

from bgpctl.attach.wiring import GATEWAYS
from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns
from tests.attack.tunnels_rig import Cluster, shell, world
from tests.attack.workloads_rig import (
    ACK,
    ATTACK,
    DEVICE,
    RST,
    SYN,
    arp,
    dropped,
    icmpv6,
    ip,
    send,
    succeeds,
    tcp,
    udp,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

BGP = 179
VXLAN = 4789
SIXES = ["vxlan-ipv6", "direct-ipv6"]
FOURS = ["ipip-bpf", "vxlan", "direct"]


def is_stopped(made: Cluster, packet: bytes, witness: str, reason: str, ethertype: int | None = None) -> bool:
    """True if it has no effect, and is counted for this reason."""
    before = dropped(made, reason)
    assert not succeeds(made, packet, witness, ethertype)
    assert_counted(made, reason, before + 1)
    return True


def assert_counted(made: Cluster, reason: str, packets: int) -> None:
    """A busy kernel takes a frame in a moment after it was sent."""
    wait_until(lambda: dropped(made, reason) >= packets, within_s=15)
    assert dropped(made, reason) == packets


def own(made: Cluster) -> Address:
    return made.family.workload_of(1)


# Forged sources --------------------------------------------------------------------------------------------------


def forged(made: Cluster, whose: str) -> Address:
    family, version = made.family, made.family.version
    return {
        "workload": family.neighbour,
        "unassigned": Address(version, own(made).value + 9),
        "other-block": Address(version, family.workload_of(2).value + 9),
        "outside": Address.parse("203.0.113.5" if version == 4 else "2001:db8:bad::5"),
        "node": family.node_of(1),
        "member": family.node_of(2),
    }[whose]


FORGED = [
    ("workload", "v1"),
    ("workload", "n2"),
    ("unassigned", "v1"),
    ("other-block", "v1"),
    ("outside", "v1"),
    ("outside", "n2"),
    ("node", "v1"),
    ("node", "n2"),
    ("member", "n2"),
]


@pytest.mark.parametrize(("whose", "witness"), FORGED)
def test_a_workload_sends_from_no_address_but_its_own(workloads: Cluster, whose: str, witness: str) -> None:
    target = workloads.family.neighbour if witness == "v1" else workloads.family.workload_of(2)
    assert is_stopped(workloads, udp(forged(workloads, whose), target), witness, "source")


def test_a_workload_sends_nothing_forged_into_the_world(workloads: Cluster) -> None:
    assert is_stopped(workloads, udp(workloads.family.neighbour, world(workloads.family)), "bridge", "source")


# Tunnels and BGP -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [4, 6])
def test_a_workload_sends_no_ip_in_ip_to_a_member(workloads: Cluster, inner: int) -> None:
    made = workloads
    hosts = ("10.244.1.77", "10.244.2.2") if inner == 4 else ("fd00:244:1::77", "fd00:244:2::2")
    source, target = map(Address.parse, hosts)
    inside = udp(source, target)
    packet = ip(4 if inner == 4 else 41, own(made), made.family.node_of(2), inside)
    assert is_stopped(made, packet, "n2", "tunnel")


def test_a_workload_sends_no_ip_in_ip_to_another_workload(workloads: Cluster) -> None:
    made = workloads
    packet = ip(4, own(made), made.family.neighbour, udp(Address.parse("10.244.1.77"), Address.parse("10.244.1.3")))
    assert is_stopped(made, packet, "v1", "tunnel")


def test_a_workload_sends_nothing_to_the_tunnels_port_of_a_member(workloads: Cluster) -> None:
    made = workloads
    assert is_stopped(made, udp(own(made), made.family.node_of(2), port=VXLAN), "n2", "tunnel")


@pytest.mark.parametrize("workloads", FOURS, indirect=True)
def test_a_workload_sends_nothing_to_the_tunnels_port_cut_in_two(workloads: Cluster) -> None:
    """The first fragment ends behind the UDP header."""
    made, target = workloads, workloads.family.node_of(2)
    whole = udp(own(made), target, ATTACK + bytes(64), VXLAN)
    header, payload = bytearray(whole[:20]), whole[20:]
    struct.pack_into("!HHH", header, 2, 28, 4711, 1 << 13)
    first = ip_with(header, payload[:8])
    struct.pack_into("!HHH", header, 2, 20 + len(payload) - 8, 4711, 1)
    send(made, first)
    assert not succeeds(made, ip_with(header, payload[8:]), "n2")


def ip_with(header: bytearray, payload: bytes) -> bytes:
    """With a right checksum."""
    header[10:12] = bytes(2)
    total = sum(struct.unpack("!10H", header))
    total = (total >> 16) + (total & 0xFFFF)
    header[10:12] = struct.pack("!H", ~((total >> 16) + total) & 0xFFFF)
    return bytes(header) + payload


def test_a_workload_speaks_no_bgp_to_a_member(workloads: Cluster) -> None:
    """By way of natOutgoing it would have the node's address."""
    made = workloads
    assert is_stopped(made, tcp(own(made), made.family.node_of(2), SYN, BGP), "n2", "bgp")


def test_a_workload_speaks_no_bgp_to_a_member_with_its_own_address(unmasqueraded: Cluster) -> None:
    made = unmasqueraded
    assert is_stopped(made, tcp(own(made), made.family.node_of(2), SYN, BGP), "n2", "bgp")


def test_a_workload_speaks_no_bgp_to_its_node(workloads: Cluster) -> None:
    """Dropped is what would have been answered with a reset."""
    made, before = workloads, dropped(workloads, "bgp")
    assert not succeeds(made, tcp(own(made), made.family.node_of(1), SYN, BGP), "v1")
    assert_counted(made, "bgp", before + 1)


def test_a_workload_speaks_both_to_other_workloads(workloads: Cluster) -> None:
    """Not an attack."""
    made, before = workloads, (dropped(workloads, "tunnel"), dropped(workloads, "bgp"))
    for witness, target in (("v1", made.family.neighbour), ("n2", made.family.workload_of(2))):
        assert succeeds(made, tcp(own(made), target, SYN, BGP), witness)
        assert succeeds(made, udp(own(made), target, port=VXLAN), witness)
    assert (dropped(made, "tunnel"), dropped(made, "bgp")) == before


def test_a_workload_speaks_other_protocols_to_a_member(workloads: Cluster) -> None:
    """Not an attack."""
    made = workloads
    assert succeeds(made, udp(own(made), made.family.node_of(2)), "n2")
    assert succeeds(made, tcp(own(made), made.family.node_of(2), SYN, 443), "n2")


# Masquerade ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [RST, RST | ACK, SYN | RST], ids=["rst", "rst-ack", "syn-rst"])
def test_nothing_leaves_with_an_address_that_is_unknown_outside(workloads: Cluster, flags: int) -> None:
    """Connection tracking knows no connection that these belong to, so it translates nothing."""
    made = workloads
    assert is_stopped(made, tcp(own(made), world(made.family), flags, 80), "bridge", "invalid")


def test_what_is_not_translated_leaves_as_it_is(unmasqueraded: Cluster) -> None:
    """Not an attack: without natOutgoing the outside knows the addresses."""
    made = unmasqueraded
    assert succeeds(made, tcp(own(made), world(made.family), RST, 80), "bridge")


# Neighbours and routers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workloads", FOURS, indirect=True)
@pytest.mark.parametrize("operation", [1, 2], ids=["request", "reply"])
@pytest.mark.parametrize("whose", ["workload", "router"])
def test_a_workload_is_nobody_elses_ipv4_neighbour(workloads: Cluster, whose: str, operation: int) -> None:
    made, router = workloads, workloads.family.node_of(9)
    sender = router if whose == "router" else forged(made, whose)
    before = shell(made, "n1", f"ip neighbour show dev {DEVICE}")
    counted = dropped(made, "discovery")
    for target in (own(made), made.family.node_of(1)):
        assert not succeeds(made, arp(operation, sender, target), "v1", 0x0806)
    assert shell(made, "n1", f"ip neighbour show dev {DEVICE}") == before
    assert_counted(made, "discovery", counted + 2)


@pytest.mark.parametrize("workloads", SIXES, indirect=True)
@pytest.mark.parametrize("kind", [135, 136], ids=["solicitation", "advertisement"])
@pytest.mark.parametrize("whose", ["workload", "router"])
def test_a_workload_is_nobody_elses_ipv6_neighbour(workloads: Cluster, whose: str, kind: int) -> None:
    made, router = workloads, workloads.family.node_of(9)
    claimed = router if whose == "router" else forged(made, whose)
    mac = b"\x0a\x00\x00\x00\x0b\xad"
    before = shell(made, "n1", f"ip neighbour show dev {DEVICE}")
    if kind == 135:
        body, source = struct.pack("!BBHI", kind, 0, 0, 0) + GATEWAYS[6].packed + b"\x01\x01" + mac, claimed
    else:
        body, source = struct.pack("!BBHI", kind, 0, 0, 0x60000000) + claimed.packed + b"\x02\x01" + mac, own(made)
    counted = dropped(made, "discovery")
    assert not succeeds(made, icmpv6(source, GATEWAYS[6], body), "v1")
    assert shell(made, "n1", f"ip neighbour show dev {DEVICE}") == before
    assert_counted(made, "discovery", counted + 1)


@pytest.mark.parametrize("workloads", SIXES, indirect=True)
@pytest.mark.parametrize("forwarding", ["0", "1"])
def test_a_workload_is_no_router_of_its_node(workloads: Cluster, forwarding: str) -> None:
    """A router advertisement of a default router for half an hour (RFC 4861, section 4.2)."""
    made, everyone = workloads, Address.parse("ff02::1")
    netns.set_sysctls(made.name("n1"), {f"net/ipv6/conf/{DEVICE}/accept_ra": "2" if forwarding == "1" else "1"})
    before, routes = dropped(made, "discovery"), shell(made, "n1", "ip -6 route show default")
    send(made, icmpv6(Address.parse("fe80::bad"), everyone, struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)))
    assert succeeds(made, udp(own(made), made.family.neighbour), "v1")  # sent after it, on the same way
    assert shell(made, "n1", "ip -6 route show default") == routes
    assert_counted(made, "discovery", before + 1)
