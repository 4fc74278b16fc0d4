"""
The BFD Control packet (RFC 5880, section 4.1): octets to a value and back.

The mandatory section alone: authentication is not spoken, so a packet with the A bit is discarded (section 6.8.6).

Refuses to know: sockets, and what follows from a packet (session.py).
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

_VERSION: Final = 1
_LAYOUT: Final = struct.Struct("!BBBBIIIII")
LENGTH_BYTES: Final = _LAYOUT.size
_POLL: Final = 0x20
_FINAL: Final = 0x10
_INDEPENDENT: Final = 0x08
_AUTHENTICATED: Final = 0x04
_DEMAND: Final = 0x02
_MULTIPOINT: Final = 0x01


class SessionState(enum.IntEnum):
    """The state of one end, with its number on the wire."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diagnostic(enum.IntEnum):
    """Why a session was last left (section 4.1). Numbers that are not assigned are read as NONE."""

    NONE = 0
    TIME_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOR_DOWN = 3
    FORWARDING_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMIN_DOWN = 7
    REVERSE_PATH_DOWN = 8


_DIAGNOSTICS: Final = {member.value: member for member in Diagnostic}


class Malformed(ValueError):
    """A packet that has to be discarded; the message has the rule of section 6.8.6."""


@dataclass(frozen=True, slots=True)
class Packet:
    """
    One BFD Control packet. Intervals in microseconds.

    Attributes:
        independent: the C bit: BFD does not share the fate of its sender's control plane.
        multiplier: of packets that may be lost before the session is down, 1 to 255.
        mine, yours: the discriminators of its sender and of its receiver; `yours` is 0 while it is not known.
        tx_us: the shortest interval at which its sender would like to send.
        rx_us: the shortest interval at which its sender can receive; 0: it does not want packets.
        echo_us: the same for Echo packets; 0: none.
    """

    state: SessionState
    diagnostic: Diagnostic
    multiplier: int
    mine: int
    yours: int
    tx_us: int
    rx_us: int
    echo_us: int = 0
    poll: bool = False
    final: bool = False
    independent: bool = False
    demand: bool = False


def encode(packet: Packet) -> bytes:
    """The 24 octets of the packet."""
    flags = (
        (_POLL if packet.poll else 0)
        | (_FINAL if packet.final else 0)
        | (_INDEPENDENT if packet.independent else 0)
        | (_DEMAND if packet.demand else 0)
    )
    return _LAYOUT.pack(
        _VERSION << 5 | packet.diagnostic,
        packet.state << 6 | flags,
        packet.multiplier,
        LENGTH_BYTES,
        packet.mine,
        packet.yours,
        packet.tx_us,
        packet.rx_us,
        packet.echo_us,
    )


def decode(octets: bytes) -> Packet:
    """
    The packet of a UDP payload, with the checks of section 6.8.6 that need no session.

    Raises:
        Malformed: it has to be discarded.
    """
    if len(octets) < LENGTH_BYTES:
        raise Malformed(f"{len(octets)} octets are no packet")
    first, second, multiplier, length, mine, yours, tx_us, rx_us, echo_us = _LAYOUT.unpack_from(octets)
    if first >> 5 != _VERSION:
        raise Malformed(f"version {first >> 5}")
    if not LENGTH_BYTES <= length <= len(octets):
        raise Malformed(f"length {length} in {len(octets)} octets")
    if second & _AUTHENTICATED:
        raise Malformed("authenticated, and no authentication is configured")
    if not multiplier or second & _MULTIPOINT or not mine:
        raise Malformed("detect multiplier 0, multipoint, or discriminator 0")
    state = SessionState(second >> 6)
    if not yours and state not in {SessionState.DOWN, SessionState.ADMIN_DOWN}:
        raise Malformed(f"state {state.name} without our discriminator")
    return Packet(
        state,
        _DIAGNOSTICS.get(first & 0x1F, Diagnostic.NONE),
        multiplier,
        mine,
        yours,
        tx_us,
        rx_us,
        echo_us,
        poll=bool(second & _POLL),
        final=bool(second & _FINAL),
        independent=bool(second & _INDEPENDENT),
        demand=bool(second & _DEMAND),
    )
