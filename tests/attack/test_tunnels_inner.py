"""
Attacks by a member that is not what it was, or is made use of: its tunnel packets carry what it may not send.

Every column is a cluster of three nodes as their agents would have made them, with a workload each, and a stranger on
the same underlay who knows every name, address, VNI and MAC. Whether a packet had an effect is judged once traffic that
was sent after it has arrived.
"""

from __future__ import annotations

import os
import socket
import struct

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.kernel import probe_packets
from bgpctl.lab import netns
from tests.attack.tunnels_rig import (
    IPIPS,
    MEMBER,
    VXLANS,
    Cluster,
    Family,
    attacked,
    dropped_packets,
    drops,
    frame_of_arp,
    frame_of_solicitation,
    shell,
    world,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


def outside_source(family: Family) -> Address:
    return Address.parse("203.0.113.5" if family.version == 4 else "2001:db8:bad::5")


def test_what_a_member_may_not_send_is_counted_and_its_inner_source_named(under_attack: Cluster) -> None:
    made, forged = under_attack, outside_source(under_attack.family)
    before = dropped_packets(made, "source"), dropped_packets(made, "destination")
    assert not attacked(made, MEMBER, "w1", made.family.workload_of(1), forged)
    assert not attacked(made, MEMBER, "w3", made.family.workload_of(3))
    last = {item.reason: item.last for item in drops(made)}
    assert (dropped_packets(made, "source"), last["source"]) == (before[0] + 1, forged)
    assert (dropped_packets(made, "destination"), last["destination"]) == (before[1] + 1, made.family.workload_of(2))


def test_a_member_sends_from_no_address_outside_the_pools(under_attack: Cluster) -> None:
    made = under_attack
    assert not attacked(made, MEMBER, "w1", made.family.workload_of(1), outside_source(made.family))


def test_a_member_sends_from_no_address_of_the_receiver(under_attack: Cluster) -> None:
    made = under_attack
    own = Address(made.family.version, made.family.workload_of(1).value + 3)
    assert not attacked(made, MEMBER, "w1", made.family.workload_of(1), own)


def test_a_member_is_not_relayed_to_a_third_host(under_attack: Cluster) -> None:
    assert not attacked(under_attack, MEMBER, "w3", under_attack.family.workload_of(3))


def test_a_member_gets_no_packet_into_the_world_with_the_nodes_address(under_attack: Cluster) -> None:
    assert not attacked(under_attack, MEMBER, "bridge", world(under_attack.family))


def test_a_member_reaches_no_service_at_the_nodes_address_on_the_underlay(under_attack: Cluster) -> None:
    assert not attacked(under_attack, MEMBER, "n1", under_attack.family.node_of(1))


@pytest.mark.parametrize("under_attack", IPIPS, indirect=True)
def test_a_packet_without_a_life_left_is_not_let_in(under_attack: Cluster) -> None:
    """An outer TTL of 0 is a packet that a router should have dropped."""
    made = under_attack
    target = made.family.workload_of(1)
    inner = made.udp(made.family.workload_of(MEMBER), target, b"attack")
    outer = _ipv4(made.family.node_of(MEMBER), made.family.node_of(1), inner, ttl=0)
    with made.listen("w1", target) as victim:
        _inject_frame(made, outer)
        assert not made.has_arrived(victim, b"attack")


def _ipv4(source: Address, target: Address, inner: bytes, ttl: int) -> bytes:
    whole = bytearray(probe_packets.header(len(inner), 4, source, target))
    whole[8], whole[10:12] = ttl, bytes(2)
    total = sum(struct.unpack("!10H", whole))
    total = (total >> 16) + (total & 0xFFFF)
    return bytes(whole[:10]) + struct.pack("!H", ~((total >> 16) + total) & 0xFFFF) + bytes(whole[12:]) + inner


def _inject_frame(made: Cluster, packet: bytes) -> None:
    """An Ethernet frame from the second node to the first."""
    mac = bytes.fromhex(_link_mac(made, "n1").replace(":", ""))
    own = bytes.fromhex(_link_mac(made, "n2").replace(":", ""))
    with netns.open_socket(made.name("n2"), socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        out.send(mac + own + b"\x08\x00" + packet)


def _link_mac(made: Cluster, part: str) -> str:
    shown = shell(made, part, "ip -o link show eth0").split()
    return shown[shown.index("link/ether") + 1]


@pytest.mark.parametrize("under_attack", VXLANS, indirect=True)
def test_a_tunnel_device_learns_no_neighbour(under_attack: Cluster) -> None:
    """A request, or a solicitation, makes an entry for its sender, which may be a gateway of ours."""
    made, version = under_attack, under_attack.family.version
    before = shell(made, "n1", "ip neighbour show")
    stranger = Address.parse("10.244.2.9" if version == 4 else "fd00:244:2::9")
    (frame_of_arp if version == 4 else frame_of_solicitation)(made, stranger)
    assert attacked(made, MEMBER, "w1", made.family.workload_of(1))
    after = shell(made, "n1", "ip neighbour show")
    assert str(stranger) not in after, (before, after)
