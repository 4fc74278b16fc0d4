"""The nftables tables that filter what comes from workloads, on the running kernel."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import WORKLOADS, WorkloadFilter
from bgpctl.kernel import nft, workload_filter
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import own_namespace, put, remove, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

POOLS = tuple(map(Prefix.parse, ("10.244.0.0/16", "fd00:244::/32")))
PEERS = tuple(map(Address.parse, ("10.244.1.9", "fd00:244::9")))
BOTH = WorkloadFilter(POOLS, POOLS, (4789, 4790), 179, PEERS, 9179)
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


def test_a_filter_is_removed_with_all_tables(kernel: LinuxKernel) -> None:
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
        "add rule inet bgpctl_workloads of_tcp accept",
        "delete table ip6 bgpctl_workloads",
        "add table inet bgpctl_workloads { flags dormant; }",
        "add table ip bgpctl_workloads { flags dormant; }",
    ],
)
def test_a_filter_that_another_program_changed_is_put_again(kernel: LinuxKernel, change: str) -> None:
    put(kernel, BOTH)
    assert kernel.observe().workload_filters == {BOTH}
    subprocess.run(("nft", change), check=True)
    wait_until(lambda: kernel.observe().workload_filters != {BOTH}, within_s=15)
    put(kernel, BOTH)
    assert kernel.observe().workload_filters == {BOTH}


def test_a_rule_whose_match_is_another_is_seen(kernel: LinuxKernel) -> None:
    """It ends in the same verdict, and is at the same place."""
    put(kernel, BOTH)
    (handle,) = (
        item["rule"]["handle"]
        for item in nft.listed(workload_filter.TABLE, "inet")
        if item.get("rule", {}).get("chain") == "prerouting" and "accept" in item["rule"]["expr"][-1]
    )
    weaker = f"replace rule inet {workload_filter.TABLE} prerouting handle {handle} meta iifgroup != 7 accept"
    subprocess.run(("nft", weaker), check=True)
    wait_until(lambda: kernel.observe().workload_filters != {BOTH}, within_s=15)
    with closing(LinuxKernel()) as other:
        assert other.observe().workload_filters != {BOTH}


@pytest.mark.parametrize("noted", ["known4 { lo . 10.244.1.10 }", "known6 { lo . fd00:244:1::a }", "source { lo }"])
def test_what_packets_note_is_no_change(kernel: LinuxKernel, noted: str) -> None:
    put(kernel, BOTH)
    subprocess.run(("nft", f"add element inet {nft.in_force(workload_filter.TABLE, 'inet')} {noted}"), check=True)
    with closing(LinuxKernel()) as other:
        assert other.observe().workload_filters == {BOTH}


def test_packets_are_tracked_for_no_other_ip_version(kernel: LinuxKernel) -> None:
    """A chain of the family inet that asks connection tracking has it follow the packets of both."""
    put(kernel, BOTH._replace(masqueraded=POOLS[:1]))
    families = {family for family, _ in nft.tables()}
    assert families == {"inet", "arp", "ip"}
    assert '"ct"' not in json.dumps(nft.listed(workload_filter.TABLE, "inet"))
    assert '"ct"' in json.dumps(nft.listed(workload_filter.TABLE, "ip"))


def test_all_tables_are_made_together_or_none_is(kernel: LinuxKernel) -> None:
    put(kernel, BOTH)
    with pytest.raises(OSError, match="syntax"):
        nft.replace_all(workload_filter.TABLE, {"inet": "", "arp": "no rule"})
    assert kernel.observe().workload_filters == {BOTH}


def test_a_former_bgp_port_is_closed_while_something_listens_there(kernel: LinuxKernel) -> None:
    put(kernel, BOTH)
    with socket.create_server(("", BOTH.bgp_port), reuse_port=True):
        put(kernel, BOTH._replace(bgp_port=1790))
        assert kernel.observe().workload_filters == {BOTH._replace(bgp_port=1790)}
        assert closed_ports() == {179, 1790}
        put(kernel, BOTH._replace(bgp_port=1791))
        assert closed_ports() == {179, 1791}, "nothing listens at 1790"
    assert kernel.observe().workload_filters != {BOTH._replace(bgp_port=1791)}, "one port too many"
    put(kernel, BOTH._replace(bgp_port=1791))
    assert closed_ports() == {1791}


def test_a_former_bgp_port_stays_closed_where_another_program_adds_a_rule(kernel: LinuxKernel) -> None:
    put(kernel, BOTH)
    table = f"inet {nft.in_force(workload_filter.TABLE, 'inet')}"
    subprocess.run(("nft", f'add rule {table} of_tcp accept comment "by hand"'), check=True)
    with socket.create_server(("", BOTH.bgp_port), reuse_port=True):
        put(kernel, BOTH._replace(bgp_port=1790))
        assert closed_ports() == {179, 1790}


def closed_ports() -> set[int]:
    listed = nft.listed(workload_filter.TABLE, "inet")
    (comment,) = (item["rule"]["comment"] for item in listed if "comment" in item.get("rule", {}))
    return set(map(int, comment.partition(" udp ")[0].split()))


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
