"""
The table of a peer that cannot be asked for it again, as UPDATEs that announce the same. A part of ExaBGP's process, as
patches.py is.

Each prefix is kept with the octets of its attributes, so that an error in them is found again by the reader. Equal
attributes are kept once. An UPDATE whose prefixes cannot be found is kept as it came, and comes last: its reader ends
the session.

Refuses to know: bgpctl, and the meaning of an attribute that has no prefixes in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_HEADER_BYTES: Final = 19
_MARKER: Final = b"\xff" * 16
_UPDATE: Final = 2
_MP_REACH, _MP_UNREACH = 14, 15
_IPV4: Final = b"\0\1\1"
_EXTENDED_LENGTH: Final = 0x10
_OPTIONAL: Final = 0x80
_KINDS: Final = 0xC0
"""Optional and Transitive."""
_PATH_ID_BYTES: Final = 4
_SHORTEST_BYTES: Final = {_MP_REACH: 5, _MP_UNREACH: 3}
_UNUSED: Final = 1000
"""So many attribute lists that no route has any more are kept at most."""
_WITHOUT_PREFIXES: Final = 16
"""So many attribute lists that came without a prefix are kept at most; an error in one may end the session."""
_QUIET_S: Final = 30.0
"""A peer that marks no End-of-RIB has sent its table when it has been quiet for so long, as the agent counts it too."""


class _Route(NamedTuple):
    """`next_hop` is that of MP_REACH_NLRI, with its length; empty for what is announced without."""

    family: bytes
    attributes: bytes
    next_hop: bytes


class KeptTable:
    """
    Args:
        families: those of the session, as AFI and SAFI.
        message_bytes: the longest message of the session.
        add_path: the families in which an identifier of four octets stands before each prefix (RFC 7911).
    """

    def __init__(
        self, families: Iterable[tuple[int, int]], message_bytes: int, add_path: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._families, self._with_ids = list(map(_family, families)), frozenset(map(_family, add_path))
        self._message_bytes = message_bytes
        self._routes: dict[tuple[bytes, bytes], _Route] = {}
        self._shared: dict[_Route, _Route] = {}
        self._ended = False
        self._broken = b""
        self._without_prefixes: set[bytes] = set()
        self._last_s = time.monotonic()

    def take(self, updates: bytes) -> None:
        """Add whole messages. Of those that cannot be cut up the first is kept: nothing more is read after it."""
        self._last_s, at = time.monotonic(), 0
        while at < len(updates):
            size = int.from_bytes(updates[at + 16 : at + 18], "big")
            try:
                self._take(updates[at + _HEADER_BYTES : at + size])
            except (IndexError, ValueError):
                self._broken = self._broken or updates[at : at + size]
            at += size
        if len(self._shared) > _UNUSED + len(self._routes):
            self._forget_unused()

    def _forget_unused(self) -> None:
        self._shared = {route: route for route in self._routes.values()}

    def _take(self, body: bytes) -> None:
        withdrawn, listed, announced = _fields(body)
        others, reach, unreach = _cut(listed)
        if not (withdrawn or announced or reach or others) and len(unreach) in (0, len(_IPV4)):
            self._ended = True
            return
        for family, nlri in ((_IPV4, withdrawn), (unreach[:3], unreach[3:])):
            for prefix in self._prefixes(family, nlri) if family in self._families else ():
                self._routes.pop((family, prefix), None)
        if reach[:3] in self._families:
            hop_end = 4 + reach[3]
            self._put(_Route(reach[:3], others, reach[3:hop_end]), reach[hop_end + 1 :])
        self._put(_Route(_IPV4, others, b""), announced)
        if others and not (announced or reach) and len(self._without_prefixes) < _WITHOUT_PREFIXES:
            self._without_prefixes.add(others)

    def _put(self, route: _Route, nlri: bytes) -> None:
        for prefix in self._prefixes(route.family, nlri):
            self._routes[route.family, prefix] = self._shared.setdefault(route, route)

    def _prefixes(self, family: bytes, nlri: bytes) -> Iterator[bytes]:
        return _prefixes(nlri, _PATH_ID_BYTES if family in self._with_ids else 0)

    def written(self, most_bytes: int) -> Iterator[bytes]:
        """
        UPDATEs that announce the table, at most so many octets together, then the one that cannot be cut up, or
        End-of-RIB if the table is known to be whole.
        """
        by_route: dict[_Route, list[bytes]] = {}
        for (_, prefix), route in self._routes.items():
            by_route.setdefault(route, []).append(prefix)
        ready = b""
        for message in (*self._messages(by_route), *map(_message, sorted(self._without_prefixes))):
            if len(ready) + len(message) > most_bytes:
                yield ready
                ready = b""
            ready += message
        if self._broken:
            ready += self._broken
        elif self._ended or time.monotonic() - self._last_s > _QUIET_S:
            ready += b"".join(map(_end_of_rib, self._families))
        if ready:
            yield ready

    def _messages(self, by_route: dict[_Route, list[bytes]]) -> Iterator[bytes]:
        for route, prefixes in by_route.items():
            head = route.family + route.next_hop + b"\0" if route.next_hop else b""
            beside = _HEADER_BYTES + 4 + len(route.attributes) + (4 + len(head) if head else 0)
            for nlri in _joined(prefixes, self._message_bytes - beside):
                if head:
                    # First (RFC 7606, section 5.1): an attribute that is cut off would swallow what follows.
                    yield _message(_attribute(_MP_REACH, head + nlri) + route.attributes)
                else:
                    yield _message(route.attributes, nlri)


def _fields(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Withdrawn prefixes, attributes, announced prefixes (RFC 4271, section 4.3)."""
    start = 4 + int.from_bytes(body[:2], "big")
    end = start + int.from_bytes(body[start - 2 : start], "big")
    if end > len(body):
        raise ValueError
    return body[2 : start - 2], body[start:end], body[end:]


