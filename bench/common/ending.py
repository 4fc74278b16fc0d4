"""
The end of a benchmark that is interrupted: what it built is taken down.

Refuses to know: what that is.
"""

from __future__ import annotations

import signal


def ends_orderly() -> None:
    """SIGTERM ends the process as Ctrl-C does, through every `finally`; a shell may have had SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
