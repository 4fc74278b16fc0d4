"""
The list of path attributes, cut into its parts (RFC 4271, section 4.3), with the errors that concern the list itself.

Refuses to know: the value of any attribute.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from bgpctl.core.bgp.path import RawAttribute
from bgpctl.core.bgp.wire.errors import MALFORMED_ATTRIBUTE_LIST, ResetError
from bgpctl.core.bgp.wire.message import Fault, Treatment

OPTIONAL: Final = 0x80
TRANSITIVE: Final = 0x40
PARTIAL: Final = 0x20
EXTENDED_LENGTH: Final = 0x10
_KEPT: Final = OPTIONAL | TRANSITIVE | PARTIAL
"""The lower four bits are ignored (RFC 4271, section 4.3)."""

MP_REACH_NLRI: Final = 14
MP_UNREACH_NLRI: Final = 15


class AttributeList(NamedTuple):
    """
    The attributes by type code, as they came.

    Attributes:
        broken: the last attribute goes beyond the list, so that what follows in the message was found by the length of
            the whole list alone.
    """

    found: dict[int, RawAttribute]
    faults: list[Fault]
    broken: bool


def split(field: bytes) -> AttributeList:
    """
    The list of an UPDATE. Of an attribute that is there twice, the first counts (RFC 7606, section 3g).

    Raises:
        ResetError: MP_REACH_NLRI or MP_UNREACH_NLRI is there twice, or is the attribute that is cut off.
    """
    found: dict[int, RawAttribute] = {}
    faults: list[Fault] = []
    at, end = 0, len(field)
    while at < end:
        # Two octets of length if the flags ask for them; at the end of the list there may be none.
        header = 4 if field[at] & EXTENDED_LENGTH else 3
        if at + header > end:
            faults.append(_cut_off(field[at + 1 : at + 2], "the attribute list ends within an attribute's header"))
            return AttributeList(found, faults, broken=True)
        flags, code = field[at] & _KEPT, field[at + 1]
        start = at + header
        at = start + int.from_bytes(field[at + 2 : start], "big")
        if at > end:
            reason = f"attribute {code} of {at - start} octets, {end - start} are left"
            faults.append(_cut_off(field[start - header + 1 : start - header + 2], reason))
            return AttributeList(found, faults, broken=True)
        if code in found:
            faults.append(_second(code))
        else:
            found[code] = RawAttribute(flags, code, field[start:at])
    return AttributeList(found, faults, broken=False)


def _cut_off(code: bytes, reason: str) -> Fault:
    """
    RFC 7606, section 4. Prefixes in an attribute that is cut off cannot be withdrawn, so that section 3j applies.

    Args:
        code: one octet, or none if the list ends before it.
        reason: of the fault.
    """
    if code and code[0] in (MP_REACH_NLRI, MP_UNREACH_NLRI):
        raise ResetError(MALFORMED_ATTRIBUTE_LIST, "RFC 7606, section 3j", reason)
    return Fault(Treatment.WITHDRAW, code[0] if code else None, "RFC 7606, section 4", reason)


def _second(code: int) -> Fault:
    if code in (MP_REACH_NLRI, MP_UNREACH_NLRI):
        raise ResetError(MALFORMED_ATTRIBUTE_LIST, "RFC 7606, section 3g", f"attribute {code} is there twice")
    return Fault(Treatment.DISCARD, code, "RFC 7606, section 3g", f"attribute {code} is there twice, the first counts")


def encoded(attribute: RawAttribute) -> bytes:
    """The attribute as it is sent, with two octets of length only if one is too few."""
    size = len(attribute.value)
    if size > 0xFF:
        return struct.pack("!BBH", attribute.flags | EXTENDED_LENGTH, attribute.code, size) + attribute.value
    return struct.pack("!BBB", attribute.flags, attribute.code, size) + attribute.value
