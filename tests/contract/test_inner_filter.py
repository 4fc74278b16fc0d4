"""The nftables table that filters what comes out of a tunnel device, on the running kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import InnerFilter
from bgpctl.kernel import inner_filter, nft
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import VXLAN, VXLAN6, own_namespace, put, puts, refusals, remove, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    return tuple(sorted(map(Prefix.parse, texts)))


REST = prefixes("10.244.0.0/24", "10.244.1.64/26", "10.244.1.128/25", "10.244.2.0/23", "203.0.113.5/32")
FOUR = InnerFilter(
    VXLAN.name, 4, (Address.parse("10.0.0.2"),), (Address.parse("10.0.0.1"),), REST, prefixes("10.244.1.0/26")
)
SIX = InnerFilter(
    VXLAN6.name,
    6,
    (Address.parse("fd00:10::2"), Address.parse("fd00:10::3")),
    (Address.parse("fd00:10::1"),),
    prefixes("fd00:244::/64"),
    prefixes("fd00:244:1::/122", "fd00:245::1/128"),
)
MANY = tuple(Address(4, 0xAC100000 + number) for number in range(3000))


def filters() -> list[str]:
    return [name for family, name in nft.tables() if family == "netdev"]


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    with own_namespace():
        shell("link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10::1/64 dev eth0 nodad")
        with closing(LinuxKernel()) as found:
            found.watch(lambda: None)
            put(found, VXLAN, VXLAN6)
            yield found


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (FOUR, FOUR._replace(sources=(), destinations=())),
        (FOUR._replace(members=()), FOUR._replace(members=MANY)),
        (SIX, SIX._replace(destinations=prefixes("fd00:244:1::/122"))),
        (FOUR, FOUR._replace(most_segment_bytes=1300)),
        (SIX._replace(most_segment_bytes=1280), SIX),
    ],
)
def test_the_filter_that_was_put_is_observed_also_by_the_next_agent(
    kernel: LinuxKernel, first: InnerFilter, then: InnerFilter
) -> None:
    put(kernel, first)
    assert kernel.observe().inner_filters == {first}
    put(kernel, then)
    assert kernel.observe().inner_filters == {then}
    with closing(LinuxKernel()) as other:
        assert other.observe().inner_filters == {then}


def test_filters_of_two_devices_are_put_and_removed_apart(kernel: LinuxKernel) -> None:
    put(kernel, FOUR, SIX)
    assert kernel.observe().inner_filters == {FOUR, SIX}
    remove(kernel, FOUR)
    remove(kernel, FOUR)
    assert kernel.observe().inner_filters == {SIX}


def test_a_filter_that_another_program_changed_is_put_again(kernel: LinuxKernel) -> None:
    put(kernel, FOUR)
    nft.replace("bgpctl_inner_vxlan_test", "chain other { }", "netdev")
    assert kernel.observe().inner_filters == frozenset()
    put(kernel, FOUR)
    assert kernel.observe().inner_filters == {FOUR}


def test_a_filter_goes_with_its_device(kernel: LinuxKernel) -> None:
    put(kernel, FOUR, SIX)
    remove(kernel, VXLAN)
    assert kernel.observe().inner_filters == {SIX}
    assert filters() == ["bgpctl_inner_vxlan6_test"]


def test_a_filter_whose_device_was_removed_by_hand_is_seen_and_put_on_the_next(kernel: LinuxKernel) -> None:
    put(kernel, FOUR)
    shell(f"link del {VXLAN.name}")
    (left,) = kernel.observe().inner_filters
    assert left.destinations == ()
    put(kernel, VXLAN, FOUR)
    assert kernel.observe().inner_filters == {FOUR}


@pytest.mark.parametrize("link", ["vxlan.bgpctl", "vxlan-v6.bgpctl", "tunl0"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_table_without_a_device_is_found_and_removed(kernel: LinuxKernel, link: str, is_whole: bool) -> None:
    """Before Linux 6.16 the kernel leaves a table without its chain."""
    shell(f"link add {link} type veth")
    inner_filter.put(FOUR._replace(link=link))
    shell(f"link del {link}")
    if not is_whole:
        (name,) = filters()
        nft.replace(name, "set own { type ipv4_addr; }", "netdev")
    (left,) = kernel.observe().inner_filters
    assert left.link == link
    remove(kernel, left)
    assert (kernel.observe().inner_filters, filters()) == (frozenset(), [])


def test_there_is_no_filter_without_a_device(kernel: LinuxKernel) -> None:
    alone = FOUR._replace(link="nowhere")
    assert refusals(kernel.apply(puts(alone))) == [(alone, errno.ENODEV)]
