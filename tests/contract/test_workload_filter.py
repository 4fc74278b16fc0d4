"""The nftables tables that filter what comes from workloads, on the running kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import WORKLOADS, WorkloadFilter
from bgpctl.kernel import nft, workload_filter
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import own_namespace, put, remove, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

POOLS = tuple(map(Prefix.parse, ("10.244.0.0/16", "fd00:244::/32")))
BOTH = WorkloadFilter(POOLS, POOLS, (4789, 4790), 179, 9179)
NONE = WorkloadFilter((), (), (), 1790)


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    """With a link that leads to a workload."""
    with own_namespace():
        shell(f"link add cali1 group {WORKLOADS} type veth peer name far")
        with closing(LinuxKernel()) as found:
            found.watch(lambda: None)
            yield found


@pytest.mark.parametrize("then", [NONE, BOTH._replace(masqueraded=POOLS[:1]), BOTH._replace(masqueraded=())])
def test_the_filter_that_was_put_is_observed_also_by_the_next_agent(kernel: LinuxKernel, then: WorkloadFilter) -> None:
    put(kernel, BOTH)
    assert kernel.observe().workload_filters == {BOTH}
    put(kernel, then)
    assert kernel.observe().workload_filters == {then}
    with closing(LinuxKernel()) as other:
        assert other.observe().workload_filters == {then}


def test_a_filter_is_removed_with_both_tables(kernel: LinuxKernel) -> None:
    put(kernel, BOTH)
    remove(kernel, BOTH)
    remove(kernel, BOTH)
    assert (kernel.observe().workload_filters, nft.tables()) == (frozenset(), [])


@pytest.mark.parametrize(
    "change",
    [
        "delete table inet bgpctl_workloads",
        "delete table arp bgpctl_workloads",
        "flush chain inet bgpctl_workloads prerouting",
        "flush chain inet bgpctl_workloads source",
        "flush chain arp bgpctl_workloads input",
        "insert rule inet bgpctl_workloads prerouting accept",
        "flush chain inet bgpctl_workloads protocols",
        "add element inet bgpctl_workloads inside4 { 10.0.0.0/16 }",
        "add chain inet bgpctl_workloads other { type filter hook input priority 5; }",
    ],
)
def test_a_filter_that_another_program_changed_is_put_again(kernel: LinuxKernel, change: str) -> None:
    put(kernel, BOTH)
    assert kernel.observe().workload_filters == {BOTH}
    subprocess.run(("nft", change), check=True)
    wait_until(lambda: kernel.observe().workload_filters != {BOTH}, within_s=15)
    put(kernel, BOTH)
    assert kernel.observe().workload_filters == {BOTH}


def test_what_is_left_without_a_workload_is_seen_at_the_start_and_goes(kernel: LinuxKernel) -> None:
    put(kernel, BOTH)
    shell("link del cali1")
    with closing(LinuxKernel()) as other:
        assert other.observe().workload_filters == {BOTH}
        remove(other, BOTH)
        assert other.observe().workload_filters == frozenset()


def test_a_link_of_the_group_is_a_workloads_and_not_ours(kernel: LinuxKernel) -> None:
    found = {link.name: (link.workload, link.owned) for link in kernel.observe().links}
    assert (found["cali1"], found["far"]) == ((True, False), (False, False))


def test_counters_outlive_a_change_but_not_their_link(kernel: LinuxKernel) -> None:
    put(kernel, BOTH)
    counted = "counter packets 3 bytes 0"
    for family, reason in (("inet", "source"), ("inet", "discovery"), ("arp", "discovery")):
        elements = f'{{ "cali1" {counted}, "gone" {counted} }}'
        subprocess.run(("nft", f"add element {family} {workload_filter.TABLE} {reason} {elements}"), check=True)
    assert workload_filter.dropped()["cali1"] == {"source": 3, "discovery": 6}
    put(kernel, NONE)
    assert workload_filter.dropped() == {"cali1": {"source": 3, "discovery": 6}}
