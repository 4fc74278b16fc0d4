"""
An UPDATE message read as the RFCs say.

Refuses to know: sessions, and what becomes of a route.
"""

from __future__ import annotations

from bgpctl.core.bgp.wire.message import SessionFacts, SessionReset, UpdateMessage


def decode(body: bytes, session: SessionFacts) -> UpdateMessage | SessionReset:
    """
    The meaning of an UPDATE. Never raises, whatever the bytes.

    Args:
        body: the message after its header of 19 octets.
    """
    raise NotImplementedError
