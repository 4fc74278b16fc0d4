"""
A node between two networks, in two namespaces that live for all rounds, and packets with numbers that are found again.

The node's links eth0 and eth1 lead to far0 and far1 in a namespace that only listens: every gateway there has a MAC of
its own and is a permanent neighbour, so that a captured frame shows which next hop it was sent to. All sending is done
on one CPU. Frames between two ends of a cable then keep their order, and a mark that is sent after the packets arrives
after them.
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from bgpctl.core.dataplane.effects import Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix, Vni
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    Sysctl,
)
from bgpctl.core.trace.packet import Packet
from bgpctl.kernel import encode
from bgpctl.kernel.decode import address, u32
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.netlink import Request, attribute, attributes, messages, pack
from bgpctl.lab import netns
from tests.contract.kernel_rig import own_namespace, shell

PROTOCOL: Final = 253
"""For experiments (RFC 3692): it has no ports and no control messages."""
DEADLINE_S: Final = 15.0
_MARK_TYPE: Final = 0x88B5
"""An EtherType for experiments (IEEE 802)."""
_ETH_P_ALL: Final = 3
_IP: Final = {4: 0x0800, 6: 0x86DD}
_HEADER_BYTES: Final = {4: 20, 6: 40}
_SO_MARK: Final = 36
_IP_MTU_DISCOVER, _IPV6_DONTFRAG = 10, 62
_IPPROTO_IPV6: Final = 41
_RTA_SRC, _RTA_IIF, _RTA_MARK = 2, 3, 16
_CT_FLUSH: Final = struct.pack("=IHHII", 20, 1 << 8 | 2, 5, 1, 0) + bytes(4)

LINKS: Final = ("eth0", "eth1")
OWN: Final = {
    "eth0": {4: Address.parse("10.0.0.1"), 6: Address.parse("fd00:1::1")},
    "eth1": {4: Address.parse("10.0.1.1"), 6: Address.parse("fd00:2::1")},
}
GATEWAYS: Final = {
    (link, version): tuple(Address(version, OWN[link][version].value + more) for more in (1, 2, 3))
    for link in LINKS
    for version in (4, 6)
}
MEMBER: Final = GATEWAYS["eth0", 4][0]
STRANGER: Final = GATEWAYS["eth0", 4][1]
VXLAN: Final = Vxlan(Vni(4096), 4789, OWN["eth0"][4], "eth0")
VXLAN_MAC: Final = Mac("66:00:00:00:00:01")
MEMBER_VXLAN_MAC: Final = Mac("66:00:00:00:00:02")
TUNNEL_GATEWAY: Final = Address.parse("10.244.2.0")
POOL: Final = Prefix.parse("10.244.0.0/16")
BLOCK: Final = Prefix.parse("10.244.1.0/26")
THEIR_BLOCK: Final = {"tunl0": Prefix.parse("10.244.2.0/26"), "vxlan.bgpctl": Prefix.parse("10.244.3.0/26")}
WORKLOADS: Final = Prefix.parse("10.244.1.32/27")
"""Behind a gateway of eth1, so that each may have packets."""


class Arrival(NamedTuple):
    """Where a packet was seen: a link and the gateway's address there, or nowhere (received by the node itself)."""

    link: str = ""
    gateway: Address | None = None
    source: Address | None = None


def mac_of(gateway: Address) -> Mac:
    """Each has one of its own."""
    link = next(link for (link, version), found in GATEWAYS.items() if version == gateway.version and gateway in found)
    number = gateway.value & 0xFF
    return Mac(f"02:{LINKS.index(link):02x}:{gateway.version:02x}:00:00:{number:02x}")


_GATEWAY_BY_MAC: Final = {mac_of(gateway): gateway for found in GATEWAYS.values() for gateway in found}


