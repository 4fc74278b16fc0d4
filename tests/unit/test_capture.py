"""Frames to values: the record of a packet and of its inner packet."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as some

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.lab.build import Port
from bgpctl.lab.capture import Inner, Packet, decode

PORT = Port("a1", "rack-a")
VXLAN_PORT = 4789
NODES = ("10.0.0.1", "10.1.0.3")
WORKLOADS = ("10.244.1.10", "10.244.3.10")
ICMP, IPIP, TCP, UDP, ICMP6 = 1, 4, 6, 17, 58
DONT_FRAGMENT, LATER_FRAGMENT = 0x4000, 0x0002


def ipv4(ends: tuple[str, str], protocol: int, payload: bytes, *, ttl: int = 64, fragment: int = 0) -> bytes:
    source, destination = (Address.parse(end).packed for end in ends)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, fragment, ttl, protocol, 0, source, destination
    )
    return header + payload


def udp(port: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", 50000, port, 8 + len(payload), 0) + payload


def seen(data: bytes) -> Packet:
    packet = decode(data, PORT, Intent())
    assert packet is not None
    return packet


INSIDE = ipv4(WORKLOADS, ICMP, b"echo", ttl=63)


def inner(vni: int | None) -> Inner:
    source, destination = map(Address.parse, WORKLOADS)
    return Inner(source, destination, ICMP, 63, vni, "vxlan" if vni else "ipip")


def test_ip_in_ip_shows_both_headers() -> None:
    packet = seen(ipv4(NODES, IPIP, INSIDE, fragment=DONT_FRAGMENT))
    assert (str(packet.source), str(packet.destination), packet.protocol, packet.dont_fragment) == (*NODES, IPIP, True)
    assert packet.length == 20 + len(INSIDE)
    assert packet.inner == inner(vni=None)


def test_vxlan_shows_its_vni_and_the_packet_behind_the_inner_ethernet_header() -> None:
    vxlan = bytes([8, 0, 0, 0]) + (4096).to_bytes(3, "big") + b"\0" + bytes(12) + b"\x08\x00" + INSIDE
    packet = seen(ipv4(NODES, UDP, udp(VXLAN_PORT, vxlan)))
    assert packet.destination_port == VXLAN_PORT
    assert packet.inner == inner(vni=4096)


def test_udp_to_another_port_and_bare_packets_carry_nothing() -> None:
    assert seen(ipv4(NODES, UDP, udp(VXLAN_PORT + 1, bytes(64)))).inner is None
    assert seen(INSIDE).inner is None


def test_a_later_fragment_has_no_ports() -> None:
    packet = seen(ipv4(NODES, TCP, bytes(40), fragment=LATER_FRAGMENT))
    assert (packet.source_port, packet.destination_port) == (None, None)


def ipv6(ends: tuple[str, str], protocol: int, payload: bytes, *, ttl: int = 64) -> bytes:
    source, destination = (Address.parse(end).packed for end in ends)
    return struct.pack("!4sHBB16s16s", b"\x60\0\0\0", len(payload), protocol, ttl, source, destination) + payload


NODES6 = ("fd00:10:a::1", "fd00:10:b::3")
WORKLOADS6 = ("fd00:10:244::4a", "fd00:10:244::ca")


def test_vxlan_over_ipv6_shows_its_vni_and_an_inner_packet_of_either_version() -> None:
    inside6 = ipv6(WORKLOADS6, ICMP6, b"echo", ttl=63)
    for kind, inside, ends in ((b"\x86\xdd", inside6, WORKLOADS6), (b"\x08\x00", INSIDE, WORKLOADS)):
        vxlan = bytes([8, 0, 0, 0]) + (4096).to_bytes(3, "big") + b"\0" + bytes(12) + kind + inside
        packet = seen(ipv6(NODES6, UDP, udp(VXLAN_PORT, vxlan)))
        assert (str(packet.source), str(packet.destination), packet.destination_port) == (*NODES6, VXLAN_PORT)
        assert packet.length == 40 + 8 + 8 + 14 + len(inside)
        assert packet.inner is not None
        assert (str(packet.inner.source), str(packet.inner.destination), packet.inner.vni) == (*ends, 4096)


def test_a_bare_ipv6_packet_carries_nothing_and_is_never_divided() -> None:
    packet = seen(ipv6(WORKLOADS6, ICMP6, bytes(1440)))
    assert (packet.inner, packet.dont_fragment, packet.length) == (None, True, 1480)


def test_a_frame_that_is_neither_ipv4_nor_ipv6_is_no_packet() -> None:
    assert decode(bytes([0x50]) + bytes(39), PORT, Intent()) is None
    assert decode(bytes([0x60]) + bytes(38), PORT, Intent()) is None
    assert decode(b"", PORT, Intent()) is None


@given(some.binary(max_size=120), some.integers(0, 120))
def test_no_frame_however_damaged_breaks_the_capture(noise: bytes, cut: int) -> None:
    frames = [noise, b"\x45" + noise, b"\x60" + noise, (ipv4(NODES, IPIP, noise) + noise)[:cut]]
    for frame in [*frames, ipv4(NODES, UDP, noise)[:cut], ipv6(NODES6, UDP, noise)[:cut]]:
        packet = decode(frame, PORT, Intent())
        assert packet is None or packet.source.version == packet.destination.version == frame[0] >> 4
