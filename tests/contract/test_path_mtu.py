"""TCP between workloads where a router on the path has a smaller MTU than the nodes, on the running kernel."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.objects import Link
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.lab import netns
from tests.contract.kernel_rig import ETH0, VXLAN, VXLAN6, own_namespace, put, shell
from tests.contract.path_rig import PATH_MTU, namespace, narrow_path, transferred, workload
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

OCTETS = 4_000_000
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # linux/in.h
TUNNELS = [("vxlan", 4), ("vxlan", 6), ("ipip-by-bpf", 4), ("ipip-by-kernel", 4)]


@pytest.mark.parametrize(("encapsulation", "version"), TUNNELS)
@pytest.mark.parametrize("segments", [1, 64], ids=["cut by the sender", "cut by the card"])
def test_tcp_passes_a_router_whose_mtu_is_smaller_than_the_nodes(
    encapsulation: str, version: int, segments: int
) -> None:
    with narrow_path(encapsulation, version):
        for source, destination in ((1, 2), (2, 1)):
            sender, receiver = namespace(f"w{source}"), namespace(f"w{destination}")
            netns.ip([f"link set eth0 gso_max_segs {segments}"], sender)
            arrived = transferred(sender, receiver, workload(destination, version), OCTETS)
            assert arrived == OCTETS, f"from {sender} to {receiver}"


@pytest.mark.parametrize("ipip", ["ipip-by-bpf", "ipip-by-kernel"])
def test_a_workload_hears_the_path_mtu_of_ip_in_ip_from_its_node(ipip: str) -> None:
    """20 octets less than the router's, for the outer header, as the kernel's own driver answers."""
    with narrow_path(ipip, 4), closing(netns.open_socket(namespace("w1"), socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.connect((str(workload(2, 4)), 9))

        def has_heard() -> bool:
            with suppress(OSError):  # EMSGSIZE once it is known
                udp.send(bytes(1400))
            return udp.getsockopt(socket.IPPROTO_IP, IP_MTU) == PATH_MTU - 20

        udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        wait_until(has_heard, within_s=15)


SILENT = (
    "table ip silent { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }; }"
)


@pytest.mark.parametrize(("segment_bytes", "within_s", "expected"), [(0, 2, 0), (PATH_MTU - 20 - 40, 30, OCTETS)])
def test_the_mss_clamp_passes_tcp_where_the_router_says_nothing(
    segment_bytes: int, within_s: float, expected: int
) -> None:
    with narrow_path("ipip-by-bpf", 4, segment_bytes=segment_bytes):
        netns.inside(namespace("r1"), lambda: nft(SILENT))
        assert transferred(namespace("w1"), namespace("w2"), workload(2, 4), OCTETS, within_s=within_s) == expected


def nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize("wanted", [VXLAN, VXLAN6])
def test_a_device_of_an_earlier_version_loses_the_inherited_df_bit_in_place(wanted: Link) -> None:
    with own_namespace():
        shell(f"link add eth0 address {ETH0.mac} type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10::1/64 dev eth0 nodad")
        with closing(LinuxKernel()) as kernel:
            assert isinstance(wanted.kind, Vxlan)
            earlier = replace(wanted, kind=replace(wanted.kind, df=2))
            put(kernel, earlier)
            before = kernel.observe().link(wanted.name)
            number = socket.if_nametoindex(wanted.name)
            put(kernel, wanted)
            assert (before, kernel.observe().link(wanted.name)) == (earlier, wanted)
            assert socket.if_nametoindex(wanted.name) == number
