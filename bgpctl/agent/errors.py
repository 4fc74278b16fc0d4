"""
Questions that have no answer.

Refuses to know: how they got here.
"""

from __future__ import annotations


class Unknown(Exception):
    """There is no such view or verb."""


class BadRequest(Exception):
    """The request is malformed; the message has the reason, for the operator."""


class NotNow(BadRequest):
    """The request is well formed, and cannot be met as things are now."""
