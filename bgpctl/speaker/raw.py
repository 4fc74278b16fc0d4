"""
UPDATEs as ExaBGP received them, many in a line, and the events that they are (patches.raw_updates).

Refuses to know: how the lines get here, the bytes of an UPDATE (core/bgp/wire), what an event means for routing.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bgpctl.core.bgp.speaker import Malformed, SessionDown, SessionOpened, SessionUp, SpeakerEvent
from bgpctl.core.bgp.wire.events import events
from bgpctl.core.bgp.wire.message import Family, Fault, SessionFacts, SessionReset, Treatment
from bgpctl.core.bgp.wire.update import decode
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.speaker.raw_patches import RAW

PREFIX: Final = f"{RAW} "
_HEADER_BYTES: Final = 19
_SESSIONS: Final = 1024


class Batch(NamedTuple):
    """
    UPDATEs of one session in their order, all that one read brought.

    Attributes:
        counter: ExaBGP's number of the line, as in decode.Received.
        bodies: the messages without their headers.
    """

    peer: Address
    counter: int
    session: SessionFacts
    bodies: tuple[bytes, ...]


def parse(line: str) -> Batch:
    """The batch of a line that begins with PREFIX. Raises ValueError, LookupError or TypeError on any other."""
    _, peer, counter, facts, messages = line.split(" ")
    stream = base64.b64decode(messages)
    return Batch(Address.parse(peer), int(counter), _session(facts), tuple(_bodies(stream)))


def _bodies(stream: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        begin, at = at + _HEADER_BYTES, at + int.from_bytes(stream[at + 16 : at + 18], "big")
        if not begin <= at <= len(stream):
            raise ValueError(f"a message that ends at octet {at} of {len(stream)}")
        yield stream[begin:at]


@lru_cache(_SESSIONS)
def _session(text: str) -> SessionFacts:
    facts: Mapping[str, Any] = json.loads(text)
    local, peer = Asn(int(facts["local_as"])), Asn(int(facts["peer_as"]))
    return SessionFacts(
        local,
        peer,
        internal=local == peer,
        four_octet=facts["four_octet"] is True,
        families=_families(facts["families"]),
        add_path=_families(facts["add_path"]),
        extended_next_hop=_families(facts["next_hop6"]),
        extended_message=facts["extended_message"] is True,
        # Import policy rejects such a route, and shows why.
        first_as_check=False,
    )


def _families(pairs: Sequence[Sequence[int]]) -> frozenset[Family]:
    return frozenset(Family(int(afi), int(safi)) for afi, safi in pairs)


class Reader:
    """
    The events of all batches. Of a session with an error that ends it (RFC 7606, section 3j) nothing more is read: its
    end comes after the NOTIFICATION that we have to send.
    """

    def __init__(self) -> None:
        self._ended: set[Address] = set()

    def read(self, batch: Batch) -> tuple[list[SpeakerEvent], SessionReset | None]:
        """The events of a batch, and the error that ends the session if there is one."""
        found: list[SpeakerEvent] = []
        faults: list[Fault] = []
        for body in batch.bodies if batch.peer not in self._ended else ():
            message = decode(body, batch.session)
            if isinstance(message, SessionReset):
                self._ended.add(batch.peer)
                return [*found, *_malformed(batch.peer, faults)], message
            found += events(batch.peer, message)
            faults += message.faults
        return [*found, *_malformed(batch.peer, faults)], None

    def note(self, event: SpeakerEvent) -> None:
        """An event of ExaBGP's own: another session of the peer is read again."""
        if isinstance(event, SessionOpened | SessionUp | SessionDown):
            self._ended.discard(event.peer)


def _malformed(peer: Address, faults: Sequence[Fault]) -> Iterator[Malformed]:
    """One event for each kind of treatment, with the first reason: a peer can make as many reasons as it likes."""
    first = {fault.treatment: fault for fault in reversed(faults)}
    counts = Counter(fault.treatment for fault in faults)
    for treatment, fault in sorted(first.items()):
        withdrawn = treatment is Treatment.WITHDRAW
        yield Malformed(peer, withdrawn, counts[treatment], f"{fault.reason} ({fault.section})")
