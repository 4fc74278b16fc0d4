"""
UPDATE messages by chance: right ones, encoded here and not by the code under test, and damaged ones.

Refuses to know: what they mean to a decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

from bgpctl.core.bgp.wire.message import IPV4_UNICAST, IPV6_UNICAST, SessionFacts
from bgpctl.core.net.addresses import Asn, Prefix

US, PEER = Asn(64512), Asn(65001)
AS_TRANS: Final = 23456
BOTH: Final = frozenset({IPV4_UNICAST, IPV6_UNICAST})
EXTERNAL: Final = SessionFacts(US, PEER, internal=False, families=BOTH)
INTERNAL: Final = SessionFacts(US, US, internal=True, families=BOTH)
SESSIONS: Final = (
    EXTERNAL,
    INTERNAL,
    replace(EXTERNAL, four_octet=False),
    replace(INTERNAL, four_octet=False),
    replace(EXTERNAL, extended_next_hop=frozenset({IPV4_UNICAST})),
    replace(EXTERNAL, first_as_check=False),
)

_OPTIONAL, _TRANSITIVE, _PARTIAL, _EXTENDED = 0x80, 0x40, 0x20, 0x10
UNKNOWN: Final = (99, 200, 254)
NOT_TRANSITIVE: Final = 77
"""Type codes that no RFC assigns; the last one is sent without the Transitive flag."""
_EXTENDED_KINDS: Final = tuple(map(bytes.fromhex, ("0002", "0102", "0203", "030c", "4005", "7f01", "8001")))
"""None with a floating point number: of one that is none, ExaBGP makes a withdrawal, against RFC 7606, section 7.14."""
_ASNS: Final = (1, 64496, 64511, 65000, 65535, 65536, 100000, 4200000000)


class Message(NamedTuple):
    """
    A message in its parts.

    Attributes:
        attributes: each one encoded, those with prefixes last.
        prefixes: all that it announces or withdraws.
    """

    withdrawn: bytes
    attributes: tuple[bytes, ...]
    announced: bytes
    prefixes: frozenset[Prefix]

    @property
    def body(self) -> bytes:
        attributes = b"".join(self.attributes)
        lengths = struct.pack("!H", len(self.withdrawn)), struct.pack("!H", len(attributes))
        return lengths[0] + self.withdrawn + lengths[1] + attributes + self.announced


# Right ones ----------------------------------------------------------------------------------------------------


def right(rng: Random, session: SessionFacts) -> Message:
    """A message that no RFC objects to. It announces at least one prefix, in one field or attribute alone."""
    pool = distinct(rng, rng.choice((4, 6)), rng.randint(1, 8))
    cut = rng.randint(1, len(pool))
    announced, withdrawn = pool[:cut], pool[cut:]
    listed = _path_attributes(rng, session)
    rng.shuffle(listed)
    prefixes = frozenset(pool)
    if pool[0].version == 4 and rng.random() < 0.7:
        next_hop = attribute(rng, _TRANSITIVE, 3, bytes([10, 99, 0, rng.randint(1, 250)]))
        return Message(_nlri(rng, withdrawn), (next_hop, *listed), _nlri(rng, announced), prefixes)
    afi = b"\0\1\1" if pool[0].version == 4 else b"\0\2\1"
    hop = _mp_next_hop(rng, session, pool[0].version)
    multiprotocol = [attribute(rng, _OPTIONAL, 14, afi + bytes([len(hop)]) + hop + b"\0" + _nlri(rng, announced))]
    if withdrawn:
        multiprotocol.append(attribute(rng, _OPTIONAL, 15, afi + _nlri(rng, withdrawn)))
    return Message(b"", (*listed, *multiprotocol), b"", prefixes)


def distinct(rng: Random, version: int, count: int) -> list[Prefix]:
    """Prefixes, no two of which are equal."""
    bits = 32 if version == 4 else 128
    found = set()
    for _ in range(count):
        length = rng.choice((0, 1, 7, 8, 9, 16, 23, 24, 25, 31, 32, rng.randint(0, bits), bits))
        found.add(Prefix(version, rng.getrandbits(bits) >> (bits - length) << (bits - length), length))
    return list(found)


def attribute(rng: Random, flags: int, code: int, value: bytes) -> bytes:
    """With a length of two octets where it has to be, and by chance."""
    if len(value) > 255 or rng.random() < 0.1:
        return struct.pack("!BBH", flags | _EXTENDED, code, len(value)) + value
    return struct.pack("!BBB", flags, code, len(value)) + value


def _nlri(rng: Random, prefixes: Iterable[Prefix]) -> bytes:
    """Bits behind the prefix length are set by chance."""
    found = b""
    for version, network, length in prefixes:
        size, bits = (length + 7) // 8, 32 if version == 4 else 128
        octets = bytearray((network >> (bits - 8 * size)).to_bytes(size, "big"))
        if length % 8:
            octets[-1] |= rng.getrandbits(8) >> (length % 8)
        found += bytes([length]) + octets
    return found


def _mp_next_hop(rng: Random, session: SessionFacts, version: int) -> bytes:
    if version == 4 and (IPV4_UNICAST not in session.extended_next_hop or rng.random() < 0.3):
        return bytes([10, 99, 0, rng.randint(1, 250)])
    hop = bytes.fromhex("20010db8") + rng.randbytes(12)
    return hop if rng.random() < 0.6 else hop + bytes.fromhex("fe80000000000000") + rng.randbytes(8)


def _path_attributes(rng: Random, session: SessionFacts) -> list[bytes]:
    found = [attribute(rng, _TRANSITIVE, 1, bytes([rng.randint(0, 2)])), *_as_paths(rng, session)]
    if session.internal:
        found.append(attribute(rng, _TRANSITIVE, 5, rng.randbytes(4)))
    optional = _optional(rng, session)
    return found + rng.sample(optional, rng.randint(0, min(6, len(optional))))


def _optional(rng: Random, session: SessionFacts) -> list[bytes]:
    both = _OPTIONAL | _TRANSITIVE | rng.choice((0, 0, _PARTIAL))
    asn = struct.pack("!I" if session.four_octet else "!H", rng.choice((64496, 65535)))
    found = [
        attribute(rng, _OPTIONAL, 4, rng.randbytes(4)),
        attribute(rng, _TRANSITIVE, 6, b""),
        attribute(rng, both, 7, asn + rng.randbytes(4)),
        attribute(rng, both, 8, rng.randbytes(4 * rng.randint(1, 70))),
        attribute(rng, both, 16, b"".join(rng.choice(_EXTENDED_KINDS) + rng.randbytes(6) for _ in range(3))),
        attribute(rng, both, 32, rng.randbytes(12 * rng.randint(1, 4))),
        *(attribute(rng, both, code, rng.randbytes(rng.choice((0, 3, 300)))) for code in UNKNOWN),
        attribute(rng, _OPTIONAL, NOT_TRANSITIVE, rng.randbytes(2)),
    ]
    if session.internal:
        found += [
            attribute(rng, _OPTIONAL, 9, rng.randbytes(4)),
            attribute(rng, _OPTIONAL, 10, rng.randbytes(4 * rng.randint(1, 3))),
        ]
    return found


def _as_paths(rng: Random, session: SessionFacts) -> list[bytes]:
    """AS_PATH, on a two-octet session with the AS4_PATH that belongs to it."""
    segments = [] if session.internal else [(2, [int(PEER), *_asns(rng)])]
    segments += [(rng.choice((1, 2, 2)), [*_asns(rng), 65000]) for _ in range(rng.randint(0, 2))]
    if session.four_octet:
        return [attribute(rng, _TRANSITIVE, 2, _segments(segments, "I"))]
    found = [attribute(rng, _TRANSITIVE, 2, _segments(segments, "H"))]
    # All segments, or all but the first: a two-octet speaker in front added itself alone.
    later = segments[rng.randint(0, 1) :]
    if any(asn > 0xFFFF for _, asns in later for asn in asns):
        found.append(attribute(rng, _OPTIONAL | _TRANSITIVE, 17, _segments(later, "I")))
    return found


def _asns(rng: Random) -> list[int]:
    return [rng.choice(_ASNS) for _ in range(rng.choice((0, 1, 3, 90)))]


def _segments(segments: Sequence[tuple[int, list[int]]], letter: str) -> bytes:
    found = b""
    for kind, asns in segments:
        fitting = [AS_TRANS if letter == "H" and asn > 0xFFFF else asn for asn in asns]
        found += bytes([kind, len(asns)]) + struct.pack(f"!{len(asns)}{letter}", *fitting)
    return found


# Damaged ones --------------------------------------------------------------------------------------------------

_CODES: Final = (*range(1, 13), *range(16, 23), 25, 26, 32, 35, 40, 128, *UNKNOWN)


def with_wrong_values(rng: Random, message: Message) -> Message:
    """
    One to three attributes with any value and any of the flags that make no unknown one well-known. Every length is
    right, and so is everything that has prefixes in it.
    """
    listed = list(message.attributes)
    for _ in range(rng.randint(1, 3)):
        flags = _OPTIONAL | rng.choice((0, _TRANSITIVE)) | rng.choice((0, 0, _PARTIAL, 0x0F))
        size = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 20, 300))
        wrong = attribute(rng, flags, rng.choice(_CODES), rng.randbytes(size))
        if rng.random() < 0.5:
            listed.insert(rng.randint(0, len(listed)), wrong)
        else:
            place = rng.randrange(len(listed))
            listed[place] = listed[place] if listed[place][1] in (14, 15) else wrong
    return message._replace(attributes=tuple(listed))


def damaged(rng: Random, body: bytes) -> bytes:
    """Octets that are changed, missing, doubled, or put in; anything may come of it."""
    octets = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(octets) + 1)
        match rng.randrange(5):
            case 0:
                octets[at : at + 1] = rng.randbytes(1)
            case 1:
                del octets[at : at + rng.randint(1, 9)]
            case 2:
                octets[at:at] = octets[at : at + rng.randint(1, 30)]
            case 3:
                octets[at:at] = rng.randbytes(rng.randint(1, 9))
            case _:
                octets[at : at + 1] = bytes([rng.choice((0, 1, 2, 14, 15, 0x40, 0x80, 0xFF))])
    return bytes(octets)
