"""
Attacks through a node's tunnels, on running kernels: each row a packet that must have no effect, each column a driver.

Every column is a cluster of three nodes as their agents would have made them, with a workload each, and a stranger on
the same underlay who knows every name, address, VNI and MAC. Whether a packet had an effect is judged once traffic that
was sent after it has arrived.
"""

from __future__ import annotations

import os
import struct

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.kernel import probe_packets
from bgpctl.lab import netns
from tests.attack.tunnels_rig import (
    MEMBER,
    STRANGER,
    VNI,
    VXLANS,
    Cluster,
    attacked,
    dropped_packets,
    drops,
    shell,
    world,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


# From a stranger -----------------------------------------------------------------------------------------------


def test_a_stranger_reaches_no_workload(under_attack: Cluster) -> None:
    assert not attacked(under_attack, STRANGER, "w1", under_attack.family.workload_of(1))


def test_a_stranger_is_not_relayed_to_a_third_host(under_attack: Cluster) -> None:
    assert not attacked(under_attack, STRANGER, "w3", under_attack.family.workload_of(3))


def test_a_stranger_gets_no_packet_into_the_world_with_the_nodes_address(under_attack: Cluster) -> None:
    assert not attacked(under_attack, STRANGER, "bridge", world(under_attack.family))


@pytest.mark.parametrize("under_attack", VXLANS, indirect=True)
def test_a_stranger_with_another_vni_reaches_no_workload(under_attack: Cluster) -> None:
    assert not attacked(under_attack, STRANGER, "w1", under_attack.family.workload_of(1), vni=VNI + 1)


def test_a_strangers_fragments_reach_no_workload(under_attack: Cluster) -> None:
    made, target = under_attack, under_attack.family.workload_of(1)
    text = b"attack" + bytes(1420)
    with made.listen("w1", target) as victim:
        made.inject(STRANGER, made.udp(made.family.workload_of(MEMBER), target, text))
        assert not made.has_arrived(victim, text[:100])


CUTS = [8, 16, 64]
"""Behind the outer UDP header, the VXLAN header, and inside the frame; in octets."""


@pytest.mark.parametrize("cut", CUTS)
def test_a_strangers_packet_cut_in_two_reaches_no_workload(untracked: Cluster, cut: int) -> None:
    made, target, text = untracked, untracked.family.workload_of(1), b"attack" + bytes(64)
    with made.listen("w1", target) as victim:
        made.inject_in_two(STRANGER, made.udp(made.family.workload_of(MEMBER), target, text), cut)
        assert not made.has_arrived(victim, text)


@pytest.mark.parametrize("untracked", VXLANS, indirect=True)
def test_a_strangers_packet_cut_in_two_is_counted(untracked: Cluster) -> None:
    made, target = untracked, untracked.family.workload_of(1)
    reason = "fragment" if made.family.version == 6 else "sender"
    before = dropped_packets(made, reason)
    with made.listen("w1", target) as victim:
        made.inject_in_two(STRANGER, made.udp(made.family.workload_of(MEMBER), target, b"attack"), 8)
        assert not made.has_arrived(victim, b"attack")
    assert dropped_packets(made, reason) == before + 1


@pytest.mark.parametrize("under_attack", VXLANS, indirect=True)
def test_a_stranger_is_counted_and_named(under_attack: Cluster) -> None:
    made, before = under_attack, dropped_packets(under_attack, "sender")
    assert not attacked(made, STRANGER, "w1", made.family.workload_of(1))
    last = next(item.last for item in drops(made) if item.reason == "sender")
    assert (dropped_packets(made, "sender"), last) == (before + 1, made.family.node_of(STRANGER))


# From a member that is not what it was ---------------------------------------------------------------------------


def test_a_member_sends_from_its_own_block(under_attack: Cluster) -> None:
    """Not an attack: the same packet, as members send it, arrives."""
    assert attacked(under_attack, MEMBER, "w1", under_attack.family.workload_of(1))


@pytest.mark.parametrize("under_attack", VXLANS, indirect=True)
def test_a_members_fragments_arrive(under_attack: Cluster) -> None:
    made, target = under_attack, under_attack.family.workload_of(1)
    text = b"whole" + bytes(1420)
    with made.listen("w1", target) as victim:
        made.inject(MEMBER, made.udp(made.family.workload_of(MEMBER), target, text))
        assert made.has_arrived(victim, text[:100])


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("untracked", VXLANS, indirect=True)
def test_a_members_packet_cut_in_two_arrives(untracked: Cluster, cut: int) -> None:
    made, target, text = untracked, untracked.family.workload_of(1), b"whole" + bytes(64)
    with made.listen("w1", target) as victim:
        made.inject_in_two(MEMBER, made.udp(made.family.workload_of(MEMBER), target, text), cut)
        assert made.has_arrived(victim, text)


# What a tunnel device learns -------------------------------------------------------------------------------------


def advertisement(source: Address) -> bytes:
    """A router advertisement of a default router for half an hour (RFC 4861, section 4.2)."""
    everyone = Address.parse("ff02::1")
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    pseudo = source.packed + everyone.packed + struct.pack("!II", len(body), 58)
    total = sum(struct.unpack(f"!{len(pseudo + body) // 2}H", pseudo + body))
    total = (total >> 16) + (total & 0xFFFF)
    summed = body[:2] + struct.pack("!H", ~((total >> 16) + total) & 0xFFFF) + body[4:]
    header = bytearray(probe_packets.header(len(body), 58, source, everyone))
    header[7] = 255
    return bytes(header) + summed


FORWARDING = [("vxlan", "0"), ("vxlan", "1"), ("vxlan-ipv6", "1")]
"""A node with tunnels over IPv6 forwards it."""


@pytest.mark.parametrize("sender", [STRANGER, MEMBER], ids=["stranger", "member"])
@pytest.mark.parametrize(("under_attack", "forwarding"), FORWARDING, indirect=["under_attack"])
def test_nobody_gives_the_node_a_default_route_by_a_tunnel(under_attack: Cluster, sender: int, forwarding: str) -> None:
    netns.set_sysctls(under_attack.name("n1"), {"net/ipv6/conf/all/forwarding": forwarding})
    under_attack.inject(sender, advertisement(Address.parse("fe80::bad")))
    assert attacked(under_attack, MEMBER, "w1", under_attack.family.workload_of(1))
    found = shell(under_attack, "n1", "ip -6 route show default")
    assert "vxlan" not in found, found
