"""
Spans: a prefix without a few smaller ones. Many disjoint prefixes are often one: a pool without a node's own block.

To compare an address with a span takes a mask and a comparison for each of its prefixes; a search among many prefixes
costs ten times as much for each packet (measured in docs/decisions/0023-tunnels-let-members-in.md).

Refuses to know: what the addresses are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Prefix

BITS: Final = {4: 32, 6: 128}


class Span(NamedTuple):
    """All addresses of `around` but those of `holes`, which do not overlap."""

    around: Prefix
    holes: tuple[Prefix, ...] = ()


def spans(prefixes: Iterable[Prefix], most_holes: int) -> tuple[Span, ...]:
    """
    Spans with the same addresses as these prefixes of one IP version, which do not overlap. None has more than
    `most_holes`; a part that would need more is as many spans as it has prefixes.
    """
    return tuple(_spans(sorted(prefixes), most_holes))


def _spans(prefixes: Sequence[Prefix], most_holes: int) -> Iterator[Span]:
    """`prefixes` are sorted."""
    if not prefixes:
        return
    around = _around(prefixes)
    holes = tuple(islice(_holes(around, prefixes), most_holes + 1))
    if len(holes) <= most_holes:
        yield Span(around, holes)
        return
    for half in _halves(around):
        yield from _spans([prefix for prefix in prefixes if half.covers(prefix)], most_holes)


def _around(prefixes: Sequence[Prefix]) -> Prefix:
    """The smallest prefix that covers them all."""
    version, first, _ = prefixes[0]
    last = prefixes[-1].network + prefixes[-1].size - 1
    width = (first ^ last).bit_length()
    return Prefix(version, first >> width << width, BITS[version] - width)


def _holes(around: Prefix, prefixes: Sequence[Prefix]) -> Iterator[Prefix]:
    """All that is in `around` but in none of them."""
    if not prefixes:
        yield around
    elif around != prefixes[0]:
        for half in _halves(around):
            yield from _holes(half, [prefix for prefix in prefixes if half.covers(prefix)])


def _halves(prefix: Prefix) -> tuple[Prefix, Prefix]:
    version, network, length = prefix
    return Prefix(version, network, length + 1), Prefix(version, network + prefix.size // 2, length + 1)
