"""
Many rtnetlink messages about routes → nouns, all at once: what decode.py makes of them, in a fraction of the time.

Nearly all messages of one size have the same attributes at the same places. Then each field is a column, which is read
with one strided slice. Where it is not so, decode.py decodes one by one. Generated messages hold both to one result.

Refuses to know: IPv6, gateways of the other IP version, and where a message came from.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import LOCAL_TABLE, Route, RouteType
from bgpctl.kernel import decode
from bgpctl.kernel.decode import Names
from bgpctl.kernel.encode import (
    FAMILY,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_MULTIPATH,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PRIORITY,
    RTA_TABLE,
    RTA_VIA,
    RTMSG,
)
from bgpctl.kernel.netlink import attribute_places

_TOGETHER: Final = 400
"""As many as a datagram of a dump has: one of another form makes so many slow."""
_WORD_BYTES: Final = 4
_USED: Final = frozenset({RTA_TABLE, RTA_DST, RTA_PRIORITY, RTA_NH_ID, RTA_OIF, RTA_GATEWAY})
_PATHS: Final = frozenset({RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA})
_RARE_PATHS: Final = frozenset({RTA_MULTIPATH, RTA_VIA})
_new: Any = tuple.__new__
"""Makes a NamedTuple of all its fields without a call of a Python function for each."""


def routes(bodies: Sequence[bytes], names: Names) -> dict[bytes, Route | None]:
    """By the message body what decode.route makes of it."""
    found: dict[bytes, Route | None] = {}
    for start in range(0, len(bodies), _TOGETHER):
        for some in _by_size(bodies[start : start + _TOGETHER]):
            decoded: Iterable[Route | None] | None = _together(some, names)
            if decoded is None:
                decoded = [decode.route(body, names) for body in some]
            found.update(zip(some, decoded, strict=True))
    return found


def _by_size(bodies: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    if len(set(map(len, bodies))) == 1:
        return (bodies,)
    sizes: defaultdict[int, list[bytes]] = defaultdict(list)
    for body in bodies:
        sizes[len(body)].append(body)
    return sizes.values()


def _together(bodies: Sequence[bytes], names: Names) -> Iterator[Route] | None:
    """None unless all are of one form, and of one that is frequent."""
    form = _form(bodies[0])
    if form is None:
        return None
    columns = _Columns(bodies, form.places)
    return _rows(columns, names) if _is_frequent(columns) and all(map(columns.is_constant, form.heads)) else None


class _Form(NamedTuple):
    """Where attributes begin, and by its type where the value of each is that is used."""

    heads: tuple[int, ...]
    places: Mapping[int, int]


def _form(body: bytes) -> _Form | None:
    if len(body) % _WORD_BYTES:
        return None
    found = attribute_places(body, RTMSG.size)
    used = {kind: place for kind, place, size in found if kind in _USED}
    if len(used) != sum(kind in _USED for kind, _, _ in found):  # one that repeats
        return None
    if any(size != _WORD_BYTES for kind, _, size in found if kind in _USED):
        return None
    kinds = {kind for kind, _, _ in found}
    if RTA_METRICS in kinds:
        return None
    if RTA_NH_ID not in kinds and kinds & _RARE_PATHS:
        return None
    return _Form(tuple(place - _WORD_BYTES for _, place, _ in found), used)


class _Columns:
    """Message bodies of one size, field by field."""

    def __init__(self, bodies: Sequence[bytes], places: Mapping[int, int]) -> None:
        self._packed = b"".join(bodies)
        self._words = array("I", self._packed)
        self._size = len(bodies[0])
        self.places = places
        self.count = len(bodies)

    def octets(self, at: int) -> bytes:
        return self._packed[at :: self._size]

    def words(self, at: int) -> array[int]:
        """In the host's byte order."""
        return self._words[at // _WORD_BYTES :: self._size // _WORD_BYTES]

    def is_constant(self, at: int) -> bool:
        return self.words(at).tobytes() == self._packed[at : at + _WORD_BYTES] * self.count

    def numbers(self, kind: int, default: Iterable[int] | None = None) -> Iterable[int]:
        """The values of an attribute. Where all have the same, it is one object."""
        at = self.places.get(kind)
        if at is None:
            return default if default is not None else repeat(0, self.count)
        values = self.words(at)
        return repeat(values[0], self.count) if self.is_constant(at) else values

    def addresses(self, kind: int) -> Iterable[int]:
        """The values of an attribute in network byte order."""
        if kind not in self.places:
            return repeat(0, self.count)
        values = self.words(self.places[kind])
        if sys.byteorder == "little":
            values.byteswap()
        return values


def _is_frequent(columns: _Columns) -> bool:
    """True of IPv4 routes that are shown, by destination alone, each with its path where it has one."""
    kinds = set(columns.octets(7))
    by_link = RTA_NH_ID not in columns.places and not _PATHS.isdisjoint(columns.places)
    return (
        set(columns.octets(0)) == {FAMILY[4]}
        and not any(columns.octets(2))
        and not any(columns.octets(3))
        and not any(flags & decode.RTM_F_CLONED for flags in set(columns.words(8)))
        and kinds <= ({RouteType.UNICAST} if by_link else decode.SHOWN.keys())
        and LOCAL_TABLE not in set(columns.numbers(RTA_TABLE, columns.octets(4)))
        and 0 not in set(columns.numbers(RTA_NH_ID, (1,)))
    )


def _rows(columns: _Columns, names: Names) -> Iterator[Route]:
    networks, lengths = columns.addresses(RTA_DST), columns.octets(1)
    prefixes = map(_new, repeat(Prefix), zip(repeat(4, columns.count), networks, lengths, strict=True))
    gateways: Iterable[Address | None] = repeat(None, columns.count)
    links: Iterable[str | None] = repeat(None, columns.count)
    if RTA_NH_ID not in columns.places:  # the kernel shows the paths of next-hop objects too
        links = map(names.get, columns.numbers(RTA_OIF))
        if RTA_GATEWAY in columns.places:
            values = columns.addresses(RTA_GATEWAY)
            gateways = map(_new, repeat(Address), zip(repeat(4, columns.count), values, strict=True))
    fields = (
        prefixes,
        map(decode.SHOWN.__getitem__, columns.octets(7)),
        columns.numbers(RTA_NH_ID),
        gateways,
        links,
        columns.numbers(RTA_PRIORITY),
        columns.numbers(RTA_TABLE, columns.octets(4)),
        columns.octets(5),
        repeat(0, columns.count),
    )
    return map(_new, repeat(Route), zip(*fields, strict=True))
