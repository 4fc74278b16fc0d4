"""
A workload that sends whatever frames it likes, and witnesses of the effect: w1 of tunnels_rig.py, on n1 beside v1.

A witness captures on a link. Whether an attack had an effect is known once an honest datagram, which w1 sent after it
to the same side, has been captured there.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Final

from bgpctl.attach.wiring import NODE_MAC
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.net.addresses import Address
from bgpctl.kernel import probe_packets, workload_filter
from bgpctl.lab import netns
from tests.attack.tunnels_rig import DRIVERS, FOUR, PORT, SIX, Cluster, world

COLUMNS: Final = {**DRIVERS, "direct": (DIRECT, FOUR), "direct-ipv6": (DIRECT, SIX)}
"""By driver and IP version; see DRIVERS."""
ATTACK: Final = b"attack from a workload"
DEVICE: Final = "workload"
"""The node's end of w1's cable."""
ETHERTYPE: Final = {4: 0x0800, 6: 0x86DD}
_ETH_P_ALL: Final = 3
_WITHIN_S: Final = 15
_marks = count(1)

WITNESSES: Final = {"v1": "eth0", "n2": "eth0", "bridge": "br0", "n1": DEVICE}
"""The link of each part that a witness captures on."""


def honest_target(made: Cluster, witness: str) -> Address:
    """Where w1 sends to have an honest packet come by the witness."""
    family = made.family
    targets = {"v1": family.neighbour, "n2": family.workload_of(2), "bridge": world(family), "n1": family.neighbour}
    return targets[witness]


def send(made: Cluster, payload: bytes, ethertype: int | None = None, source: str = "w1") -> None:
    """A frame from a workload to its gateway."""
    kind = ethertype or ETHERTYPE[made.family.version]
    with netns.open_socket(made.name(source), socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        own = out.getsockname()[4]
        out.send(bytes.fromhex(NODE_MAC.replace(":", "")) + own + struct.pack("!H", kind) + payload)


def succeeds(made: Cluster, packet: bytes, witness: str, ethertype: int | None = None) -> bool:
    """True if the text of an attack comes by the witness before an honest packet that w1 sends after it."""
    mark = b"honest packet %d." % next(_marks)
    name = made.name(witness)
    with netns.open_socket(name, socket.AF_PACKET, socket.SOCK_RAW) as capture:
        capture.bind((WITNESSES[witness], _ETH_P_ALL))
        send(made, packet, ethertype)
        return _came_before(made, capture, mark, honest_target(made, witness))


def _came_before(made: Cluster, capture: socket.socket, mark: bytes, target: Address) -> bool:
    """The honest packet is sent again until it comes: the first may wait for a neighbour of the node's."""
    capture.settimeout(_WITHIN_S)
    with _repeating(made, mark, target):
        frame, seen = b"", False
        while mark not in frame:
            frame = capture.recv(4096)
            seen = seen or ATTACK in frame
    return seen


@contextmanager
def _repeating(made: Cluster, mark: bytes, target: Address) -> Iterator[None]:
    ended = threading.Event()

    def repeat() -> None:
        with netns.open_socket(made.name("w1"), made.family.kind, socket.SOCK_DGRAM) as out:
            while not ended.is_set():
                out.sendto(mark, (str(target), PORT))
                ended.wait(0.2)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def dropped(made: Cluster, reason: str) -> int:
    """The packets from w1 that its node has dropped for this reason."""
    found: workload_filter.Dropped = netns.inside(made.name("n1"), workload_filter.dropped)
    of_device: Mapping[str, int] = found.get(DEVICE, {})
    return of_device.get(reason, 0)


# Packets -------------------------------------------------------------------------------------------------------


def ip(protocol: int, source: Address, target: Address, payload: bytes) -> bytes:
    """An IP packet with a right header checksum."""
    header = bytearray(probe_packets.header(len(payload), protocol, source, target))
    if source.version == 4:
        header[10:12] = bytes(2)
        header[10:12] = struct.pack("!H", _checksum(bytes(header)))
    return bytes(header) + payload


def udp(source: Address, target: Address, text: bytes = ATTACK, port: int = PORT) -> bytes:
    bare = struct.pack("!HHHH", 40000, port, 8 + len(text), 0) + text
    total = _checksum(_pseudo(source, target, 17, len(bare)) + bare)
    return ip(17, source, target, bare[:6] + struct.pack("!H", total or 0xFFFF) + bare[8:])


SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10


def tcp(source: Address, target: Address, flags: int, port: int, own_port: int = 40000) -> bytes:
    bare = struct.pack("!HHIIBBHHH", own_port, port, 1, 1, 5 << 4, flags, 1000, 0, 0) + ATTACK
    total = _checksum(_pseudo(source, target, 6, len(bare)) + bare)
    return ip(6, source, target, bare[:16] + struct.pack("!H", total) + bare[18:])


def icmpv6(source: Address, target: Address, body: bytes) -> bytes:
    """A message of neighbour discovery, whose hop limit is 255."""
    total = _checksum(_pseudo(source, target, 58, len(body)) + body)
    packet = bytearray(ip(58, source, target, body[:2] + struct.pack("!H", total) + body[4:]))
    packet[7] = 255
    return bytes(packet)


def arp(operation: int, sender: Address, target: Address) -> bytes:
    """ETHERTYPE 0x0806."""
    own = bytes.fromhex("0a0000000bad")
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + own + sender.packed + bytes(6) + target.packed


def _pseudo(source: Address, target: Address, protocol: int, length: int) -> bytes:
    tail = struct.pack("!BBH", 0, protocol, length) if source.version == 4 else struct.pack("!II", length, protocol)
    return source.packed + target.packed + tail


def _checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
