"""IP in IP as this kernel does it (the ipip module or the BPF driver): sizes, unknown senders, bulk data."""

from __future__ import annotations

import hashlib
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable

from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.rig import ping
from tests.waiting import wait_until

PORT = 7000
BULK_BYTES = 64 << 20


def test_a_full_packet_passes_undivided_and_a_larger_one_is_refused(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("ipip-always")
    assert ping(lab, "web-a1", "10.244.4.10", 1480).returncode == 0
    assert ping(lab, "a1", "10.244.4.10", 1480).returncode == 0
    answer = ping(lab, "web-a1", "10.244.4.10", 1481)
    assert answer.returncode != 0
    assert "mtu=1480" in answer.stdout + answer.stderr


def test_a_workload_with_a_larger_mtu_learns_the_path_mtu(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("ipip-always")
    for part, device in (("web-a1", "eth0"), ("a1", _host_end(lab, "a1"))):
        subprocess.run(("ip", "-n", lab.names.of(part), "link", "set", device, "mtu", "1500"), check=True)
    answer = ping(lab, "web-a1", "10.244.4.10", 1500)
    assert answer.returncode != 0
    assert "mtu = 1480" in answer.stdout + answer.stderr


def _host_end(lab: Lab, node: str) -> str:
    shown = subprocess.run(("ip", "-n", lab.names.of(node), "-br", "link"), capture_output=True, text=True, check=True)
    return next(line.split("@")[0] for line in shown.stdout.splitlines() if line.startswith("cali"))


def ipip_packet(outer_source: str, outer_destination: str, inner_destination: str, payload: bytes) -> bytes:
    """UDP from 10.244.3.10 inside IPIP, as any host could send it."""
    udp = struct.pack("!HHHH", 1, PORT, 8 + len(payload), 0) + payload
    inner = _header(len(udp), 17, "10.244.3.10", inner_destination) + udp
    return _header(len(inner), 4, outer_source, outer_destination) + inner


def _header(length: int, protocol: int, source: str, destination: str) -> bytes:
    fields = (
        0x45,
        0,
        20 + length,
        7,
        0,
        64,
        protocol,
        0,
        Address.parse(source).packed,
        Address.parse(destination).packed,
    )
    plain = struct.pack("!BBHHHBBH4s4s", *fields)
    total = sum(struct.unpack("!10H", plain))
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~((total >> 16) + total) & 0xFFFF
    return plain[:10] + struct.pack("!H", checksum) + plain[12:]


def test_only_nodes_get_through_the_tunnel(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("ipip-always")
    receiver = netns.open_socket(lab.names.of("web-a1"), socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("10.244.1.10", PORT))
    sender = netns.open_socket(lab.names.of("core"), socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with receiver, sender:
        # The router is no node; then the same as if from node b1, which shows that such a packet can arrive.
        sender.sendto(ipip_packet("10.0.0.254", "10.0.0.1", "10.244.1.10", b"no member"), ("10.0.0.1", 0))
        sender.sendto(ipip_packet("10.1.0.3", "10.0.0.1", "10.244.1.10", b"node"), ("10.0.0.1", 0))
        ready, _, _ = select.select([receiver], [], [], 5)
        assert ready
        assert receiver.recv(100) == b"node"


def test_a_removed_node_does_not_get_through_any_more(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("ipip-always")
    text = lab.topology.file.read_text()
    kept = [line for line in text.splitlines() if "b1:" not in line and "web-b1:" not in line]
    lab.topology.file.write_text("\n".join(kept))
    wait_until(lambda: accepted_by(lab, "a1") == ["10.0.0.2", "10.1.0.4"])


def accepted_by(lab: Lab, node: str) -> list[str]:
    (tunnel,) = lab.read(node, "tunnels")["tunnels"]
    return list(tunnel["accepts_from"])


def test_bulk_data_arrives_whole_in_both_directions(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("ipip-always")
    for source, destination, address in (("web-a1", "web-b1", "10.244.3.10"), ("web-b1", "web-a1", "10.244.1.10")):
        assert transfer(lab, source, destination, address) == hashlib.sha256(_block() * (BULK_BYTES >> 20)).hexdigest()


def _block() -> bytes:
    return bytes(range(256)) * 4096


def transfer(lab: Lab, source: str, destination: str, address: str) -> str:
    """Send BULK_BYTES by TCP, in segments as large as the devices offload, and return the digest of what arrived."""
    listener = netns.open_socket(lab.names.of(destination), socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, PORT))
    listener.listen(1)
    listener.settimeout(30)
    sender = netns.open_socket(lab.names.of(source), socket.AF_INET, socket.SOCK_STREAM)
    sender.settimeout(30)
    sender.connect((address, PORT))

    def send() -> None:
        with sender:
            for _ in range(BULK_BYTES >> 20):
                sender.sendall(_block())

    thread = threading.Thread(target=send)
    thread.start()
    digest = hashlib.sha256()
    with listener, listener.accept()[0] as connection:
        connection.settimeout(30)
        while data := connection.recv(1 << 20):
            digest.update(data)
    thread.join()
    return digest.hexdigest()