class TraceRig:
    """The two namespaces. Use it on the thread that made it."""

    def __init__(self, far: str) -> None:
        self.far = far
        self.kernel = LinuxKernel()
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._netlink.bind((0, 0))
        self._conntrack = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self._received = {4: _raw(4), 6: _raw(6)}
        self._far = {link: self._listen(f"far{link[-1]}") for link in LINKS}
        self._near = {link: _sniffer(link) for link in LINKS}
        self._macs = {link: self._near[link].getsockname()[4] for link in LINKS}
        self._indexes = {name: index for index, name in socket.if_nameindex()}
        self._marks = 0
        self.arrived: dict[int, set[Arrival]] = {}

    def close(self) -> None:
        for opened in (*self._received.values(), *self._far.values(), *self._near.values()):
            opened.close()
        self._netlink.close()
        self._conntrack.close()
        self.kernel.close()

    def _listen(self, link: str) -> socket.socket:
        found = netns.open_socket(self.far, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        found.bind((link, _ETH_P_ALL))
        found.setblocking(False)
        return found

    def put(self, *objects: KernelObject) -> None:
        failures = self.kernel.apply([Put(item, NOT_WANTED) for item in objects])
        assert not failures, failures

    # Sending ------------------------------------------------------------------------------------------------

    def send(self, number: int, packet: Packet, arrives: str | None) -> None:
        """The packet with this number: from the link, or made by the node itself."""
        if arrives is None:
            self._make(number, packet)
        else:
            octets = _octets(number, packet)
            self._far[arrives].send(self._macs[arrives] + bytes.fromhex("02ff00000001") + octets)

    def _make(self, number: int, packet: Packet) -> None:
        version = packet.version
        with socket.socket(_family(version), socket.SOCK_RAW, PROTOCOL) as opened:
            opened.setsockopt(socket.SOL_SOCKET, _SO_MARK, packet.mark)
            if version == 4:
                opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, 2 if packet.df else 0)
            else:
                opened.setsockopt(_IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
            with suppress(OSError):  # the kernel tells whoever makes a packet that it drops it
                opened.bind((str(packet.source), 0))
                opened.sendto(_payload(number, packet), (str(packet.destination), 0))

    # Receiving ----------------------------------------------------------------------------------------------

    def settle(self, expected: Mapping[int, frozenset[Arrival]]) -> None:
        """Until all that is expected has arrived or the deadline is over, and all that was sent has been dealt with."""
        until_s = time.monotonic() + DEADLINE_S
        while True:
            for _ in range(3):  # a tunnel's packets go through a queue of their own in between
                self._mark_round(until_s)
            missing = [number for number, ends in expected.items() if ends and number not in self.arrived]
            if not missing or time.monotonic() > until_s:
                return

    def _mark_round(self, until_s: float) -> None:
        """A mark from each far end to the node and back, after all that was sent before."""
        self._marks += 1
        body = struct.pack("!HI", _MARK_TYPE, self._marks) + bytes(50)
        for link in LINKS:
            self._far[link].send(self._macs[link] + bytes.fromhex("02ff00000001") + body)
        for link in LINKS:
            self._await_mark(self._near[link], "", until_s)
            self._near[link].send(bytes.fromhex("02ff00000001") + self._macs[link] + body)
        for link in LINKS:
            self._await_mark(self._far[link], link, until_s)
        self._read_own()

    def _await_mark(self, opened: socket.socket, link: str, until_s: float) -> None:
        while time.monotonic() < until_s:
            try:
                frame, where = opened.recvfrom(1 << 16)
            except BlockingIOError:
                select.select([opened], [], [], max(0.0, until_s - time.monotonic()))
                continue
            if where[2] == socket.PACKET_OUTGOING:
                continue
            if frame[12:18] == struct.pack("!HI", _MARK_TYPE, self._marks):
                return
            if link:
                self._note(link, frame)

    def _note(self, link: str, frame: bytes) -> None:
        gateway = _GATEWAY_BY_MAC.get(Mac(frame[:6].hex(":")))
        found = _number(frame[14:]) if gateway else None
        if found:
            number, source = found
            self.arrived.setdefault(number, set()).add(Arrival(link, gateway, source))

    def _read_own(self) -> None:
        for version, opened in self._received.items():
            while True:
                try:
                    octets = opened.recv(1 << 16)
                except BlockingIOError:
                    break
                payload = octets[_HEADER_BYTES[4] :] if version == 4 else octets
                if payload[:4] == _MAGIC:
                    self.arrived.setdefault(int.from_bytes(payload[4:8], "big"), set()).add(Arrival())

    # Questions ----------------------------------------------------------------------------------------------

    def route_get(self, packet: Packet, arrives: str | None) -> tuple[str, Address | None] | int:
        """RTM_GETROUTE: the link and the gateway, or an errno."""
        version = packet.version
        bits = 32 if version == 4 else 128
        body = encode.RTMSG.pack(encode.FAMILY[version], bits, bits, 0, 0, 0, 0, 0, 0)
        body += attribute(encode.RTA_DST, packet.destination.packed) + attribute(_RTA_SRC, packet.source.packed)
        if packet.mark:
            body += attribute(_RTA_MARK, struct.pack("=I", packet.mark))
        if arrives:
            body += attribute(_RTA_IIF, struct.pack("=I", self._indexes[arrives]))
        self._netlink.send(pack(Request(encode.RTM_GETROUTE, 0, body), 1))
        (message,) = messages(self._netlink.recv(1 << 16))
        if message.type == 2:
            return -int(struct.unpack_from("=i", message.body)[0])
        return self._answer(message.body)

    def _answer(self, body: bytes) -> tuple[str, Address | None] | int:
        kind = encode.RTMSG.unpack_from(body)[7]
        found = attributes(body, encode.RTMSG.size)
        names = dict(socket.if_nameindex())
        if kind not in (1, 2, 3, 4):
            return 113
        if kind != 1:
            return "", None
        packed = found.get(encode.RTA_GATEWAY)
        return names[u32(found[encode.RTA_OIF])], address(packed) if packed else None

    def forget_connections(self) -> None:
        """Flush connection tracking: a packet with a number used before is new again."""
        self._conntrack.send(_CT_FLUSH)
        self._conntrack.recv(1 << 16)


_MAGIC: Final = b"trce"


def _family(version: int) -> int:
    return encode.FAMILY[version]


def _raw(version: int) -> socket.socket:
    opened = socket.socket(_family(version), socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
    opened.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
    return opened


def _sniffer(link: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_MARK_TYPE))
    found.bind((link, _MARK_TYPE))
    found.setblocking(False)
    return found


def _payload(number: int, packet: Packet) -> bytes:
    return (_MAGIC + number.to_bytes(4, "big")).ljust(packet.size_bytes - _HEADER_BYTES[packet.version], b"\0")


def _octets(number: int, packet: Packet) -> bytes:
    """EtherType and IP packet; a tunnel's with the packet inside."""
    return struct.pack("!H", _IP[packet.version]) + _ip(number, packet)


def _ip(number: int, packet: Packet) -> bytes:
    if packet.inner is None:
        payload = _payload(number, packet)
    elif packet.wire:
        frame = bytes.fromhex("660000000001660000000002") + _octets(number, packet.inner)
        vxlan = struct.pack("!II", 0x08000000, dict(packet.wire)["vni"] << 8) + frame
        payload = struct.pack("!HHHH", 50000, dict(packet.wire)["port"], 8 + len(vxlan), 0) + vxlan
    else:
        payload = _ip(number, packet.inner)
    ends = packet.source.packed + packet.destination.packed
    if packet.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), packet.protocol, 64) + ends + payload
    fragment = 0x4000 if packet.df else 0
    head = (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), number & 0xFFFF, fragment, 64, packet.protocol, 0) + ends
    )
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload


