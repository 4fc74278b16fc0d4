"""
Three nodes of a cluster on one bridge with a workload each, as an agent would have made their kernels, and a stranger.
The first has another workload, v1.

Nodes are 10.0.0.1 to 10.0.0.3 (fd00:10::1 to ::3), workloads the second address of their blocks. The bridge's namespace
is 10.0.0.9 (fd00:10::9), which is no member; it is the nodes' default gateway too, and has an address of the world.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from bgpctl.attach.connect import Cable, connect
from bgpctl.attach.wiring import Wiring
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import derive
from bgpctl.core.fabric.encapsulations import behind
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Drops, Traffic
from bgpctl.kernel import probe_packets
from bgpctl.kernel.host import LinuxHost
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.lab import netns
from tests.cluster import blocks, learned_from_all, node

NODES: Final = (1, 2, 3)
STRANGER: Final = 9
PORT: Final = 7777
VNI: Final = 4096
MEMBER: Final = 2
_ROUNDS: Final = 5
_MTU_BYTES: Final = 1500
_numbers = count(1)


@dataclass(frozen=True)
class Family:
    """The addresses of one IP version."""

    version: int
    node: str
    workload: str
    block: str
    pool: str
    world: str

    @property
    def kind(self) -> socket.AddressFamily:
        return socket.AF_INET if self.version == 4 else socket.AF_INET6

    def node_of(self, number: int) -> Address:
        return Address.parse(self.node.format(number))

    def workload_of(self, number: int) -> Address:
        return Address.parse(self.workload.format(number))

    @property
    def neighbour(self) -> Address:
        """The address of v1, the second workload of n1."""
        return Address(self.version, self.workload_of(1).value + 1)

    def block_of(self, number: int) -> Prefix:
        return Prefix.parse(self.block.format(number))


FOUR: Final = Family(4, "10.0.0.{}", "10.244.{}.2", "10.244.{}.0/26", "10.244.0.0/16", "198.51.100.1")
SIX: Final = Family(6, "fd00:10::{}", "fd00:244:{}::2", "fd00:244:{}::/122", "fd00:244::/32", "2001:db8::1")


@dataclass
class Cluster:
    """The cluster of one encapsulation and IP version; attacks are on n1."""

    encapsulation: Encapsulation
    family: Family
    intent: Intent
    prefix: str
    kernels: dict[int, LinuxKernel] = field(default_factory=dict)

    def name(self, part: str) -> str:
        return f"{self.prefix}-{part}"

    def here(self, number: int) -> Node:
        return self.intent.nodes[number - 1]

    def settle(self, number: int) -> None:
        """Do to the node's kernel what its agent would, until nothing is left to do."""

        def act() -> None:
            kernel = self.kernels.setdefault(number, LinuxKernel())
            here = self.here(number)
            for _ in range(_ROUNDS):
                observed = kernel.observe()
                desired = derive(self.intent, here, {}, learned_from_all(self.intent, here), observed)
                ops = plan(desired, observed).ops
                if not ops:
                    return
                assert kernel.apply(ops) == ()
            raise AssertionError(ops)

        netns.inside(self.name(f"n{number}"), act)

    # Packets ---------------------------------------------------------------------------------------------------

    def wrapped(self, inner: bytes, vni: int = VNI) -> bytes:
        """The payload of a tunnel packet to n1, behind its outer IP (and UDP) header."""
        if self.encapsulation == IPIP:
            return inner
        mac = probe_packets.mac(self.intent.vtep_mac(self.here(1), self.family.version))
        multicast = inner[0] >> 4 == 6 and inner[24] == 0xFF
        destination = b"\x33\x33" + inner[36:40] if multicast else mac
        ethertype = 0x0800 if inner[0] >> 4 == 4 else 0x86DD
        frame = destination + bytes.fromhex("660000000bad") + struct.pack("!H", ethertype) + inner
        return struct.pack("!II", 0x08000000, vni << 8) + frame

    def inject(self, sender: int, inner: bytes, vni: int = VNI, ttl: int = 64) -> None:
        """A tunnel packet from a node, or from the stranger, to n1."""
        part = "bridge" if sender == STRANGER else f"n{sender}"
        kind, number = (socket.SOCK_RAW, 4) if self.encapsulation == IPIP else (socket.SOCK_DGRAM, 0)
        with netns.open_socket(self.name(part), self.family.kind, kind, number) as out:
            out.bind((str(self.family.node_of(sender)), 0))
            if ttl != 64:
                out.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            out.sendto(self.wrapped(inner, vni), (str(self.family.node_of(1)), 4789))

    def inject_in_two(self, sender: int, inner: bytes, cut: int) -> None:
        """As `inject`, in two fragments of our own making: the first has so many octets behind its IP header."""
        source, target = self.family.node_of(sender), self.family.node_of(1)
        payload = self.wrapped(inner)
        if self.encapsulation == IPIP:
            protocol = socket.IPPROTO_IPIP
        else:
            bare = struct.pack("!HHHH", 50000, 4789, 8 + len(payload), 0) + payload
            protocol, payload = socket.IPPROTO_UDP, _summed(source, target, bare)
        part = "bridge" if sender == STRANGER else f"n{sender}"
        with netns.open_socket(self.name(part), self.family.kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
            number = next(_numbers)
            for offset, text in ((0, payload[:cut]), (cut, payload[cut:])):
                fragment = _fragment(source, target, protocol, number, offset, text, more=offset == 0)
                out.sendto(fragment, (str(target), 0))

    def udp(self, source: Address, target: Address, text: bytes) -> bytes:
        """An IP packet with a datagram to PORT."""
        bare = struct.pack("!HHHH", 1, PORT, 8 + len(text), 0) + text
        return probe_packets.header(len(bare), 17, source, target) + _summed(source, target, bare)

    # Victims ---------------------------------------------------------------------------------------------------

    def listen(self, part: str, address: Address) -> socket.socket:
        """A socket of a victim."""
        found = netns.open_socket(self.name(part), self.family.kind, socket.SOCK_DGRAM)
        found.bind((str(address), PORT))
        found.settimeout(5)
        return found

    def has_arrived(self, victim: socket.socket, text: bytes) -> bool:
        """
        True if a datagram of an attack came to the victim before one that w2, or another workload, sent there since as
        its traffic always goes.
        """
        mark = b"mark %d" % next(_numbers)
        target = victim.getsockname()[0]
        with netns.open_socket(self.name("w2"), self.family.kind, socket.SOCK_DGRAM) as out:
            out.sendto(mark, (target, PORT))
        seen = []
        while (data := victim.recv(100)) != mark:
            seen.append(data)
        return text in seen


def _fragment(
    source: Address, target: Address, protocol: int, number: int, offset: int, text: bytes, *, more: bool
) -> bytes:
    """An IP packet that is a fragment (RFC 791, section 3.1; RFC 8200, section 4.5); `offset` in octets."""
    if source.version == 6:
        extension = struct.pack("!BBHI", protocol, 0, offset | more, number)
        return probe_packets.header(8 + len(text), socket.IPPROTO_FRAGMENT, source, target) + extension + text
    header = bytearray(probe_packets.header(len(text), protocol, source, target))
    struct.pack_into("!HH", header, 4, number, offset // 8 | more << 13)
    return bytes(header) + text


def _summed(source: Address, target: Address, bare: bytes) -> bytes:
    """UDP over IPv6 needs its checksum (RFC 8200, section 8.1)."""
    if source.version == 4:
        return bare
    pseudo = source.packed + target.packed + struct.pack("!II", len(bare), 17)
    data = pseudo + bare + bytes(len(bare) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return bare[:6] + struct.pack("!H", ~total & 0xFFFF or 0xFFFF) + bare[8:]


def intent_of(encapsulation: Encapsulation, family: Family, *, masqueraded: bool = True) -> Intent:
    """Everything is encapsulated; what leaves the pool is masqueraded, or not."""
    length = 24 if family.version == 4 else 64
    nodes = tuple(node(f"n{number}", f"{family.node_of(number)}/{length}") for number in NODES)
    own = {f"n{number}": [str(family.block_of(number))] for number in NODES}
    size = family.block_of(1).length
    mode = Mode.NEVER if encapsulation == DIRECT else Mode.ALWAYS
    pool = Pool("blue", Prefix.parse(family.pool), encapsulation, mode, block_size=size)
    return Intent(pools=(replace(pool, nat_outgoing=masqueraded),), nodes=nodes, allocations=blocks(**own))


@contextmanager
def cluster(encapsulation: Encapsulation, family: Family, *, masqueraded: bool = True) -> Iterator[Cluster]:
    """All nodes with their tunnels."""
    prefix = f"tun{os.getpid()}-{next(_numbers)}"
    made = Cluster(encapsulation, family, intent_of(encapsulation, family, masqueraded=masqueraded), prefix)
    parts = ["bridge", "v1", *(f"{letter}{number}" for letter in "nw" for number in NODES)]
    with ExitStack() as stack:
        for part in parts:
            stack.callback(netns.delete, made.name(part))
            netns.ip([f"netns add {made.name(part)}"])
        _wire_bridge(made)
        for number in NODES:
            _wire(made, number)
        _prepare_workload(made, "v1")
        connect([Cable(Wiring("workload2", (family.neighbour,), _MTU_BYTES), made.name("n1"), made.name("v1"))])
        stack.callback(lambda: [*map(LinuxKernel.close, made.kernels.values())])
        for number in NODES:
            made.settle(number)
        yield made


def _wire_bridge(made: Cluster) -> None:
    family = made.family
    length, host = (24, 32) if family.version == 4 else (64, 128)
    addresses = [
        f"addr add {family.node_of(STRANGER)}/{length} dev br0{_nodad(family)}",
        f"addr add {family.world}/{host} dev lo{_nodad(family)}",
    ]
    netns.ip(["link add br0 type bridge", "link set br0 up", "link set lo up", *addresses], made.name("bridge"))


def _wire(made: Cluster, number: int) -> None:
    family, here, there = made.family, made.name(f"n{number}"), made.name(f"w{number}")
    length, nodad = (24 if family.version == 4 else 64), _nodad(family)
    wires: Sequence[str] = (
        f"link add eth0 type veth peer name port{number} netns {made.name('bridge')}",
        *(f"link set {link} up" for link in ("lo", "eth0")),
        f"addr add {family.node_of(number)}/{length} dev eth0{nodad}",
        f"route add default via {family.node_of(STRANGER)}",
    )
    netns.ip([*wires], here)
    netns.ip([f"link set port{number} master br0 up"], made.name("bridge"))
    _prepare_workload(made, f"w{number}")
    connect([Cable(Wiring("workload", (family.workload_of(number),), _MTU_BYTES), here, there)])


def _prepare_workload(made: Cluster, part: str) -> None:
    """It sends nothing by itself."""
    quiet = {"disable_ipv6": "1" if made.family.version == 4 else "0", "accept_dad": "0", "router_solicitations": "0"}
    netns.set_sysctls(made.name(part), {f"net/ipv6/conf/default/{key}": value for key, value in quiet.items()})
    netns.ip(["link set lo up"], made.name(part))


def _nodad(family: Family) -> str:
    return " nodad" if family.version == 6 else ""


DRIVERS: Final = {"ipip-bpf": (IPIP, FOUR), "vxlan": (VXLAN, FOUR), "vxlan-ipv6": (VXLAN, SIX)}
"""By driver and IP version. The ipip module is there in the emulated machine only (tests/vm)."""
VXLANS: Final = tuple(name for name, (encapsulation, _) in DRIVERS.items() if encapsulation == VXLAN)
IPIPS: Final = tuple(name for name, (encapsulation, _) in DRIVERS.items() if encapsulation == IPIP)


def world(family: Family) -> Address:
    return Address.parse(family.world)


def attacked(
    made: Cluster, sender: int, part: str, target: Address, source: Address | None = None, vni: int = VNI
) -> bool:
    """True if a datagram to the target, inside a tunnel packet to n1, arrived at a socket of the part."""
    inner_source = source or made.family.workload_of(MEMBER)
    with made.listen(part, target) as victim:
        made.inject(sender, made.udp(inner_source, target, b"attack"), vni)
        return made.has_arrived(victim, b"attack")


def shell(made: Cluster, part: str, command: str) -> str:
    words = ("ip", "netns", "exec", made.name(part), *command.split())
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def frame_of_arp(made: Cluster, sender: Address) -> None:
    target = made.intent.tunnel_address(made.here(1), VXLAN, 4)
    assert target
    mac = probe_packets.mac(made.intent.vtep_mac(made.here(1), 4))
    own = bytes.fromhex("660000000bad")
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + sender.packed + bytes(6) + target.packed
    _send_frame(made, mac + own + b"\x08\x06" + arp)


def frame_of_solicitation(made: Cluster, sender: Address) -> None:
    target = made.intent.tunnel_address(made.here(1), VXLAN, 6)
    assert target
    mac = probe_packets.mac(made.intent.vtep_mac(made.here(1), 6))
    own = bytes.fromhex("660000000bad")
    body = struct.pack("!BBHI", 135, 0, 0, 0) + target.packed + b"\x01\x01" + own
    pseudo = sender.packed + target.packed + struct.pack("!II", len(body), 58)
    total = sum(struct.unpack(f"!{len(pseudo + body) // 2}H", pseudo + body))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    summed = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    header = bytearray(probe_packets.header(len(body), 58, sender, target))
    header[7] = 255
    _send_frame(made, mac + own + b"\x86\xdd" + bytes(header) + summed)


def _send_frame(made: Cluster, frame: bytes) -> None:
    """By the second node, which is a member."""
    with netns.open_socket(made.name("n2"), made.family.kind, socket.SOCK_DGRAM) as out:
        out.bind((str(made.family.node_of(MEMBER)), 0))
        out.sendto(struct.pack("!II", 0x08000000, VNI << 8) + frame, (str(made.family.node_of(1)), 4789))


def drops(made: Cluster) -> tuple[Drops, ...]:
    """The packets that n1 has dropped, on their way to its tunnel device or out of it."""
    (link,) = (link for link in made.kernels[1].observe().links if behind(link.kind))
    counted: Mapping[str, Traffic] = netns.inside(made.name("n1"), LinuxHost().traffic)
    found: Mapping[str, tuple[Drops, ...]] = netns.inside(made.name("n1"), LinuxHost().drops)
    return (*counted[link.name].drops, *found.get(link.name, ()))


def dropped_packets(made: Cluster, reason: str) -> int:
    return sum(item.packets for item in drops(made) if item.reason == reason)
