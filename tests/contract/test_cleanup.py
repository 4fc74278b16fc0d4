"""`bgpctl cleanup` on the running kernel: objects of ours that another program changed go too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.agent import wiring
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import PROTOCOL, Decap, InnerFilter, Link, Masquerade
from bgpctl.kernel import nft
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.ipip_rig import receivers
from tests.contract.kernel_rig import KIND, TUNNEL_STACK, own_namespace, put, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

NAT = Masquerade((Prefix.parse("10.244.0.0/16"),), (Prefix.parse("10.244.0.0/16"),), (4790, 65535))
DEVICE = Link("vxlan.bgpctl", KIND, 1450)
SENDERS = Decap(DEVICE.name, "eth0", KIND.local, (Address.parse("10.0.0.2"),))
INNER = InnerFilter(DEVICE.name, 4, SENDERS.sources, SENDERS.own, NAT.sources, ())


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    """With an underlay, and IPIP by BPF programs."""
    with own_namespace():
        shell("link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0")
        made = LinuxKernel({"ipip": "bpf"})
        yield made
        made.close()


def test_a_receiving_program_goes_although_its_tunnel_is_gone_already(kernel: LinuxKernel, tmp_path: Path) -> None:
    put(kernel, *TUNNEL_STACK)
    shell("link del tunl0")
    assert receivers()
    ops, failures = wiring.clean_up(tmp_path, PROTOCOL)
    assert failures == ()
    assert not receivers()
    assert len(ops) == 1


def test_a_receiving_program_without_its_tunnel_is_seen_and_put_right(kernel: LinuxKernel) -> None:
    put(kernel, *TUNNEL_STACK)
    before = kernel.observe().decaps
    shell("link del tunl0")
    (left,) = kernel.observe().decaps
    assert (left.underlay, left.sources) == ("eth0", ())
    put(kernel, *TUNNEL_STACK)
    assert kernel.observe().decaps == before


@pytest.mark.parametrize("is_changed", [False, True])
def test_the_tables_of_a_vxlan_device_go_although_it_is_gone_already(
    kernel: LinuxKernel, tmp_path: Path, is_changed: bool
) -> None:
    put(kernel, DEVICE, SENDERS, INNER)
    shell(f"link del {DEVICE.name}")
    if is_changed:
        for family, name in nft.tables():
            nft.replace(name, "chain other { }", family)
    assert len(nft.tables()) == 2
    ops, failures = wiring.clean_up(tmp_path, PROTOCOL)
    assert (len(ops), failures, nft.tables()) == (2, (), [])


def test_the_tables_of_a_vxlan_device_go_with_it(kernel: LinuxKernel, tmp_path: Path) -> None:
    put(kernel, DEVICE, SENDERS, INNER)
    _, failures = wiring.clean_up(tmp_path, PROTOCOL)
    assert (failures, nft.tables()) == ((), [])


def test_the_nat_table_goes_although_it_was_changed(kernel: LinuxKernel, tmp_path: Path) -> None:
    put(kernel, NAT)
    subprocess.run(("nft", "insert", "rule", "ip", "bgpctl_nat", "postrouting", "accept"), check=True)
    ops, failures = wiring.clean_up(tmp_path, PROTOCOL)
    assert (len(ops), failures) == (1, ())
    assert nft.listed("bgpctl_nat") == []


def test_where_there_is_nothing_of_ours_nothing_is_removed(kernel: LinuxKernel, tmp_path: Path) -> None:
    assert kernel.observe().decaps == frozenset()
    assert wiring.clean_up(tmp_path, PROTOCOL) == ((), ())
