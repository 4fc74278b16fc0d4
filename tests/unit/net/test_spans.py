"""Spans have the same addresses as the prefixes that they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.spans import Span, spans


def prefixes(*texts: str) -> list[Prefix]:
    return [Prefix.parse(text) for text in texts]


def test_a_pool_without_a_block_is_one_span() -> None:
    (pool, block), parts = prefixes("10.0.0.0/29", "10.0.0.2/31"), prefixes("10.0.0.0/31", "10.0.0.4/30")
    assert spans(parts, 2) == (Span(pool, (block,)),)


def test_two_pools_are_two_spans() -> None:
    assert spans(prefixes("10.0.0.0/24", "192.168.0.0/24"), 2) == tuple(
        map(Span, prefixes("10.0.0.0/24", "192.168.0.0/24"))
    )


def test_where_no_hole_is_allowed_spans_are_prefixes() -> None:
    assert spans(prefixes("10.0.0.0/31", "10.0.0.4/30"), 0) == tuple(map(Span, prefixes("10.0.0.0/31", "10.0.0.4/30")))


def test_no_prefixes_are_no_span() -> None:
    assert spans([], 2) == ()


@given(st.sets(st.integers(0, 63)), st.integers(0, 3), st.sampled_from([(4, 0xFFFFFFC0), (6, (1 << 128) - 64)]))
def test_spans_have_the_same_addresses(hosts: set[int], most_holes: int, network: tuple[int, int]) -> None:
    version, first = network
    addresses = [Address(version, first + host) for host in range(64)]
    found = spans([addresses[host].host_prefix for host in hosts], most_holes)
    assert all(len(item.holes) <= most_holes for item in found)
    inside = [[item for item in found if _is_in(item, address)] for address in addresses]
    assert [len(items) for items in inside] == [host in hosts for host in range(64)]


def _is_in(span: Span, address: Address) -> bool:
    return span.around.holds(address) and not any(hole.holds(address) for hole in span.holes)