def _cut(listed: bytes) -> tuple[bytes, bytes, bytes]:
    """
    The attributes without prefixes as they came, and the values of MP_REACH_NLRI and MP_UNREACH_NLRI. What is cut off
    stays as it is. Raises ValueError: one of the two is there twice (RFC 7606, section 3g), too short or flagged wrong.
    """
    others, found, at = b"", dict[int, bytes](), 0
    while at < len(listed):
        header = 4 if listed[at] & _EXTENDED_LENGTH else 3
        end = at + header + int.from_bytes(listed[at + 2 : at + header], "big")
        code = int.from_bytes(listed[at + 1 : at + 2], "big")
        if code in _SHORTEST_BYTES and end <= len(listed):
            found[code] = _of_prefixes(code, listed[at], listed[at + header : end], again=code in found)
        else:
            others += listed[at:end]
        at = end
    return others, found.get(_MP_REACH, b""), found.get(_MP_UNREACH, b"")


def _of_prefixes(code: int, flags: int, value: bytes, *, again: bool) -> bytes:
    is_short = len(value) < _SHORTEST_BYTES[code] or (code == _MP_REACH and len(value) < 5 + value[3])
    if again or is_short or flags & _KINDS != _OPTIONAL:
        raise ValueError
    return value


def _family(pair: tuple[int, int]) -> bytes:
    afi, safi = pair
    return afi.to_bytes(2, "big") + bytes([safi])


def _prefixes(nlri: bytes, id_bytes: int) -> Iterator[bytes]:
    """
    Each with its identifier and its length in front; bits behind the length are cleared, so that equal prefixes are
    equal.
    """
    at = 0
    while at < len(nlri):
        length = nlri[at + id_bytes]
        end = at + id_bytes + 1 + (length + 7 >> 3)
        if end > len(nlri):
            raise ValueError
        spare = -length & 7
        yield nlri[at : end - 1] + bytes([nlri[end - 1] >> spare << spare]) if spare else nlri[at:end]
        at = end


def _joined(prefixes: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    ready = b""
    for prefix in prefixes:
        if ready and len(ready) + len(prefix) > most_bytes:
            yield ready
            ready = b""
        ready += prefix
    yield ready


def _attribute(code: int, value: bytes) -> bytes:
    return bytes([_OPTIONAL | _EXTENDED_LENGTH, code]) + len(value).to_bytes(2, "big") + value


def _end_of_rib(family: bytes) -> bytes:
    return _message(b"" if family == _IPV4 else _attribute(_MP_UNREACH, family))


def _message(attributes: bytes, nlri: bytes = b"") -> bytes:
    body = b"\0\0" + len(attributes).to_bytes(2, "big") + attributes + nlri
    return _MARKER + (_HEADER_BYTES + len(body)).to_bytes(2, "big") + bytes([_UPDATE]) + body
