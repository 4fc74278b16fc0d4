"""The inner addresses that a tunnel may carry, by random addresses against the longest match of all prefixes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import InnerFilter
from tests.cluster import allocated, derived, member, prefixes, two_racks, with_ipv6

INTENT = two_racks(vxlan=Mode.ALWAYS)
BORROWING = allocated(
    allocated(INTENT, "a2", borrowed=prefixes("10.244.1.9/32", "203.0.113.7/32")),
    "a1",
    borrowed=prefixes("10.244.2.9/32"),
)


def inner_of(intent: object, version: int = 4) -> InnerFilter:
    dataplane = derived(intent).dataplane  # type: ignore[arg-type]
    return next(item for item in dataplane.inner_filters if item.version == version)


def is_in(texts: tuple[Prefix, ...], address: str) -> bool:
    return any(prefix.holds(Address.parse(address)) for prefix in texts)


def test_a_borrowed_address_belongs_to_the_borrower() -> None:
    inner = inner_of(BORROWING)
    assert is_in(inner.destinations, "10.244.2.9")
    assert not is_in(inner.sources, "10.244.2.9")
    assert is_in(inner.sources, "10.244.1.9")
    assert not is_in(inner.destinations, "10.244.1.9")
    assert is_in(inner.sources, "203.0.113.7")


@given(st.integers(0, 0xFFFF))
def test_each_address_of_the_pool_is_a_source_or_a_destination_and_none_is_both(low: int) -> None:
    inner, address = inner_of(BORROWING), Address(4, Prefix.parse("10.244.0.0/16").network + low)
    ways = [sum(prefix.holds(address) for prefix in side) for side in (inner.sources, inner.destinations)]
    assert sorted(ways) == [0, 1], address
    own = Prefix.parse("10.244.1.0/26").holds(address) and str(address) != "10.244.1.9"
    assert ways[1] == (own or str(address) == "10.244.2.9")


def test_each_ip_version_has_its_own_prefixes_and_members() -> None:
    intent = with_ipv6(INTENT, vxlan=Mode.ALWAYS)
    inner = inner_of(intent, 6)
    assert {prefix.version for prefix in (*inner.sources, *inner.destinations)} == {6}
    assert [str(address) for address in inner.members] == ["fd00:10:a::2", "fd00:10:b::3", "fd00:10:b::4"]


def test_a_node_without_a_block_takes_only_probes() -> None:
    intent = allocated(INTENT, "a1", blocks=())
    assert inner_of(intent).destinations == ()
    assert inner_of(intent).own == (member(intent, "a1").address.address,)


def test_a_pool_counts_whatever_its_encapsulation() -> None:
    (blue,) = INTENT.pools
    other = replace(
        blue, name="red", cidr=Prefix.parse("10.9.0.0/24"), encapsulation=two_racks().pools[0].encapsulation
    )
    assert is_in(inner_of(replace(INTENT, pools=(blue, other))).sources, "10.9.0.1")