def _checksum(octets: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _number(octets: bytes) -> tuple[int, Address] | None:
    """The number of a packet and its source; of a tunnel's packet that of the one inside, and the outer source."""
    if len(octets) < 28:
        return None
    version = octets[0] >> 4
    if version == 4:
        protocol, at, source = octets[9], 20, address(octets[12:16])
    elif version == 6:
        protocol, at, source = octets[6], 40, address(octets[8:24])
    else:
        return None
    if protocol == PROTOCOL:
        is_ours = octets[at : at + 4] == _MAGIC
        return (int.from_bytes(octets[at + 4 : at + 8], "big"), source) if is_ours else None
    inner = {4: octets[at:], 17: octets[at + 8 + 8 + 14 :]}.get(protocol, b"")
    found = _number(inner)
    return (found[0], source) if found else None


@contextmanager
def trace_rig() -> Iterator[TraceRig]:
    """The node in the thread's own new namespace, the far end beside it."""
    far = f"h{os.getpid()}-trace"
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    netns.ip([f"netns add {far}"])
    try:
        with own_namespace():
            _cable(far)
            rig = TraceRig(far)
            try:
                yield rig
            finally:
                rig.close()
    finally:
        subprocess.run(("ip", "netns", "delete", far), check=True)
        os.sched_setaffinity(0, cpus)


def _cable(far: str) -> None:
    shell("link set lo up")
    for link in LINKS:
        shell(f"link add {link} type veth peer name far{link[-1]} netns {far}")
        shell(f"addr add {OWN[link][4]}/24 dev {link}", f"addr add {OWN[link][6]}/64 dev {link} nodad")
        shell(f"link set {link} up")
        for version in (4, 6):
            for gateway in GATEWAYS[link, version]:
                shell(f"neigh add {gateway} lladdr {mac_of(gateway)} dev {link} nud permanent")
    netns.ip([f"link set far{link[-1]} up" for link in LINKS], far)


def tunnels() -> tuple[KernelObject, ...]:
    """Both tunnels to one member, with their filters."""
    mine, node = OWN["eth0"][4], OWN["eth0"][4]
    found: list[KernelObject] = [
        Sysctl("net/ipv4/ip_forward", "1"),
        Sysctl("net/ipv6/conf/all/forwarding", "1"),
        Link("vxlan.bgpctl", VXLAN, 1450, VXLAN_MAC),
        Link("tunl0", Ipip(), 1480),
        FdbEntry("vxlan.bgpctl", MEMBER_VXLAN_MAC, MEMBER),
        Neighbour("vxlan.bgpctl", TUNNEL_GATEWAY, MEMBER_VXLAN_MAC),
        NextHop(0x42000001, "tunl0", MEMBER, onlink=True),
        NextHop(0x42000002, "vxlan.bgpctl", TUNNEL_GATEWAY, onlink=True),
        NextHop(0x42000003, "eth1", GATEWAYS["eth1", 4][0], onlink=False),
        NextHop(0x42000004, "eth0", GATEWAYS["eth0", 4][2], onlink=False),
        NextHopGroup(0x43000001, (0x42000003, 0x42000004)),
        Route(THEIR_BLOCK["tunl0"], next_hop=0x42000001),
        Route(THEIR_BLOCK["vxlan.bgpctl"], next_hop=0x42000002),
        Route(WORKLOADS, next_hop=0x42000003),
        Masquerade((POOL,), (POOL,), (10000, 20000)),
    ]
    for at, link in enumerate(("tunl0", "vxlan.bgpctl")):
        found.append(Sysctl(f"net/ipv4/conf/{link}/forwarding", "1"))
        found.append(Sysctl(f"net/ipv4/conf/{link}/rp_filter", "2"))
        found.append(LinkAddress(link, InterfaceAddress(BLOCK.nth(at), 32)))
        found.append(Decap(link, "eth0", node, (MEMBER,)))
        found.append(InnerFilter(link, 4, (MEMBER,), (mine,), tuple(sorted(THEIR_BLOCK.values())), (BLOCK,)))
    order = [
        Link,
        Sysctl,
        LinkAddress,
        InnerFilter,
        Decap,
        Masquerade,
        FdbEntry,
        Neighbour,
        NextHop,
        NextHopGroup,
        Route,
    ]
    return tuple(sorted(found, key=lambda item: order.index(type(item))))


def batch(version: int, lines: list[str]) -> None:
    """`ip -batch`, which goes on after an error: a random route may be refused."""
    command = ["ip", f"-{version}", "-force", "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=False)


def filters(text: str) -> None:
    """Replace the tables of the other program."""
    empty = "table inet f\ndelete table inet f\n"
    subprocess.run(["nft", "-f", "-"], input=empty + text, text=True, check=True)


def seeded(number: int) -> random.Random:
    return random.Random(number)
