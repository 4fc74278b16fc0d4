"""
An UPDATE message read as the RFCs say: RFC 4271 with the error handling of RFC 7606.

The bytes are read once, from the outside in: the three fields, the list of attributes, each attribute, the prefixes.
An error costs as little as RFC 7606 permits. It ends the session only if the prefixes that the message announces or
withdraws cannot all be found, since treat-as-withdraw needs them (section 3j). Of several errors the worst counts
(section 3h), so everything is read before anything is decided.

Refuses to know: sessions, loops, policy, and what becomes of a route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from bgpctl.core.bgp.wire import as_path, attribute_list, attributes, multiprotocol
from bgpctl.core.bgp.wire.as_path import AS_TRANS
from bgpctl.core.bgp.wire.attribute_list import MP_REACH_NLRI, MP_UNREACH_NLRI, AttributeList
from bgpctl.core.bgp.wire.attributes import AS_PATH, NEXT_HOP, ORIGIN, Values
from bgpctl.core.bgp.wire.errors import (
    BAD_MESSAGE_LENGTH,
    INVALID_NETWORK_FIELD,
    MALFORMED_ATTRIBUTE_LIST,
    MESSAGE_HEADER,
    MalformedError,
    ResetError,
)
from bgpctl.core.bgp.wire.message import (
    IPV4_UNICAST,
    Announcement,
    Family,
    Fault,
    NextHop,
    Nlri,
    PathAttributes,
    SegmentKind,
    SessionFacts,
    SessionReset,
    Treatment,
    UpdateMessage,
)
from bgpctl.core.bgp.wire.prefixes import BadPrefixError, joined, nlri, without

_HEADER: Final = 19
_LEAST: Final = 4
_MOST: Final = 4096 - _HEADER
_MOST_EXTENDED: Final = 65535 - _HEADER
_END_OF_RIB: Final = bytes(4)
_NOT_NEGOTIATED: Final = "RFC 4760, section 8"


class _Fields(NamedTuple):
    """The three fields of variable length (RFC 4271, section 4.3)."""

    withdrawn: bytes
    attributes: bytes
    announced: bytes


class _Routes(NamedTuple):
    """
    The prefixes of a message, by the field or attribute that they are in; None where it is missing or is ignored.

    Attributes:
        next_hop: that of MP_REACH_NLRI.
        reachable: the message announces at least one prefix, of whatever family.
        faults: prefixes that are ignored, and a next hop of MP_REACH_NLRI that is unusable.
    """

    withdrawn: Nlri | None
    announced: Nlri | None
    mp_withdrawn: Nlri | None
    mp_announced: Nlri | None
    next_hop: NextHop | None
    reachable: bool
    faults: tuple[Fault, ...]

    @property
    def any_announced(self) -> bool:
        return bool(self.announced or (self.mp_announced and self.mp_announced.prefixes))


def decode(body: bytes, session: SessionFacts) -> UpdateMessage | SessionReset:
    """
    The meaning of an UPDATE, or the reason to end the session. Never raises, whatever the bytes.

    Args:
        body: the message after its header of 19 octets.
        session: the one that it came by.
    """
    if body == _END_OF_RIB:
        is_ours = IPV4_UNICAST in session.families
        return UpdateMessage(end_of_rib=IPV4_UNICAST if is_ours else None)
    try:
        return _decoded(_fields(body, session), session)
    except ResetError as error:
        return error.reset


def _decoded(fields: _Fields, session: SessionFacts) -> UpdateMessage:
    listed, found, shared = _attributes(fields.attributes, session)
    routes = _routes(fields, listed, session)
    next_hop, next_hop_faults = _legacy_next_hop(listed, routes)
    faults = (
        *found.faults,
        *routes.faults,
        *next_hop_faults,
        *_missing(listed, routes),
        *_path_faults(found, shared, routes, session),
    )
    _end_if_nothing_can_be_withdrawn(listed, routes, faults)
    end_of_rib = None if faults else _end_of_rib(fields, listed, routes)
    if any(fault.treatment is Treatment.WITHDRAW for fault in faults):
        return UpdateMessage(withdrawn=_withdrawn(_all(routes), ()), faults=faults)
    announced = tuple(_announced(shared, routes, next_hop)) if shared else ()
    withdrawn = _withdrawn((routes.withdrawn, routes.mp_withdrawn), announced)
    return UpdateMessage(announced, withdrawn, end_of_rib, faults)


class _Attributes(NamedTuple):
    """The attributes of a message: cut apart, each by itself, and together."""

    listed: AttributeList
    found: Values
    shared: PathAttributes | None


def _attributes(field: bytes, session: SessionFacts) -> _Attributes:
    """A peer whose table does not pack well sends the same attributes again and again; large ones are rare."""
    return _remembered(field, session) if len(field) <= _REMEMBERED_SIZE else _read(field, session)


def _read(field: bytes, session: SessionFacts) -> _Attributes:
    listed = attribute_list.split(field)
    found = attributes.values(listed, session)
    return _Attributes(listed, found, attributes.path_attributes(found))


_REMEMBERED_SIZE: Final = 256
_remembered: Final = lru_cache(maxsize=1024)(_read)


# Fields --------------------------------------------------------------------------------------------------------


def _fields(body: bytes, session: SessionFacts) -> _Fields:
    size = len(body)
    if not _LEAST <= size <= (_MOST_EXTENDED if session.extended_message else _MOST):
        length = min(size + _HEADER, 0xFFFF)
        raise ResetError(
            BAD_MESSAGE_LENGTH,
            "RFC 4271, section 6.1",
            f"UPDATE of {length} octets",
            code=MESSAGE_HEADER,
            data=length.to_bytes(2, "big"),
        )
    withdrawn_end = 2 + int.from_bytes(body[:2], "big")
    start = withdrawn_end + 2
    end = start + int.from_bytes(body[withdrawn_end:start], "big")
    if start > size or end > size:
        field = "withdrawn routes" if start > size else "path attributes"
        reason = f"the length of the {field} is beyond the message"
        raise ResetError(MALFORMED_ATTRIBUTE_LIST, "RFC 4271, section 6.3", reason)
    return _Fields(body[2:withdrawn_end], body[start:end], body[end:])


def _routes(fields: _Fields, listed: AttributeList, session: SessionFacts) -> _Routes:
    ignored: list[Fault] = []
    reads_legacy = IPV4_UNICAST in session.families
    withdrawn = _legacy(fields.withdrawn, session) if reads_legacy else None
    announced = _legacy(fields.announced, session) if reads_legacy else None
    if not reads_legacy and (fields.withdrawn or fields.announced):
        ignored.append(_ignored(None, IPV4_UNICAST))
    mp_withdrawn, mp_announced, next_hop, reachable = None, None, None, bool(fields.announced)
    if MP_UNREACH_NLRI in listed.found:
        family, mp_withdrawn = multiprotocol.unreachable(listed.found[MP_UNREACH_NLRI], session)
        if mp_withdrawn is None:
            ignored.append(_ignored(MP_UNREACH_NLRI, family))
    if MP_REACH_NLRI in listed.found:
        reach = multiprotocol.reachable(listed.found[MP_REACH_NLRI], session)
        mp_announced, next_hop, reachable = reach.nlri, reach.next_hop, reachable or reach.any
        if mp_announced is None:
            ignored.append(_ignored(MP_REACH_NLRI, reach.family))
        elif next_hop is None:
            ignored.append(_fault(MP_REACH_NLRI, multiprotocol.no_host("the next hop in MP_REACH_NLRI")))
    return _Routes(withdrawn, announced, mp_withdrawn, mp_announced, next_hop, reachable, tuple(ignored))


def _legacy(field: bytes, session: SessionFacts) -> Nlri | None:
    if not field:
        return None
    try:
        return nlri(field, IPV4_UNICAST, add_path=IPV4_UNICAST in session.add_path)
    except BadPrefixError as error:
        raise ResetError(INVALID_NETWORK_FIELD, "RFC 7606, section 5.3", str(error)) from error


def _ignored(code: int | None, family: Family) -> Fault:
    return Fault(Treatment.DISCARD, code, _NOT_NEGOTIATED, f"{family} is not spoken in this session")


def _fault(code: int, error: MalformedError) -> Fault:
    return Fault(error.treatment, code, error.section, error.reason)


# Rules about several attributes --------------------------------------------------------------------------------


def _legacy_next_hop(listed: AttributeList, routes: _Routes) -> tuple[NextHop | None, tuple[Fault, ...]]:
    """NEXT_HOP; beside MP_REACH_NLRI alone it means nothing (RFC 4760, section 3)."""
    raw = listed.found.get(NEXT_HOP)
    if raw is None or not routes.announced:
        return None, ()
    try:
        return multiprotocol.legacy_next_hop(raw.value), ()
    except MalformedError as error:
        return None, (_fault(NEXT_HOP, error),)


def _missing(listed: AttributeList, routes: _Routes) -> Iterator[Fault]:
    """RFC 7606, section 3d; not after a list that is cut off, whose end they may have been in."""
    wanted = [ORIGIN, AS_PATH] if routes.any_announced else []
    wanted += [NEXT_HOP] if routes.announced else []
    for code in wanted:
        if code not in listed.found and not listed.broken:
            name = attributes.KNOWN[code].name
            yield Fault(Treatment.WITHDRAW, code, "RFC 7606, section 3d", f"{name} is missing")


def _path_faults(
    found: Values, shared: PathAttributes | None, routes: _Routes, session: SessionFacts
) -> Iterator[Fault]:
    """An AS path that no such peer may send, although each of its segments can be read."""
    path = found.known.get(AS_PATH, ())
    if not session.confederation:
        if as_path.leads_through_confederation(path):
            yield _path_fault("RFC 5065, section 5", "a segment of a confederation from outside of it")
    elif not session.internal and path and path[0].kind is not SegmentKind.CONFED_SEQUENCE:
        yield _path_fault("RFC 5065, section 5", "no AS_CONFED_SEQUENCE in front, from another Member-AS")
    if shared and session.external and session.first_as_check and routes.any_announced:
        first = as_path.first(shared.as_path)
        if first != session.peer_asn and not (first == AS_TRANS and session.peer_asn > 0xFFFF):
            yield _path_fault("RFC 4271, section 6.3", f"first AS {first}, the peer is AS {session.peer_asn}")


def _path_fault(section: str, reason: str) -> Fault:
    return Fault(Treatment.WITHDRAW, AS_PATH, section, reason)


def _end_if_nothing_can_be_withdrawn(listed: AttributeList, routes: _Routes, faults: Iterable[Fault]) -> None:
    """
    RFC 7606, section 5.2: with an error in its attributes and no prefix to announce, a message may be one whose
    prefixes were not found.
    """
    if routes.reachable or not (listed.found.keys() - {MP_UNREACH_NLRI} or listed.broken):
        return
    for fault in faults:
        if fault.treatment is Treatment.WITHDRAW:
            raise ResetError(MALFORMED_ATTRIBUTE_LIST, "RFC 7606, section 5.2", f"no prefixes, and {fault.reason}")


# Together ------------------------------------------------------------------------------------------------------


def _end_of_rib(fields: _Fields, listed: AttributeList, routes: _Routes) -> Family | None:
    """RFC 4724, section 2: nothing but an MP_UNREACH_NLRI without prefixes."""
    alone = not fields.withdrawn and not fields.announced and listed.found.keys() == {MP_UNREACH_NLRI}
    empty = routes.mp_withdrawn
    return empty.family if alone and empty and not empty.prefixes else None


def _announced(shared: PathAttributes, routes: _Routes, next_hop: NextHop | None) -> Iterator[Announcement]:
    for prefixes, hop in ((routes.announced, next_hop), (routes.mp_announced, routes.next_hop)):
        if prefixes and prefixes.prefixes and hop:
            yield Announcement(shared, hop, prefixes)


def _all(routes: _Routes) -> tuple[Nlri | None, ...]:
    return (routes.withdrawn, routes.mp_withdrawn, routes.announced, routes.mp_announced)


def _withdrawn(parts: Iterable[Nlri | None], announced: Iterable[Announcement]) -> tuple[Nlri, ...]:
    """By family, without the routes that the same message announces (RFC 4271, section 4.3)."""
    found: dict[Family, Nlri] = {}
    for part in parts:
        if part and part.prefixes:
            found[part.family] = joined(found[part.family], part) if part.family in found else part
    for item in announced:
        if item.nlri.family in found:
            found[item.nlri.family] = without(found[item.nlri.family], item.nlri)
    return tuple(part for part in found.values() if part.prefixes)
