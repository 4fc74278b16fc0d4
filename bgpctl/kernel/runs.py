"""
Operations that are alike → their requests, all at once: what encode.py makes of each, in a tenth of the time.

The first request is packed as ever and repeated, and then the words in which the others differ are put in, a column of
numbers at a time. Where operations differ in more than that, they are no run. Generated operations hold both to the
same bytes.

Refuses to know: sockets, sequence numbers, answers.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from bgpctl.core.dataplane.effects import Op, Put
from bgpctl.core.dataplane.ops import RouteOps
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop, Route
from bgpctl.kernel.encode import NHMSG, RTMSG, put, remove
from bgpctl.kernel.netlink import Run

_WORD_BYTES: Final = 4
_WORD_BITS: Final = 32
_WORD_MASK: Final = (1 << _WORD_BITS) - 1
_BITS: Final = {4: 32, 6: 128}
_HEAD_BYTES: Final = 4
"""Of an attribute, before its value."""
_NETWORK_AT: Final = (RTMSG.size + _HEAD_BYTES) // _WORD_BYTES
"""The word with which the value of RTA_DST begins. That of RTA_NH_ID is the last one of a route's request."""
_ID_AT: Final = (NHMSG.size + _HEAD_BYTES) // _WORD_BYTES
"""The word of NHA_ID. That of an IPv4 NHA_GATEWAY is the last one of a next hop's request."""
_NEXT_HOP: Final = Route._fields.index("next_hop") - 1


def run_of(kind: type, ops: Sequence[Op], indexes: Mapping[str, int], *, unset: bool = False) -> Run | None:
    """
    The requests of operations on objects of one kind; None if they have to be packed one by one. `indexes` are the
    interface indexes by the name of a link; `unset` is that of encode.put.
    """
    if kind is Route:
        return _of_routes(ops, unset=unset)
    return _of_next_hops(ops, indexes) if kind is NextHop else None


def _of_routes(ops: Sequence[Op], *, unset: bool) -> Run | None:
    """Routes that differ in their networks, of one length, and in their next-hop objects."""
    routes = ops.routes if isinstance(ops, RouteOps) else cast(list[Route], [op.object for op in ops])
    verbs = (ops.verb,) if isinstance(ops, RouteOps) else tuple(map(type, ops))
    prefixes, *columns = zip(*routes, strict=True)
    versions, networks, lengths = zip(*prefixes, strict=True)
    next_hops = columns[_NEXT_HOP]
    columns[_NEXT_HOP] = tuple(map(bool, next_hops))
    if routes[0].link or not _are_uniform((verbs, versions, lengths, *columns)):
        return None
    is_put = verbs[0] is Put
    request = put(routes[0], 0, unset=unset) if is_put else remove(routes[0], 0)
    words = {_NETWORK_AT + place: column for place, column in enumerate(_network_words(versions[0], networks))}
    if is_put and next_hops[0]:
        words[len(request.body) // _WORD_BYTES - 1] = array("I", next_hops)
    return Run(request, words)


def _of_next_hops(ops: Sequence[Op], indexes: Mapping[str, int]) -> Run | None:
    """Next hops by one link that differ in their ids, and in their IPv4 gateways."""
    hops = cast(list[NextHop], [op.object for op in ops])
    numbers, links, gateways, *flags = zip(*hops, strict=True)
    words = {_ID_AT: array("I", numbers)}
    verbs = tuple(map(type, ops))
    if not _are_uniform((verbs,)):
        return None
    if verbs[0] is not Put:
        return Run(remove(hops[0], 0), words)
    if links[0] not in indexes or not _are_uniform((links, *flags)) or not all(map(_is_ipv4, gateways)):
        return None
    request = put(hops[0], indexes[links[0]])
    words[len(request.body) // _WORD_BYTES - 1] = _big_endian([gateway.value for gateway in gateways])
    return Run(request, words)


def _is_ipv4(gateway: Address | None) -> bool:
    return gateway is not None and gateway.version == 4


def _network_words(version: int, networks: Sequence[int]) -> Iterator[array[int]]:
    """The first ones of all networks, then the second ones."""
    for shift in range(_BITS[version] - _WORD_BITS, -1, -_WORD_BITS):
        yield _big_endian(networks if version == 4 else [network >> shift & _WORD_MASK for network in networks])


def _big_endian(numbers: Sequence[int]) -> array[int]:
    """In network byte order."""
    column = array("I", numbers)
    if sys.byteorder == "little":
        column.byteswap()
    return column


def _are_uniform(columns: Iterable[tuple[object, ...]]) -> bool:
    return all(column.count(column[0]) == len(column) for column in columns)
