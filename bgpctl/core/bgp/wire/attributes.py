"""
The meaning of each path attribute, in one table: its flags, its value, and what a wrong one costs.

An attribute is checked in this order: whether it counts in this session at all (LOCAL_PREF of an external peer does
not), its flags (RFC 7606, section 3c), its value. One without a row is optional, or the peer expects what no
implementation of BGP-4 knows.

Refuses to know: prefixes and next hops (multiprotocol.py), and which attributes have to be there (update.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bgpctl.core.bgp.path import RawAttribute
from bgpctl.core.bgp.wire import as_path
from bgpctl.core.bgp.wire.as_path import AS_TRANS
from bgpctl.core.bgp.wire.attribute_list import (
    MP_REACH_NLRI,
    MP_UNREACH_NLRI,
    OPTIONAL,
    PARTIAL,
    TRANSITIVE,
    AttributeList,
    encoded,
)
from bgpctl.core.bgp.wire.errors import UNRECOGNIZED_WELL_KNOWN, MalformedError, ResetError
from bgpctl.core.bgp.wire.message import (
    Aggregator,
    Fault,
    PathAttributes,
    Segment,
    SessionFacts,
    Treatment,
)
from bgpctl.core.net.addresses import Address, Asn

ORIGIN: Final = 1
AS_PATH: Final = 2
NEXT_HOP: Final = 3
MED: Final = 4
LOCAL_PREF: Final = 5
ATOMIC_AGGREGATE: Final = 6
AGGREGATOR: Final = 7
COMMUNITY: Final = 8
ORIGINATOR_ID: Final = 9
CLUSTER_LIST: Final = 10
EXTENDED_COMMUNITIES: Final = 16
AS4_PATH: Final = 17
AS4_AGGREGATOR: Final = 18
LARGE_COMMUNITY: Final = 32
ONLY_TO_CUSTOMER: Final = 35

ORIGINS: Final = ("igp", "egp", "incomplete")

Reader = Callable[[bytes, SessionFacts], Any]


class Known(NamedTuple):
    """
    An attribute that is understood.

    Attributes:
        flags: the Optional and Transitive bits that it has to have.
        read: its value; raises MalformedError. None of a next hop, which is read with the prefixes.
    """

    name: str
    flags: int
    read: Reader | None


class Values(NamedTuple):
    """The values of the attributes that count, by code, and what is wrong with the list and with them."""

    known: dict[int, Any]
    others: tuple[RawAttribute, ...]
    partial: frozenset[int]
    faults: list[Fault]


# Values --------------------------------------------------------------------------------------------------------


def _origin(value: bytes, _: SessionFacts) -> str:
    if len(value) != 1 or value[0] >= len(ORIGINS):
        raise MalformedError(Treatment.WITHDRAW, "RFC 7606, section 7.1", f"ORIGIN {value[:8].hex() or 'empty'}")
    return ORIGINS[value[0]]


def _as_path(value: bytes, session: SessionFacts) -> tuple[Segment, ...]:
    return as_path.segments(value, 4 if session.four_octet else 2)


def _as4_path(value: bytes, _: SessionFacts) -> tuple[Segment, ...]:
    """RFC 6793, section 6: a malformed one is discarded, and the parts of a confederation in it are."""
    try:
        path = as_path.segments(value, 4)
    except MalformedError as error:
        raise MalformedError(Treatment.DISCARD, "RFC 6793, section 6", f"AS4_PATH: {error.reason}") from error
    if not path:
        raise MalformedError(Treatment.DISCARD, "RFC 6793, section 6", "AS4_PATH is empty")
    return as_path.without_confederation(path)


def _number(name: str, section: str, treatment: Treatment = Treatment.WITHDRAW) -> Reader:
    """Four octets."""

    def read(value: bytes, _: SessionFacts) -> int:
        return int.from_bytes(_sized(name, value, 4, section, treatment), "big")

    return read


def _originator(value: bytes, _: SessionFacts) -> Address:
    return Address(4, int.from_bytes(_sized("ORIGINATOR_ID", value, 4, "RFC 7606, section 7.9"), "big"))


def _atomic_aggregate(value: bytes, _: SessionFacts) -> bool:
    _sized("ATOMIC_AGGREGATE", value, 0, "RFC 7606, section 7.6", Treatment.DISCARD)
    return True


def _aggregator(value: bytes, session: SessionFacts) -> Aggregator:
    return _aggregator_of("AGGREGATOR", value, 4 if session.four_octet else 2, "RFC 7606, section 7.7")


def _as4_aggregator(value: bytes, _: SessionFacts) -> Aggregator:
    return _aggregator_of("AS4_AGGREGATOR", value, 4, "RFC 6793, section 6")


def _aggregator_of(name: str, value: bytes, asn_size: int, section: str) -> Aggregator:
    _sized(name, value, asn_size + 4, section, Treatment.DISCARD)
    asn = int.from_bytes(value[:asn_size], "big")
    if asn == 0:
        raise MalformedError(Treatment.DISCARD, "RFC 7607, section 2", f"AS 0 in {name}")
    return Aggregator(Asn(asn), Address(4, int.from_bytes(value[asn_size:], "big")))


def _cluster_list(value: bytes, _: SessionFacts) -> tuple[Address, ...]:
    count = _items("CLUSTER_LIST", value, 4, "RFC 7606, section 7.10")
    return tuple(Address(4, identifier) for identifier in struct.unpack(f"!{count}I", value))


def _communities(value: bytes, _: SessionFacts) -> tuple[tuple[int, ...], ...]:
    _items("COMMUNITY", value, 4, "RFC 7606, section 7.8")
    return tuple(struct.iter_unpack("!HH", value))


def _extended_communities(value: bytes, _: SessionFacts) -> tuple[int, ...]:
    count = _items("EXTENDED COMMUNITIES", value, 8, "RFC 7606, section 7.14")
    return struct.unpack(f"!{count}Q", value)


def _large_communities(value: bytes, _: SessionFacts) -> tuple[tuple[int, ...], ...]:
    """Each once (RFC 8092, section 5)."""
    _items("LARGE_COMMUNITY", value, 12, "RFC 8092, section 6")
    return tuple(dict.fromkeys(struct.iter_unpack("!III", value)))


def _items(name: str, value: bytes, size: int, section: str) -> int:
    """The number of items of this size; at least one."""
    if not value or len(value) % size:
        raise MalformedError(Treatment.WITHDRAW, section, f"{name} of {len(value)} octets, each item has {size}")
    return len(value) // size


def _sized(name: str, value: bytes, size: int, section: str, treatment: Treatment = Treatment.WITHDRAW) -> bytes:
    if len(value) != size:
        raise MalformedError(treatment, section, f"{name} of {len(value)} octets, it has {size}")
    return value


_WELL_KNOWN: Final = TRANSITIVE
_BOTH: Final = OPTIONAL | TRANSITIVE

KNOWN: Final[Mapping[int, Known]] = {
    ORIGIN: Known("ORIGIN", _WELL_KNOWN, _origin),
    AS_PATH: Known("AS_PATH", _WELL_KNOWN, _as_path),
    NEXT_HOP: Known("NEXT_HOP", _WELL_KNOWN, None),
    MED: Known("MULTI_EXIT_DISC", OPTIONAL, _number("MULTI_EXIT_DISC", "RFC 7606, section 7.4")),
    LOCAL_PREF: Known("LOCAL_PREF", _WELL_KNOWN, _number("LOCAL_PREF", "RFC 7606, section 7.5")),
    ATOMIC_AGGREGATE: Known("ATOMIC_AGGREGATE", _WELL_KNOWN, _atomic_aggregate),
    AGGREGATOR: Known("AGGREGATOR", _BOTH, _aggregator),
    COMMUNITY: Known("COMMUNITY", _BOTH, _communities),
    ORIGINATOR_ID: Known("ORIGINATOR_ID", OPTIONAL, _originator),
    CLUSTER_LIST: Known("CLUSTER_LIST", OPTIONAL, _cluster_list),
    EXTENDED_COMMUNITIES: Known("EXTENDED COMMUNITIES", _BOTH, _extended_communities),
    AS4_PATH: Known("AS4_PATH", _BOTH, _as4_path),
    AS4_AGGREGATOR: Known("AS4_AGGREGATOR", _BOTH, _as4_aggregator),
    LARGE_COMMUNITY: Known("LARGE_COMMUNITY", _BOTH, _large_communities),
    ONLY_TO_CUSTOMER: Known("OTC", _BOTH, _number("OTC", "RFC 9234, section 5")),
}

_MULTIPROTOCOL: Final = frozenset({MP_REACH_NLRI, MP_UNREACH_NLRI})
_FROM_EXTERNAL: Final = {
    LOCAL_PREF: "RFC 7606, section 7.5",
    ORIGINATOR_ID: "RFC 7606, section 7.9",
    CLUSTER_LIST: "RFC 7606, section 7.10",
}
_FROM_FOUR_OCTET: Final = {AS4_PATH: "RFC 6793, section 4.1", AS4_AGGREGATOR: "RFC 6793, section 4.1"}


# The list ------------------------------------------------------------------------------------------------------


def values(attributes: AttributeList, session: SessionFacts) -> Values:
    """
    The attributes that count, each by its own rules.

    Raises:
        ResetError: one that has no row claims to be well-known (RFC 4271, section 6.3; RFC 7606 leaves it so).
    """
    known: dict[int, Any] = {}
    others: list[RawAttribute] = []
    faults = list(attributes.faults)
    for code, raw in sorted(attributes.found.items()):
        if code not in KNOWN:
            others += () if code in _MULTIPROTOCOL else _passed_on(raw)
            continue
        value = _remembered(raw, session) if len(raw.value) <= _REMEMBERED_SIZE else _value(raw, session)
        if isinstance(value, Fault):
            faults.append(value)
        elif value is not None:
            known[code] = value
    partial = frozenset(code for code in known if attributes.found[code].flags & PARTIAL)
    return Values(known, tuple(others), partial, faults)


def _value(raw: RawAttribute, session: SessionFacts) -> Any:
    """The value, the fault in it, or None for a next hop."""
    row = KNOWN[raw.code]
    try:
        _check(row, raw, session)
        return None if row.read is None else row.read(raw.value, session)
    except MalformedError as error:
        return Fault(error.treatment, raw.code, error.section, error.reason)


_REMEMBERED_SIZE: Final = 64
"""UPDATEs whose attributes differ do so in one of them; the others are the same again and again."""
_remembered: Final = lru_cache(maxsize=1024)(_value)


def _passed_on(raw: RawAttribute) -> tuple[RawAttribute, ...]:
    """RFC 4271, section 5: a transitive one goes on, with Partial; another one is ignored without a word."""
    if not raw.flags & OPTIONAL:
        reason = f"attribute {raw.code} is unknown and claims to be well-known"
        raise ResetError(UNRECOGNIZED_WELL_KNOWN, "RFC 4271, section 6.3", reason, data=encoded(raw))
    return (raw._replace(flags=raw.flags | PARTIAL),) if raw.flags & TRANSITIVE else ()


def _check(row: Known, raw: RawAttribute, session: SessionFacts) -> None:
    """Raise MalformedError if the attribute does not count in this session, or has wrong flags."""
    if session.external and raw.code in _FROM_EXTERNAL:
        reason = f"{row.name} from an external peer"
        raise MalformedError(Treatment.DISCARD, _FROM_EXTERNAL[raw.code], reason)
    if session.four_octet and raw.code in _FROM_FOUR_OCTET:
        reason = f"{row.name} from a peer with four-octet AS numbers"
        raise MalformedError(Treatment.DISCARD, _FROM_FOUR_OCTET[raw.code], reason)
    if raw.flags & _BOTH != row.flags:
        raise MalformedError(Treatment.WITHDRAW, "RFC 7606, section 3c", f"{row.name} with flags {raw.flags:#04x}")


# Together ------------------------------------------------------------------------------------------------------


def path_attributes(found: Values) -> PathAttributes | None:
    """The attributes as one value; None without ORIGIN or AS_PATH, as where nothing is announced."""
    known = found.known
    if ORIGIN not in known or AS_PATH not in known:
        return None
    aggregator, path = _four_octet(known)
    return PathAttributes(
        origin=known[ORIGIN],
        as_path=path,
        med=known.get(MED),
        local_pref=known.get(LOCAL_PREF),
        communities=(*known.get(COMMUNITY, ()), *known.get(LARGE_COMMUNITY, ())),
        extended=known.get(EXTENDED_COMMUNITIES, ()),
        originator=known.get(ORIGINATOR_ID),
        cluster_list=known.get(CLUSTER_LIST, ()),
        atomic_aggregate=ATOMIC_AGGREGATE in known,
        aggregator=aggregator,
        only_to_customer=known.get(ONLY_TO_CUSTOMER),
        others=found.others,
        partial=found.partial,
    )


def _four_octet(known: Mapping[int, Any]) -> tuple[Aggregator | None, tuple[Segment, ...]]:
    """Aggregator and AS path with AS numbers of four octets (RFC 6793, section 4.2.3)."""
    aggregator: Aggregator | None = known.get(AGGREGATOR)
    as4_aggregator: Aggregator | None = known.get(AS4_AGGREGATOR)
    path: tuple[Segment, ...] = known[AS_PATH]
    if aggregator and as4_aggregator:
        if aggregator.asn != AS_TRANS:  # a two-octet speaker aggregated again and passed the old ones on
            return aggregator, path
        aggregator = as4_aggregator
    as4_path: tuple[Segment, ...] = known.get(AS4_PATH, ())
    return aggregator, as_path.merged(path, as4_path) if as4_path else path
