"""
The order in which the routes of a plan are put or removed.

A borrowed address has to be reachable before the blackhole of the block around it stands, and until that is gone. So
lengths follow one another: the most specific routes are put first and removed last.

Between routes of one length the order has no meaning, and a few are in ascending order, for people. Ascending order is
the worst one for Linux, whose trie (fib_trie.c) splits and halves a node again and again when neighbours come or go one
after the other. Many routes are in the order of their networks read backwards, bit by bit, so that each is as far as
possible from the ones before. 100,000 routes cost the kernel 150 ms to add in ascending order and 480 to delete, in
this order 65 and 85.

Refuses to know: what is done with the routes.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final, TypeAlias, cast

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import Route

MANY: Final = 1000
"""From so many routes on the order is for the kernel."""
_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_IPV6_BYTES: Final = 16

# In C: there are 100,000 routes.
_PREFIX, _TABLE, _METRIC = (itemgetter(Route._fields.index(name)) for name in ("prefix", "table", "metric"))
_VERSION, _NETWORK, _LENGTH = map(itemgetter, range(len(Prefix._fields)))

_Kind: TypeAlias = tuple[int, int, int, int]
"""Prefix length, IP version, table and metric."""


def in_order(routes: Iterable[Route], *, specific_first: bool) -> list[Route]:
    """All routes, those to the longest prefixes first or last. Depends on their values only."""
    alike = _alike(list(routes))
    is_many = sum(map(len, alike.values())) >= MANY
    found: list[Route] = []
    for kind in sorted(alike, reverse=specific_first):
        some = alike[kind]
        networks = list(map(_NETWORK, map(_PREFIX, some)))
        keys = _backwards(kind[1], networks) if is_many else networks
        found += map(some.__getitem__, sorted(range(len(keys)), key=keys.__getitem__))
    return found


def _alike(routes: list[Route]) -> Mapping[_Kind, list[Route]]:
    prefixes = list(map(_PREFIX, routes))
    fields = (map(_LENGTH, prefixes), map(_VERSION, prefixes), map(_TABLE, routes), map(_METRIC, routes))
    values = [set(field) for field in fields]
    if all(len(found) == 1 for found in values):  # nearly always: four sets take less time than 100,000 tuples
        return {cast(_Kind, tuple(chain.from_iterable(values))): routes}
    alike: defaultdict[_Kind, list[Route]] = defaultdict(list)
    for route in routes:
        version, _, length = route.prefix
        alike[length, version, route.table, route.metric].append(route)
    return alike


def _backwards(version: int, networks: Sequence[int]) -> Sequence[float] | Sequence[bytes]:
    """
    Keys to sort by, which are in the order of the networks read backwards.

    Those of IPv4 are made together, and as floats, which Python compares with the least effort: 32 bits are exact.
    """
    if version == 6:
        return [network.to_bytes(_IPV6_BYTES, "little").translate(_REVERSED) for network in networks]
    turned = array("I", array("I", networks).tobytes().translate(_REVERSED))
    turned.byteswap()
    return array("d", turned).tolist()
