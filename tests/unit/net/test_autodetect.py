"""Which address of a host is a node's."""

from __future__ import annotations

import pytest

from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.autodetect import CanReach, NoAddress, choose, parse
from bgpctl.core.net.objects import LinkAddress

HOST = [
    LinkAddress(link, InterfaceAddress.parse(address))
    for link, address in (
        ("lo", "127.0.0.1/8"),
        ("docker0", "172.17.0.1/16"),
        ("cali0123", "169.254.1.1/32"),
        ("vxlan.calico", "10.244.0.0/32"),
        ("veth1", "192.168.9.1/24"),
        ("eth0", "fe80::1/64"),
        ("eth0", "fd00::5/64"),
        ("eth0", "10.0.0.5/24"),
        ("eth1", "10.1.0.5/24"),
        ("bond0.7", "10.2.0.5/24"),
    )
]


@pytest.mark.parametrize(
    ("method", "source", "expected"),
    [
        ("first-found", None, "10.0.0.5/24"),
        ("can-reach=10.1.9.9", "10.1.0.5", "10.1.0.5/24"),
        ("can-reach=fd00::9", "fd00::5", "fd00::5/64"),
        ("interface=eth1", None, "10.1.0.5/24"),
        ("interface=bond.*", None, "10.2.0.5/24"),
        ("interface=wlan.*,bond.*", None, "10.2.0.5/24"),
        ("interface=docker0", None, "172.17.0.1/16"),
        ("cidr=10.2.0.0/16", None, "10.2.0.5/24"),
        ("cidr=192.0.2.0/24,10.1.0.0/16", None, "10.1.0.5/24"),
        ("cidr=fd00::/8", None, "fd00::5/64"),
    ],
)
def test_a_method_chooses_the_address_that_calicos_would(method: str, source: str | None, expected: str) -> None:
    read = parse(method)
    assert str(read) == method
    assert str(choose(read, HOST, Address.parse(source) if source else None)) == expected


@pytest.mark.parametrize(
    "method", ["interface=wlan0", "interface=eth", "interface=lo", "cidr=203.0.113.0/24", "can-reach=203.0.113.1"]
)
def test_without_a_fit_the_addresses_that_there_are_are_named(method: str) -> None:
    with pytest.raises(NoAddress, match=r"no address of this host fits .*eth1 10\.1\.0\.5/24"):
        choose(parse(method), HOST, None)


def test_a_host_of_containers_alone_has_none() -> None:
    with pytest.raises(NoAddress):
        choose(parse("first-found"), HOST[:6], None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "first",
        "first-found=",
        "can-reach=",
        "can-reach=host",
        "interface=",
        "interface=a,,b",
        "interface=(",
        "cidr=x",
    ],
)
def test_anything_else_is_refused_with_its_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"is none of|is no regular|does not appear|'.*"):
        parse(text)


def test_a_method_is_a_value() -> None:
    assert parse("can-reach=10.0.0.1") == CanReach(Address.parse("10.0.0.1"))
