"""
Prefixes in the encoding of RFC 4271, section 4.3: a length in bits, then as many octets as it needs.

They come by the hundred thousand, so the loop is written for speed: a Prefix is made as the tuple that it is, without
the constructor of a NamedTuple.

Refuses to know: the field that they are in, and what a wrong one leads to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from bgpctl.core.bgp.wire.message import Family, Nlri
from bgpctl.core.net.addresses import Prefix

_BITS: Final = {4: 32, 6: 128}
_PATH_ID_SIZE: Final = 4


class BadPrefixError(Exception):
    """The field cannot be read from this prefix on (RFC 7606, section 5.3)."""


def nlri(field: bytes, family: Family, *, add_path: bool) -> Nlri:
    """
    The prefixes of a field, each once; bits behind the length of a prefix mean nothing.

    Args:
        field: the encoded prefixes, without a length in front.
        family: one of UNICAST.
        add_path: a path identifier of four octets stands before each prefix (RFC 7911, section 3).

    Raises:
        BadPrefixError: a prefix is longer than an address, or longer than the rest of the field.
    """
    if not add_path:
        return Nlri(family, tuple(dict.fromkeys(_prefixes(field, family.version))))
    pairs = dict.fromkeys(_with_path_ids(field, family.version))
    return Nlri(family, tuple(prefix for prefix, _ in pairs), tuple(path_id for _, path_id in pairs))


def _prefixes(field: bytes, version: int) -> list[Prefix]:
    found: list[Prefix] = []
    bits, at, end = _BITS[version], 0, len(field)
    new, from_bytes, append = tuple.__new__, int.from_bytes, found.append
    while at < end:
        length = field[at]
        start = at + 1
        at = start + (length + 7 >> 3)
        if length > bits or at > end:
            raise _wrong(length, bits)
        network = from_bytes(field[start:at], "big") >> (-length & 7) << bits - length
        append(new(Prefix, (version, network, length)))
    return found


def _with_path_ids(field: bytes, version: int) -> list[tuple[Prefix, int]]:
    found: list[tuple[Prefix, int]] = []
    bits, at, end = _BITS[version], 0, len(field)
    while at < end:
        if end - at <= _PATH_ID_SIZE:
            raise BadPrefixError("a path identifier goes beyond the field")
        path_id = int.from_bytes(field[at : at + _PATH_ID_SIZE], "big")
        length = field[at + _PATH_ID_SIZE]
        start = at + _PATH_ID_SIZE + 1
        at = start + (length + 7 >> 3)
        if length > bits or at > end:
            raise _wrong(length, bits)
        network = int.from_bytes(field[start:at], "big") >> (-length & 7) << bits - length
        found.append((Prefix(version, network, length), path_id))
    return found


def _wrong(length: int, bits: int) -> BadPrefixError:
    too_long = length > bits
    return BadPrefixError(f"prefix length {length}" if too_long else f"a prefix /{length} goes beyond the field")


# As sets -------------------------------------------------------------------------------------------------------


def joined(one: Nlri, other: Nlri) -> Nlri:
    """The routes of both."""
    return _nlri_of(one, dict.fromkeys((*_routes(one), *_routes(other))))


def without(one: Nlri, other: Nlri) -> Nlri:
    """The routes of `one` that `other` does not have."""
    gone = set(_routes(other))
    return _nlri_of(one, [route for route in _routes(one) if route not in gone])


def _routes(found: Nlri) -> Iterable[Any]:
    """Prefixes, with add-path each with its identifier: two of them make two routes."""
    return zip(found.prefixes, found.path_ids, strict=True) if found.path_ids else found.prefixes


def _nlri_of(like: Nlri, routes: Collection[Any]) -> Nlri:
    if not like.path_ids:
        return Nlri(like.family, tuple(routes))
    return Nlri(like.family, tuple(prefix for prefix, _ in routes), tuple(path_id for _, path_id in routes))
