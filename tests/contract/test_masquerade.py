"""The nftables table of natOutgoing, on the running kernel."""

from __future__ import annotations

import os
import subprocess

import pytest

from bgpctl.core.fabric.nat import free_udp_ports
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import Masquerade
from bgpctl.kernel import masquerade, nft
from tests.contract.kernel_rig import own_namespace

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

ONE = Masquerade(
    (Prefix.parse("10.244.0.0/16"),), (Prefix.parse("10.244.0.0/16"), Prefix.parse("10.250.0.0/24")), (4790, 65535)
)
CASES = [
    ONE,
    ONE._replace(udp_ports=(1024, 59999)),
    ONE._replace(udp_ports=(1024, 65534)),
    Masquerade(
        (Prefix.parse("fd00:244::/64"),), (Prefix.parse("fd00:244::/64"), Prefix.parse("fd00:245::/64")), (4790, 65535)
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
