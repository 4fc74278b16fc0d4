"""
Errors while an UPDATE is read, as exceptions: how far each one reaches is known where it is found.

Refuses to know: which attribute has which error.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.bgp.wire.message import SessionReset, Treatment

MESSAGE_HEADER: Final = 1
UPDATE: Final = 3
"""Error codes of a NOTIFICATION (RFC 4271, section 4.5); the subcodes of the first, then of the second follow."""
BAD_MESSAGE_LENGTH: Final = 2
MALFORMED_ATTRIBUTE_LIST: Final = 1
UNRECOGNIZED_WELL_KNOWN: Final = 2
OPTIONAL_ATTRIBUTE: Final = 9
INVALID_NETWORK_FIELD: Final = 10

_MOST_DATA: Final = 4096 - 21
"""The octets that a NOTIFICATION has room for."""


class MalformedError(Exception):
    """An attribute cannot be used; the rest of the message can be read."""

    def __init__(self, treatment: Treatment, section: str, reason: str) -> None:
        super().__init__(reason)
        self.treatment, self.section, self.reason = treatment, section, reason


class ResetError(Exception):
    """The message cannot be read, so that the session has to end."""

    def __init__(self, subcode: int, section: str, reason: str, *, code: int = UPDATE, data: bytes = b"") -> None:
        super().__init__(reason)
        self.reset = SessionReset(code, subcode, data[:_MOST_DATA], section, reason)
