"""
Patches of ExaBGP 5.0.15 against peers that send too much, or what no peer should. patches.py imports this file, by its
path, and nothing else of ours: it is a part of that program.

Refuses to know: bgpctl, and which peers there are.
"""

from __future__ import annotations

import struct
import time
from typing import Any


def patch() -> None:
    """Apply all."""
    for each in (one_refresh_a_second, malformed_opens):
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
