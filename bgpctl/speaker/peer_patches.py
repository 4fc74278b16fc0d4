"""
Patches of ExaBGP 5.0.15 against peers that send too much, or what no peer should. patches.py imports this file, by its
path, and nothing else of ours: it is a part of that program.

Refuses to know: bgpctl, and which peers there are.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator
from typing import Any, Final

_KEEPALIVES: Final = re.compile(rb"(?:\xff{16}\x00\x13\x04)+")
_KEEPALIVE_BYTES: Final = 19
_MESSAGES_A_SECOND: Final = 100
"""From one peer, without UPDATEs and with KEEPALIVEs that follow each other as one. A usual peer sends one or two."""
_SESSIONS: Final = 10
_SESSIONS_WITHIN_S: Final = 10.0
_REST_S: Final = 0.01
"""For the whole loop: what this leaves to ExaBGP is a hundred rounds a second, and each reads 64 KiB of every peer."""
_rested_at_s = 0.0


def patch() -> None:
    """Apply all."""
    for each in (one_refresh_a_second, malformed_opens, keepalives_together, few_messages, few_sessions):
        each()


def one_refresh_a_second() -> None:
    """
    Each ROUTE-REFRESH adds the whole table to what is to be sent, also while it is: a peer that asks all the time gets
    all memory and the processor. Here its requests of one second have one answer, which begins after them.
    """
    from exabgp.rib.outgoing import OutgoingRIB

    pending, reset, resend = OutgoingRIB.pending, OutgoingRIB.reset, OutgoingRIB.resend

    def ask(self: Any, enhanced: bool, family: Any = None) -> None:  # noqa: FBT001 (ExaBGP's)
        for wanted in self.families if family is None else {family} & set(self.families):
            self.refreshes[wanted] = enhanced or self.refreshes.get(wanted, False)

    def pending_or_asked(self: Any) -> bool:
        if self.refreshes and time.monotonic() >= self.refresh_due_s:
            asked, self.refreshes = self.refreshes, {}
            self.refresh_due_s = time.monotonic() + 1
            for family, enhanced in asked.items():
                resend(self, enhanced, family)
        return bool(pending(self))

    def forget(self: Any) -> None:
        self.refreshes, self.refresh_due_s = {}, 0.0
        reset(self)

    OutgoingRIB.resend, OutgoingRIB.pending, OutgoingRIB.reset = ask, pending_or_asked, forget


def malformed_opens() -> None:
    """
    Of an OPEN that ends too early, or has a value that no capability has, the error is one of Python: ExaBGP ends the
    connection without a word, with a traceback in its log. It is answered with a NOTIFICATION (RFC 4271, section 6.2).
    """
    from exabgp.bgp.message.notification import Notify
    from exabgp.bgp.message.open import Open

    unpack = Open.unpack_message

    def unpack_message(_: Any, *args: Any) -> Any:
        try:
            return unpack(*args)
        except (struct.error, LookupError, ValueError, TypeError) as error:
            raise Notify(2, 0, f"malformed OPEN: {error}") from None

    Open.unpack_message = classmethod(unpack_message)


def keepalives_together() -> None:
    """Each KEEPALIVE takes a round of the loop. Of those that have come one after another the last one is read."""
    from exabgp.bgp.message import _NOP
    from exabgp.reactor.protocol import Protocol

    read_message = Protocol.read_message

    def of_the_last(self: Any) -> Iterator[Any]:
        for message in read_message(self):
            # Between two messages; what is unread may begin with the rest of one otherwise.
            if message is not _NOP and self.connection and (found := _KEEPALIVES.match(self.connection.unread)):
                self.connection.unread = self.connection.unread[found.end() - _KEEPALIVE_BYTES :]
            yield message

    Protocol.read_message = of_the_last


def few_messages() -> None:
    """A peer that never stops sending short messages takes a whole processor. Beyond a number the loop rests."""
    from exabgp.bgp.message import Message
    from exabgp.reactor.protocol import Protocol

    read_message, short = Protocol.read_message, {Message.CODE.KEEPALIVE, Message.CODE.ROUTE_REFRESH}

    def with_rests(self: Any) -> Iterator[Any]:
        for message in read_message(self):
            if message.TYPE[0] in short and _is_too_many(self):
                _rest()
            yield message

    Protocol.second, Protocol.messages, Protocol.read_message = 0, 0, with_rests


def _is_too_many(protocol: Any) -> bool:
    second = int(time.monotonic())
    protocol.messages = protocol.messages + 1 if second == protocol.second else 1
    protocol.second = second
    return bool(protocol.messages > _MESSAGES_A_SECOND)


def _rest() -> None:
    """At most half of the time, so that many peers that send too much cost the others no more than one does."""
    global _rested_at_s  # noqa: PLW0603 (one loop)
    if time.monotonic() - _rested_at_s >= _REST_S:
        time.sleep(_REST_S)
        _rested_at_s = time.monotonic()


def few_sessions() -> None:
    """
    A peer that opens a session and closes it, again and again, has all of ExaBGP and makes the agent decide each time.
    Its connections beyond a number are closed, as RFC 4271, section 8.1.1, permits (DampPeerOscillations).
    """
    from exabgp.reactor.peer import Peer

    handle = Peer.handle_connection

    def handle_connection(self: Any, connection: Any) -> Any:
        now_s = time.monotonic()
        self.accepted_s = [at_s for at_s in self.accepted_s if now_s - at_s < _SESSIONS_WITHIN_S]
        if len(self.accepted_s) >= _SESSIONS:
            _rest()
            connection.close()
            return True
        refused = handle(self, connection)
        if not refused:
            self.accepted_s.append(now_s)
        return refused

    Peer.accepted_s, Peer.handle_connection = [], handle_connection
