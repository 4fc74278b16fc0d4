import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, vtep_mac


@pytest.mark.parametrize("text", ["10.0.0.1", "fd00::1", "0.0.0.0", "::"])
def test_an_address_reads_as_it_is_written(text: str) -> None:
    assert str(Address.parse(text)) == text


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_written_as_everywhere_else(value: int) -> None:
    assert str(Address(4, value)) == str(ipaddress.IPv4Address(value))


octets = st.sampled_from(["0", "00", "01", "1", "9", "10", "099", "255", "256", "1000", "", "-1", "\u0661", " 1"])
lengths = st.sampled_from(["", "/0", "/8", "/08", "/32", "/33", "/", "/255.0.0.0", "/1a", "/ 8"])


@given(st.lists(octets, min_size=3, max_size=5), lengths)
def test_addresses_are_read_as_ipaddress_reads_them(parts: list[str], length: str) -> None:
    text = ".".join(parts) + length
    for ours, theirs in (
        (Address, ipaddress.ip_address),
        (Prefix, ipaddress.ip_network),
        (InterfaceAddress, ipaddress.ip_interface),
    ):
        assert outcome(ours.parse, text) == outcome(theirs, text)


def outcome(parse: Callable[[str], object], text: str) -> str:
    """The text of what was read, or the error."""
    try:
        return str(parse(text))
    except ValueError as error:
        return f"error: {error}"


@given(st.integers(0, 7), st.integers(29, 32), st.integers(0, 7), st.integers(29, 32), st.sampled_from([4, 6]))
def test_prefixes_overlap_if_one_covers_the_other(here: int, length: int, there: int, other: int, version: int) -> None:
    one = Prefix(4, here >> (32 - length) << (32 - length), length)
    two = Prefix(version, there >> (32 - other) << (32 - other), other)
    assert one.overlaps(two) == two.overlaps(one) == (one.covers(two) or two.covers(one))


def test_a_prefix_with_host_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Prefix.parse("10.0.0.1/24")


def test_a_prefix_covers_itself_and_what_is_inside() -> None:
    pool = Prefix.parse("10.244.0.0/16")
    assert pool.covers(pool)
    assert pool.covers(Prefix.parse("10.244.255.192/26"))
    assert not pool.covers(Prefix.parse("10.245.0.0/26"))
    assert not pool.covers(Prefix.parse("10.0.0.0/8"))
    assert not pool.covers(Prefix.parse("fd00::/26"))


def test_the_network_of_an_interface_address_has_no_host_bits() -> None:
    assert str(InterfaceAddress.parse("10.0.0.77/26").network) == "10.0.0.64/26"


def test_a_bare_interface_address_is_a_host_address() -> None:
    assert InterfaceAddress.parse("10.0.0.77").length == 32


def test_the_nth_address_stays_inside() -> None:
    block = Prefix.parse("10.244.1.0/30")
    assert str(block.nth(3)) == "10.244.1.3"
    with pytest.raises(ValueError, match="no address number 4"):
        block.nth(4)


@pytest.mark.parametrize(
    ("name", "mac"),
    [
        ("remotehostname", "66:3e:ca:a4:db:65"),
        ("remotehostname2", "66:40:18:59:1f:16"),
        ("node1", "66:f9:37:c3:7e:94"),
    ],
)
def test_the_vtep_mac_is_the_one_calico_derives(name: str, mac: str) -> None:
    assert vtep_mac(name) == mac
