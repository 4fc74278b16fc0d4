"""`bgpctl cleanup` on the running kernel: objects of ours that another program changed go too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.agent import wiring
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import PROTOCOL, Masquerade
from bgpctl.kernel import nft
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.ipip_rig import receivers
from tests.contract.kernel_rig import TUNNEL_STACK, own_namespace, put, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

NAT = Masquerade((Prefix.parse("10.244.0.0/16"),), (Prefix.parse("10.244.0.0/16"),), (4790, 65535))


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


def test_the_nat_table_goes_although_it_was_changed(kernel: LinuxKernel, tmp_path: Path) -> None:
    put(kernel, NAT)
    subprocess.run(("nft", "insert", "rule", "ip", "bgpctl_nat", "postrouting", "accept"), check=True)
    ops, failures = wiring.clean_up(tmp_path, PROTOCOL)
    assert (len(ops), failures) == (1, ())
    assert nft.listed("bgpctl_nat") == []


def test_where_there_is_nothing_of_ours_nothing_is_removed(kernel: LinuxKernel, tmp_path: Path) -> None:
    assert kernel.observe().decaps == frozenset()
    assert wiring.clean_up(tmp_path, PROTOCOL) == ((), ())
