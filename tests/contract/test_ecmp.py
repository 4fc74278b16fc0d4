"""
Flows spread over two next hops, with real packets: both tunnels are used, and what uses them is encapsulated.

Nodes n2 and n3 both lead to 10.250.0.0/24, whose every address their workloads have.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bgpctl.core.dataplane.effects import Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import (
    Prefix,
)
from bgpctl.core.net.objects import (
    KernelObject,
    NextHopGroup,
    Route,
)
from bgpctl.kernel import traffic
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.lab import netns
from tests.contract.ipip_rig import NODES, wired
from tests.contract.tunnel_rig import IPIP, VXLAN, Tunnel, hop, node_address, wanted

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

ANYCAST = Prefix.parse("10.250.0.0/24")
PORT = 7000
FLOWS = 64


@contextmanager
def three_kernels() -> Iterator[tuple[Callable[[str], str], list[LinuxKernel]]]:
    """Wired nodes with both tunnels each; n2 and n3 lead to the anycast prefix."""
    with wired() as namespace, ExitStack() as stack:
        kernels: list[LinuxKernel] = []
        for number in NODES:
            kernel = netns.inside(namespace(f"n{number}"), LinuxKernel)
            stack.callback(kernel.close)
            put(namespace, number, kernel, *wanted(number))
            kernels.append(kernel)
        for number in (2, 3):
            netns.ip([f"route add {ANYCAST} via 10.244.{number}.2"], namespace(f"n{number}"))
            netns.ip(["link set lo up", f"route add local {ANYCAST} dev lo"], namespace(f"w{number}"))
        yield namespace, kernels


def put(namespace: Callable[[str], str], number: int, kernel: LinuxKernel, *objects: KernelObject) -> None:
    ops = [Put(obj, NOT_WANTED) for obj in objects]
    assert netns.inside(namespace(f"n{number}"), lambda: kernel.apply(ops)) == ()


def received(socket_: socket.socket, count: int) -> int:
    """How many datagrams come in until `count` did or none comes any more."""
    socket_.settimeout(0.5)
    for number in range(count):
        try:
            socket_.recv(100)
        except TimeoutError:
            return number
    return count


def outer_protocols(tap: socket.socket) -> Counter[int]:
    """Of the packets from n1 that arrived at a node's underlay, by IP protocol."""
    tap.setblocking(False)
    found: Counter[int] = Counter()
    while True:
        try:
            packet = tap.recv(2000)
        except BlockingIOError:
            return found
        if packet[0] >> 4 == 4 and packet[12:16] == node_address(1).packed:
            found[packet[9]] += 1


@pytest.mark.parametrize(
    "tunnels", [(IPIP, IPIP), (VXLAN, VXLAN), (IPIP, VXLAN)], ids=["two through tunl0", "two through vxlan", "one each"]
)
@pytest.mark.parametrize("policy", ["0", "1"], ids=["by addresses", "by ports"])
def test_flows_use_every_member_of_a_group_and_all_are_encapsulated(
    tunnels: tuple[Tunnel, Tunnel], policy: str
) -> None:
    with three_kernels() as (namespace, kernels), ExitStack() as stack:
        hops = [hop(number, tunnel) for number, tunnel in zip((2, 3), tunnels, strict=True)]
        group = NextHopGroup(0x43000001, tuple(item.id for item in hops))
        put(namespace, 1, kernels[0], *hops, group, Route(ANYCAST, next_hop=group.id))
        netns.set_sysctls(namespace("n1"), {"net/ipv4/fib_multipath_hash_policy": policy})

        sockets, taps = [], []
        for number in (2, 3):
            receiver = netns.open_socket(namespace(f"w{number}"), socket.AF_INET, socket.SOCK_DGRAM)
            tap = netns.open_socket(namespace(f"n{number}"), socket.AF_PACKET, socket.SOCK_DGRAM)
            stack.callback(receiver.close)
            stack.callback(tap.close)
            receiver.bind(("0.0.0.0", PORT))
            tap.bind(("eth0", 3))
            sockets.append(receiver)
            taps.append(tap)
        send_flows(namespace("w1"), by_ports=policy == "1")

        arrived = [received(item, FLOWS) for item in sockets]
        assert sum(arrived) == FLOWS
        assert min(arrived) > FLOWS // 8, "each path has its share"
        for tunnel, tap, count in zip(tunnels, taps, arrived, strict=True):
            seen = outer_protocols(tap)
            assert seen[tunnel.protocol] == count
            assert set(seen) <= {tunnel.protocol, socket.IPPROTO_ICMP}
        counted = netns.inside(namespace("n1"), traffic.read)
        for link in {tunnel.link for tunnel in tunnels}:
            through = sum(count for tunnel, count in zip(tunnels, arrived, strict=True) if tunnel.link == link)
            assert counted[link].sent_packets == through


def send_flows(workload: str, *, by_ports: bool) -> None:
    """As many flows: to different addresses, or from different ports to one."""
    for number in range(FLOWS):
        with netns.open_socket(workload, socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("10.244.1.2", 20000 + number * 7))
            sender.sendto(b"flow", (str(ANYCAST.nth(1 if by_ports else number + 1)), PORT))
