"""
The refusal of the join service, for the one who asked.

Refuses to know: everything else.
"""

from __future__ import annotations


class JoinRefused(Exception):
    """It is not done; the message says why, and what to do."""
