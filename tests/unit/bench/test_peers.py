"""UPDATEs of the benchmarks' peers."""

from __future__ import annotations

from bench.common.peers import announce, end_of_rib, withdraw
from bgpctl.core.net.addresses import Address, Prefix

FOUR, SIX = Prefix.parse("11.0.0.64/26"), Prefix.parse("fd11::40/122")


def test_an_ipv4_route_is_announced_with_its_next_hop() -> None:
    assert announce([FOUR], Address.parse("10.99.0.1")).hex() == (
        "ff" * 16
        + "0031"
        + "02"
        + "0000"
        + "0015"
        + "40010100"
        + "400200"
        + "4003040a630001"
        + "40050400000064"
        + "1a0b000040"
    )


def test_an_ipv6_route_is_announced_in_mp_reach() -> None:
    message = announce([SIX], Address.parse("fd99::1"))
    assert message.endswith(
        bytes.fromhex("0002 01 10") + Address.parse("fd99::1").packed + b"\0" + bytes([122]) + SIX.first.packed
    )
    assert int.from_bytes(message[16:18]) == len(message)


def test_withdrawals_of_both_versions() -> None:
    assert withdraw([FOUR]).hex() == "ff" * 16 + "001c" + "02" + "0005" + "1a0b000040" + "0000"
    assert withdraw([SIX]).endswith(bytes.fromhex("900f0014 000201") + bytes([122]) + SIX.first.packed)


def test_an_end_of_rib_of_each_version() -> None:
    assert end_of_rib(4).hex() == "ff" * 16 + "0017" + "02" + "00000000"
    assert end_of_rib(6).hex() == "ff" * 16 + "001e" + "02" + "0000" + "0007" + "900f0003000201"


def test_many_routes_are_in_few_messages_of_at_most_4096_bytes() -> None:
    for prefix, hop in ((FOUR, "10.99.0.1"), (SIX, "fd99::1")):
        data = announce([prefix] * 2000, Address.parse(hop))
        sizes = []
        while data:
            sizes.append(int.from_bytes(data[16:18]))
            data = data[sizes[-1] :]
        assert max(sizes) <= 4096
        assert len(sizes) < 12
