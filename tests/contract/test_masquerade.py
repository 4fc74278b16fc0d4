"""The nftables table of natOutgoing, on the running kernel."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import ExitStack

import pytest

from bgpctl.core.fabric.nat import free_udp_ports
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Masquerade
from bgpctl.kernel import masquerade, nft
from bgpctl.lab import netns
from tests.contract.kernel_rig import own_namespace

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

ONE = Masquerade(
    (Prefix.parse("10.244.0.0/16"),), (Prefix.parse("10.244.0.0/16"), Prefix.parse("10.250.0.0/24")), (4790, 65535)
)
CASES = [
    ONE,
    ONE._replace(udp_ports=(1024, 59999)),
    ONE._replace(udp_ports=(1024, 65534)),
    ONE._replace(link="eth0", address=Address.parse("10.0.0.1")),
    ONE._replace(bgp_ports=(179,), link="eth0.7", address=Address.parse("10.0.0.1"), udp_ports=(1, 4788)),
    ONE._replace(bgp_ports=(179,)),
    ONE._replace(bgp_ports=(179, 1790)),
    Masquerade(
        (Prefix.parse("fd00:244::/64"),), (Prefix.parse("fd00:244::/64"), Prefix.parse("fd00:245::/64")), (4790, 65535)
    ),
    Masquerade(
        *((Prefix.parse("fd00:244::/64"),), (Prefix.parse("fd00:244::/64"),), (4790, 65535), ()),
        *("eth0", Address.parse("fd00:10::1")),
    ),
    Masquerade(
        (Prefix.parse("10.244.1.1/32"), Prefix.parse("10.245.0.0/16")), (Prefix.parse("10.244.0.0/15"),), (2, 65535)
    ),
]


@pytest.mark.parametrize("wanted", CASES)
def test_what_was_put_is_what_is_observed(wanted: Masquerade) -> None:
    with own_namespace():
        masquerade.put(ONE)
        masquerade.put(wanted)
        assert masquerade.observe(wanted.version) == wanted


def test_the_ip_versions_are_put_and_removed_apart() -> None:
    with own_namespace():
        six = next(wanted for wanted in CASES if wanted.version == 6)
        masquerade.put(ONE)
        masquerade.put(six)
        assert (masquerade.observe(4), masquerade.observe(6)) == (ONE, six)
        masquerade.remove(4)
        assert (masquerade.observe(4), masquerade.observe(6)) == (None, six)


def test_nothing_is_observed_before_and_after() -> None:
    with own_namespace():
        assert masquerade.observe(4) is None
        masquerade.put(ONE)
        masquerade.remove(4)
        masquerade.remove(4)
        assert masquerade.observe(4) is None


def test_a_changed_table_counts_as_another_one_and_is_put_right() -> None:
    with own_namespace():
        masquerade.put(ONE)
        rule = ("nft", "insert", "rule", "ip", "bgpctl_nat", "postrouting", "accept")
        subprocess.run(rule, check=True)
        assert masquerade.observe(4) == masquerade.CHANGED[4]
        masquerade.put(ONE)
        assert masquerade.observe(4) == ONE


def test_foreign_tables_survive() -> None:
    with own_namespace():
        subprocess.run(("nft", "add", "table", "ip", "foreign"), check=True)
        masquerade.put(ONE)
        masquerade.remove(4)
        assert [item["table"]["name"] for item in nft.listed("foreign") if "table" in item] == ["foreign"]


@pytest.mark.parametrize("taken", [(4789,), (60000,), (65535,), (1,), (4789, 5000, 40000), ()])
def test_the_port_of_a_tunnel_is_never_a_source_port(taken: tuple[int, ...]) -> None:
    low, high = free_udp_ports(taken)
    assert not any(low <= port <= high for port in taken)
    assert 0 < low < high <= 65535


def test_a_workload_gets_its_nodes_address_everywhere_but_at_a_bgp_port() -> None:
    """With the node's address it would be the node to other members, whose BGP has no password."""
    with ExitStack() as stack:
        for part in ("work", "node", "far"):
            stack.callback(netns.delete, f"nat{os.getpid()}-{part}")
            netns.ip([f"netns add nat{os.getpid()}-{part}"])
        work, node, far = (f"nat{os.getpid()}-{part}" for part in ("work", "node", "far"))
        netns.ip(
            [
                f"link add eth0 type veth peer name eth0 netns {far}",
                f"link add inner type veth peer name eth0 netns {work}",
                *("link set eth0 up", "link set inner up"),
                *("addr add 10.9.0.1/24 dev eth0", "addr add 10.244.0.1/24 dev inner"),
            ],
            node,
        )
        netns.ip(["link set eth0 up", "addr add 10.9.0.2/24 dev eth0", "route add 10.244.0.0/16 via 10.9.0.1"], far)
        netns.ip(["link set eth0 up", "addr add 10.244.0.2/24 dev eth0", "route add default via 10.244.0.1"], work)
        netns.set_sysctls(node, {"net/ipv4/ip_forward": "1"})
        netns.inside(node, lambda: masquerade.put(ONE._replace(bgp_ports=(179,))))
        seen = {}
        for port in (179, 180):
            listening = stack.enter_context(netns.open_socket(far, socket.AF_INET, socket.SOCK_STREAM))
            listening.bind(("", port))
            listening.listen()
            listening.settimeout(15)
            connecting = stack.enter_context(netns.open_socket(work, socket.AF_INET, socket.SOCK_STREAM))
            connecting.settimeout(15)
            connecting.connect(("10.9.0.2", port))
            accepted, (seen[port], _) = listening.accept()
            accepted.close()
        assert seen == {179: "10.244.0.2", 180: "10.9.0.1"}
