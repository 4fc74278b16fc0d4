"""
MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760), and next hops of both kinds.

A family that was not negotiated is not read at all: only what was negotiated says how it is to be read.

Refuses to know: all other attributes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from bgpctl.core.bgp.path import RawAttribute
from bgpctl.core.bgp.wire.attribute_list import OPTIONAL, PARTIAL, encoded
from bgpctl.core.bgp.wire.errors import OPTIONAL_ATTRIBUTE, MalformedError, ResetError
from bgpctl.core.bgp.wire.message import (
    IPV4_UNICAST,
    UNICAST,
    Family,
    NextHop,
    Nlri,
    SessionFacts,
    Treatment,
)
from bgpctl.core.bgp.wire.prefixes import BadPrefixError, nlri
from bgpctl.core.net.addresses import LINK_LOCAL, Address, Prefix

_FAMILY_SIZE: Final = 3
_NO_HOSTS: Final = tuple(map(Prefix.parse, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8")))
"""This network, loopback, multicast and reserved (RFC 1122, section 3.2.1.3; RFC 4291, section 2.5)."""
_NEXT_HOP: Final = "RFC 7606, section 7.3"
_SYNTAX: Final = "RFC 7606, section 5.3"
_REACH: Final = "RFC 7606, section 7.11"


class Reachable(NamedTuple):
    """
    The content of MP_REACH_NLRI.

    Attributes:
        next_hop: None if it is no address of a host.
        nlri: None of a family that is ignored.
        any: there is at least one prefix, of whatever family.
    """

    family: Family
    next_hop: NextHop | None
    nlri: Nlri | None
    any: bool


def _is_read(family: Family, session: SessionFacts) -> bool:
    """True if the family was negotiated and is one that is understood."""
    return family in session.families and family in UNICAST


def reachable(attribute: RawAttribute, session: SessionFacts) -> Reachable:
    """MP_REACH_NLRI (RFC 4760, section 3). Raises ResetError: the prefixes cannot be found."""
    value = attribute.value
    if len(value) < _FAMILY_SIZE + 2:
        raise _unreadable(attribute, _REACH, f"MP_REACH_NLRI of {len(value)} octets")
    family, size = _family(value), value[_FAMILY_SIZE]
    start = _FAMILY_SIZE + 1 + size + 1  # an octet that is reserved follows the next hop
    if start > len(value):
        raise _unreadable(attribute, _REACH, f"MP_REACH_NLRI: a next hop of {size} octets in {len(value)}")
    has_prefixes = start < len(value)
    if not _is_read(family, session):
        return Reachable(family, None, None, has_prefixes)
    _check_flags(attribute)
    if size not in _next_hop_sizes(family, session):
        raise _unreadable(attribute, _REACH, f"MP_REACH_NLRI: {family} with a next hop of {size} octets")
    next_hop = _next_hop(value[_FAMILY_SIZE + 1 : start - 1])
    return Reachable(family, next_hop, _prefixes(attribute, start, family, session), has_prefixes)


def unreachable(attribute: RawAttribute, session: SessionFacts) -> tuple[Family, Nlri | None]:
    """MP_UNREACH_NLRI (RFC 4760, section 4), None of a family that is ignored. Raises ResetError."""
    value = attribute.value
    if len(value) < _FAMILY_SIZE:
        raise _unreadable(attribute, "RFC 7606, section 7.12", f"MP_UNREACH_NLRI of {len(value)} octets")
    family = _family(value)
    if not _is_read(family, session):
        return family, None
    _check_flags(attribute)
    return family, _prefixes(attribute, _FAMILY_SIZE, family, session)


def _check_flags(attribute: RawAttribute) -> None:
    if attribute.flags & ~PARTIAL != OPTIONAL:
        raise _unreadable(attribute, _SYNTAX, f"attribute {attribute.code} with flags {attribute.flags:#04x}")


def _family(value: bytes) -> Family:
    return Family(int.from_bytes(value[:2], "big"), value[2])


def _prefixes(attribute: RawAttribute, start: int, family: Family, session: SessionFacts) -> Nlri:
    try:
        return nlri(attribute.value[start:], family, add_path=family in session.add_path)
    except BadPrefixError as error:
        raise _unreadable(attribute, _SYNTAX, f"{family}: {error}") from error


def _unreadable(attribute: RawAttribute, section: str, reason: str) -> ResetError:
    return ResetError(OPTIONAL_ATTRIBUTE, section, reason, data=encoded(attribute))


# Next hops -----------------------------------------------------------------------------------------------------


def legacy_next_hop(value: bytes) -> NextHop:
    """NEXT_HOP (RFC 4271, section 5.1.3). Raises MalformedError."""
    if len(value) != 4:
        raise MalformedError(Treatment.WITHDRAW, _NEXT_HOP, f"NEXT_HOP of {len(value)} octets, it has 4")
    address = Address(4, int.from_bytes(value, "big"))
    if not _is_host(address):
        raise no_host(f"NEXT_HOP {address}")
    return NextHop(address)


def no_host(reason: str) -> MalformedError:
    """The fault of a next hop that is no address of a host (RFC 4271, section 6.3)."""
    return MalformedError(Treatment.WITHDRAW, _NEXT_HOP, f"{reason} is no address of a host")


def _next_hop_sizes(family: Family, session: SessionFacts) -> tuple[int, ...]:
    if family != IPV4_UNICAST:
        return (16, 32)
    return (4, 16, 32) if family in session.extended_next_hop else (4,)


def _next_hop(value: bytes) -> NextHop | None:
    """
    One address, or a global and a link-local one (RFC 2545, section 3). Some send the unspecified or the link-local
    one in place of a global one that they do not have; a second that is not link-local means nothing.
    """
    if len(value) == 4:
        address = Address(4, int.from_bytes(value, "big"))
        return NextHop(address) if _is_host(address) else None
    address, second = (Address(6, int.from_bytes(part, "big")) for part in (value[:16], value[16:]))
    if not LINK_LOCAL.holds(second):
        return NextHop(address) if _is_host(address) else None
    if LINK_LOCAL.holds(address):
        return NextHop(address)
    if address.value == 0:
        return NextHop(second)
    return NextHop(address, second) if _is_host(address) else None


@lru_cache(1 << 12)  # a peer has few next hops
def _is_host(address: Address) -> bool:
    return not any(network.holds(address) for network in _NO_HOSTS)
