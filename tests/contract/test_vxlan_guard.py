"""The nftables table that limits the senders of a VXLAN device, on the running kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, Drops
from bgpctl.kernel import nft, vxlan_guard
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import (
    ETH0,
    KIND,
    OVER6,
    VXLAN,
    VXLAN6,
    own_namespace,
    put,
    puts,
    refusals,
    remove,
    shell,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

FOUR = Decap(VXLAN.name, "eth0", KIND.local, (Address.parse("10.0.0.2"), Address.parse("10.0.0.3")))
SIX = Decap(VXLAN6.name, "eth0", OVER6.local, (Address.parse("fd00:10::2"),), (Address.parse("fd00:10::21"),))


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    with own_namespace():
        shell(f"link add eth0 address {ETH0.mac} type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10::1/64 dev eth0 nodad")
        with closing(LinuxKernel()) as found:
            found.watch(lambda: None)
            yield found


CHANGES = [
    (FOUR, FOUR._replace(sources=())),
    (FOUR, FOUR._replace(local=Address.parse("10.0.0.21"), also=(KIND.local,))),
    (FOUR, FOUR._replace(sources=(*FOUR.sources, Address.parse("10.9.0.1")))),
    (SIX, SIX._replace(also=())),
    (FOUR, FOUR._replace(sources=tuple(Address(4, 0xAC100000 + number) for number in range(3000)))),
]


@pytest.mark.parametrize(("first", "then"), CHANGES)
def test_the_senders_that_were_put_are_observed_also_by_the_next_agent(
    kernel: LinuxKernel, first: Decap, then: Decap
) -> None:
    put(kernel, VXLAN, VXLAN6, first)
    assert kernel.observe().decaps == {first}
    put(kernel, then)
    assert kernel.observe().decaps == {then}
    with closing(LinuxKernel()) as other:
        assert other.observe().decaps == {then}


def test_a_new_device_lets_nobody_in_until_it_has_senders(kernel: LinuxKernel) -> None:
    put(kernel, VXLAN)
    assert kernel.observe().decaps == frozenset()
    (guarded,) = vxlan_guard.observe([VXLAN.name]).values()
    assert guarded == (VXLAN.name, 4, KIND.vni, KIND.port, None, (), None, (Drops("sender", 0),))


def test_a_device_without_senders_lets_nobody_in_and_one_that_is_removed_leaves_no_table(kernel: LinuxKernel) -> None:
    put(kernel, VXLAN, FOUR)
    remove(kernel, FOUR)
    assert kernel.observe().decaps == frozenset()
    assert vxlan_guard.observe([VXLAN.name])[VXLAN.name].sources is None
    remove(kernel, VXLAN)
    assert nft.tables() == []


def test_a_table_that_another_program_changed_or_removed_is_put_again(kernel: LinuxKernel) -> None:
    put(kernel, VXLAN, FOUR)
    nft.replace("bgpctl_vxlan_test", "chain input { type filter hook input priority filter; policy accept; }")
    assert kernel.observe().decaps == frozenset()
    put(kernel, FOUR)
    assert kernel.observe().decaps == {FOUR}
    nft.remove("bgpctl_vxlan_test")
    assert kernel.observe().decaps == frozenset()


def test_the_table_of_a_device_with_another_vni_is_not_taken_for_its_own(kernel: LinuxKernel) -> None:
    put(kernel, VXLAN, FOUR)
    vxlan_guard.put(FOUR, replace(KIND, port=8472))
    assert kernel.observe().decaps == frozenset()


def test_the_table_of_a_device_that_is_gone_is_found_and_removed(kernel: LinuxKernel) -> None:
    table = FOUR._replace(link="vxlan.bgpctl")
    vxlan_guard.put(table, KIND)
    (left,) = kernel.observe().decaps
    assert left == table._replace(underlay="")
    remove(kernel, left)
    assert (kernel.observe().decaps, nft.tables()) == (frozenset(), [])


def test_without_a_device_or_its_underlay_nobody_is_let_in(kernel: LinuxKernel) -> None:
    alone = FOUR._replace(link="vxlan.bgpctl")
    assert refusals(kernel.apply(puts(alone))) == [(alone, errno.ENODEV)]
    put(kernel, VXLAN)
    wrong = FOUR._replace(underlay="nowhere")
    assert refusals(kernel.apply(puts(wrong))) == [(wrong, errno.ENODEV)]


def test_a_device_is_not_made_where_nobody_could_be_kept_out(
    kernel: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (failure,) = kernel.apply(puts(VXLAN))
    assert (failure.errno, "nftables" in failure.hint) == (errno.ENOPKG, True)
    assert kernel.observe().link(VXLAN.name) is None
