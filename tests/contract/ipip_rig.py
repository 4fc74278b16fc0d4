"""
Three nodes on one bridge, a workload behind each, every one in a network namespace of its own.

Nodes are 10.0.0.1 to 10.0.0.3, workloads 10.244.N.2. The bridge's namespace is 10.0.0.9, which is no node.
Routes go by next-hop objects through tunl0.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, Link
from bgpctl.kernel.bpf.ingress import Receiver
from bgpctl.kernel.ipip import bpf as ipip_bpf
from bgpctl.kernel.ipip.bpf import BpfIpip
from bgpctl.kernel.links import list_links
from bgpctl.kernel.netlink import Netlink
from bgpctl.lab import netns

T = TypeVar("T")

TUNNEL = Link("tunl0", Ipip(), 1480)
NO_MEMBER = "10.0.0.9"
NODES = (1, 2, 3)


@dataclass(frozen=True)
class Site:
    """One node and its workload."""

    number: int
    driver: BpfIpip

    @property
    def namespace(self) -> str:
        return _namespace(f"n{self.number}")

    @property
    def workload(self) -> str:
        return _namespace(f"w{self.number}")

    @property
    def address(self) -> str:
        return f"10.0.0.{self.number}"

    @property
    def decap(self) -> Decap:
        others = tuple(Address.parse(f"10.0.0.{number}") for number in NODES if number != self.number)
        return Decap("tunl0", "eth0", Address.parse(self.address), others)

    def inside(self, act: Callable[[], T]) -> T:
        return netns.inside(self.namespace, act)

    def put(self) -> None:
        self.inside(lambda: self.driver.put_link(TUNNEL))
        self.put_decap(self.decap)

    def put_decap(self, decap: Decap) -> None:
        self.inside(lambda: self.driver.put_decap(decap))

    def shell(self, command: str) -> str:
        return output(f"ip netns exec {self.namespace} {command}")

    def via(self, remote: int, destination: int, hop: int = 0) -> None:
        """Route the destination's workload through the tunnel to the remote node."""
        hop = hop or remote
        netns.ip(
            [
                f"nexthop replace id {hop} via 10.0.0.{remote} dev tunl0 onlink",
                f"route replace 10.244.{destination}.0/26 nhid {hop}",
            ],
            self.namespace,
        )


def receivers() -> tuple[Receiver, ...]:
    """Our programs that take packets in, in the calling thread's namespace."""
    with closing(Netlink()) as netlink:
        return tuple(ipip_bpf.receivers(netlink, list_links(netlink)))


def output(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


@contextmanager
def three_sites() -> Iterator[list[Site]]:
    with wired() as namespace, ExitStack() as stack:
        sites: list[Site] = []
        for number in NODES:
            driver = netns.inside(namespace(f"n{number}"), BpfIpip)
            stack.callback(driver.close)
            sites.append(Site(number, driver))
        for site in sites:
            site.put()
            _route(site)
        yield sites


@contextmanager
def wired() -> Iterator[Callable[[str], str]]:
    """The namespaces bridge, n1 to n3 and w1 to w3, by wire alone; the result names each."""
    parts = [_namespace(part) for part in ("bridge", "n1", "n2", "n3", "w1", "w2", "w3")]
    try:
        for part in parts:
            netns.ip([f"netns add {part}"])
        netns.ip(["link add br0 type bridge", "link set br0 up", f"addr add {NO_MEMBER}/24 dev br0"], parts[0])
        for number in NODES:
            _wire(number)
        yield _namespace
    finally:
        for part in parts:
            netns.delete(part)


def _namespace(part: str) -> str:
    return f"ipip{os.getpid()}-{part}"


def _wire(number: int) -> None:
    node, workload = _namespace(f"n{number}"), _namespace(f"w{number}")
    port, bridge = f"port{number}", _namespace("bridge")
    netns.ip(
        [
            f"link add eth0 type veth peer name {port} netns {bridge}",
            f"link add workload type veth peer name eth0 netns {workload}",
            f"addr add 10.0.0.{number}/24 dev eth0",
            f"addr add 10.244.{number}.1/26 dev workload",
            *(f"link set {link} up" for link in ("lo", "eth0", "workload")),
        ],
        node,
    )
    netns.ip([f"link set {port} master br0 up"], bridge)
    setup = [f"addr add 10.244.{number}.2/26 dev eth0", "link set eth0 mtu 1480 up", "link set lo up"]
    netns.ip([*setup, f"route add default via 10.244.{number}.1"], workload)


def _route(site: Site) -> None:
    netns.set_sysctls(site.namespace, {"net/ipv4/ip_forward": "1", "net/ipv4/conf/tunl0/forwarding": "1"})
    netns.ip([f"addr add 10.244.{site.number}.3/32 dev tunl0"], site.namespace)
    for number in NODES:
        if number != site.number:
            site.via(number, number)


def ping(site: Site, destination: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """From the site's workload."""
    command = ("ip", "netns", "exec", site.workload, "ping", "-W", "1", *arguments, destination)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(site: Site, destination: str, *arguments: str) -> bool:
    return ping(site, destination, "-c", "1", *arguments).returncode == 0


def ipv4(
    source: str,
    destination: str,
    payload: bytes,
    *,
    protocol: int = 17,
    tos: int = 0,
    fragment: int = 0,
    number: int = 7,
) -> bytes:
    """A packet with a right checksum and a TTL of 64."""
    addresses = Address.parse(source).packed + Address.parse(destination).packed
    plain = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), number, fragment, 64, protocol, 0) + addresses
    total = sum(struct.unpack("!10H", plain))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return plain[:10] + struct.pack("!H", checksum) + plain[12:] + payload


def udp(port: int, payload: bytes) -> bytes:
    """With no checksum."""
    return struct.pack("!HHHH", 1, port, 8 + len(payload), 0) + payload


def udp_socket(namespace: str, address: str = "", port: int = 0) -> socket.socket:
    opened = netns.open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    if address:
        opened.bind((address, port))
        opened.settimeout(5)
    return opened


def raw_socket(namespace: str) -> socket.socket:
    """Sends whole IPv4 packets."""
    return netns.open_socket(namespace, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
