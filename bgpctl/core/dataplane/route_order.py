"""
The order in which the routes of a plan are put or removed.

A borrowed address has to be reachable before the blackhole of the block around it stands, and until that is gone. So
lengths follow one another: the most specific routes are put first and removed last.

Between routes of one length the order has no meaning, and a few are in ascending order, for people. Ascending order is
the worst one for Linux, whose trie (fib_trie.c) splits and halves a node again and again when neighbours come or go one
after the other. Many routes are in the order of their networks read backwards, bit by bit, so that each is as far as
possible from the ones before. 100,000 routes cost the kernel 150 ms to add in ascending order and 480 to delete, so 65 and 85.

Refuses to know: what is done with the routes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Final

from bgpctl.core.net.objects import Route

_MANY: Final = 1000
"""From so many routes on the order is for the kernel."""
_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_BYTES: Final = {4: 4, 6: 16}


def in_order(routes: Collection[Route], *, specific_first: bool) -> Iterator[Route]:
    """All routes, those to the longest prefixes first or last. Depends on their values only."""
    alike: defaultdict[tuple[int, ...], list[Route]] = defaultdict(list)
    for route in routes:
        (version, _, length), _, _, _, _, metric, table, _ = route
        alike[-length if specific_first else length, version, table, metric].append(route)
    key = _ascending if len(routes) < _MANY else _scattered
    for kind in sorted(alike):
        yield from sorted(alike[kind], key=key)


def _ascending(route: Route) -> int:
    return route.prefix.network


def _scattered(route: Route) -> bytes:
    version, network, _ = route.prefix
    return network.to_bytes(_BYTES[version], "little").translate(_REVERSED)
