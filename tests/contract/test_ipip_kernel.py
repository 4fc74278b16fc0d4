"""The kernel driver's allow-list, with the real nft. Its device needs the ipip module, which not every kernel has."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, Link
from bgpctl.kernel import nft as tables
from bgpctl.kernel.ipip.module import KernelIpip, dropped_packets
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import Bell, own_namespace

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft"),
]

LOCAL = Address.parse("10.0.0.1")
DECAP = Decap("tunl0", "eth0", LOCAL, (Address.parse("10.0.0.2"), Address.parse("10.1.0.4")))


@pytest.fixture
def driver() -> Iterator[KernelIpip]:
    with own_namespace():
        assert _added("eth0", "type", "veth", "peer", "name", "eth1")
        # Where there is no module anything called tunl0 will do: nft does not ask.
        assert _added("tunl0", "type", "ipip") or "tunl0" in _links() or _added("tunl0", "type", "veth")
        made = KernelIpip()
        try:
            yield made
        finally:
            made.close()


def _added(*words: str) -> bool:
    return subprocess.run(["ip", "link", "add", *words], check=False, capture_output=True).returncode == 0


def _links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def nft(command: str) -> str:
    return subprocess.run(["nft", *command.split()], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "decap", [DECAP, DECAP._replace(sources=()), DECAP._replace(also=(Address.parse("10.0.0.9"),))]
)
def test_what_is_allowed_is_observed(driver: KernelIpip, decap: Decap) -> None:
    driver.put_decap(decap)
    assert driver.observe_decaps() == {decap}


def test_a_second_put_replaces_the_first(driver: KernelIpip) -> None:
    other = Decap("tunl0", "eth1", Address.parse("10.9.0.1"), DECAP.sources[1:])
    driver.put_decap(DECAP)
    driver.put_decap(other)
    assert driver.observe_decaps() == {other}


def test_removing_it_twice_leaves_nothing(driver: KernelIpip) -> None:
    driver.put_decap(DECAP)
    for _ in range(2):
        driver.remove_decap("tunl0")
        assert (driver.observe_decaps(), nft("list ruleset")) == (frozenset(), "")


def test_tables_of_others_stay(driver: KernelIpip) -> None:
    nft("add table ip foreign")
    driver.put_decap(DECAP)
    driver.remove_decap("tunl0")
    assert nft("list ruleset").split() == ["table", "ip", "foreign", "{", "}"]


def test_a_flushed_chain_is_not_taken_for_protection(driver: KernelIpip) -> None:
    driver.put_decap(DECAP)
    nft("flush chain ip bgpctl_ipip input")
    assert driver.observe_decaps() == frozenset()
    driver.put_decap(DECAP)
    assert driver.observe_decaps() == {DECAP}


def test_the_watch_reports_the_removal_of_the_allow_list(driver: KernelIpip) -> None:
    driver.put_decap(DECAP)
    kernel, bell = LinuxKernel({"ipip": "kernel"}), Bell()
    kernel.watch(bell.ring)
    try:
        bell.rang_within(0.1)
        nft("add table ip foreign")
        assert not bell.rang_within(0.2)
        nft("flush ruleset")
        assert bell.rang_within(1.0)
    finally:
        kernel.close()


def test_without_nft_nothing_is_observed_and_a_put_names_what_is_missing(
    driver: KernelIpip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert driver.observe_decaps() == frozenset()
    with pytest.raises(OSError, match="nft is not installed") as error:
        driver.put_decap(DECAP)
    assert error.value.errno == errno.ENOPKG


def test_tables_of_every_family_are_those_that_nft_lists(driver: KernelIpip) -> None:
    driver.put_decap(DECAP)
    for family in ("ip", "ip6", "inet", "arp", "bridge", "netdev"):
        for number in range(40):
            nft(f"add table {family} {'t' * 150}{number}")
    listed = [tuple(line.split()[1:]) for line in nft("list tables").splitlines()]
    assert sorted(tables.tables()) == sorted(listed)
    assert len(listed) == 241


def test_a_kernel_without_nftables_has_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nft_there = tmp_path / "nft"
    nft_there.write_text(
        "#!/bin/sh\necho 'mnl.c:60: Unable to initialize Netlink socket: Protocol not supported' >&2; exit 1\n"
    )
    nft_there.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert tables.listed("bgpctl_nat") == []
    with pytest.raises(OSError, match="Protocol not supported"):
        tables.replace("bgpctl_nat", "")


def test_only_packets_from_the_named_sources_pass(driver: KernelIpip) -> None:
    """Counted at a hook behind ours: whatever came this far would be decapsulated."""
    names = {"allowed": Address.parse("127.0.0.2"), "denied": Address.parse("127.0.0.3")}
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    nft("add table ip counted")
    nft("add chain ip counted behind { type filter hook input priority 100 ; }")
    for name, source in names.items():
        nft(f"add counter ip counted {name}")
        nft(f"add rule ip counted behind ip protocol 4 ip saddr {source} counter name {name}")
    own = tuple(map(Address.parse, ("127.0.0.1", "127.0.0.9")))
    driver.put_decap(Decap("tunl0", "lo", own[0], (names["allowed"],), own[1:]))
    for source, target in product(names.values(), own):
        _send_ipip(str(source), str(target))
    passed = {name: "packets 2" in nft(f"list counter ip counted {name}") for name in names}
    assert passed == {"allowed": True, "denied": False}


def test_dropped_packets_are_counted_and_the_count_outlives_a_change(driver: KernelIpip) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    assert dropped_packets() is None
    for count, sources in enumerate([(), (Address.parse("127.0.0.2"),), ()]):
        driver.put_decap(Decap("tunl0", "lo", Address.parse("127.0.0.1"), sources))
        assert dropped_packets() == count
        _send_ipip("127.0.0.3", "127.0.0.1")
    assert dropped_packets() == 3


def _send_ipip(source: str, destination: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP) as raw:
        raw.bind((source, 0))
        raw.sendto(bytes(20), (destination, 0))


@pytest.fixture
def tunnel(driver: KernelIpip) -> Link:  # noqa: ARG001 (asked in the namespace that the driver is in)
    """The wanted device of the module."""
    if '"ipip"' not in subprocess.run(["ip", "-j", "-d", "link"], check=True, capture_output=True, text=True).stdout:
        pytest.skip("ipip: the module")
    return Link("tunl0", Ipip(), 1480)


def test_no_sender_is_accepted_before_the_allow_list_is_put(driver: KernelIpip, tunnel: Link) -> None:
    driver.put_link(tunnel)
    assert "ip protocol" in nft("list table ip bgpctl_ipip")
    assert driver.observe_decaps() == frozenset()


def test_the_device_taken_down_and_up_again_keeps_its_allow_list(driver: KernelIpip, tunnel: Link) -> None:
    driver.put_link(tunnel)
    driver.put_decap(DECAP)
    subprocess.run(["ip", "link", "set", "tunl0", "down"], check=True)
    driver.put_link(tunnel)
    assert driver.observe_decaps() == {DECAP}


def test_a_removed_device_is_gone_or_as_the_module_brought_it(driver: KernelIpip, tunnel: Link) -> None:
    driver.put_link(tunnel)
    driver.remove_link("tunl0")
    shown = subprocess.run(["ip", "link", "show", "tunl0"], check=False, capture_output=True, text=True).stdout
    assert ("alias" in shown, "UP" in shown, nft("list ruleset")) == (False, False, "")
