"""
The end of a benchmark that is interrupted: what it built is taken down.

Refuses to know: what that is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


def ends_orderly() -> None:
    """SIGTERM ends the process as Ctrl-C does, through every `finally`; a shell may have had SIGINT ignored."""
    for number in _NUMBERS:
        signal.signal(number, signal.default_int_handler)


@contextmanager
def finishing() -> Iterator[None]:
    """An interruption waits for the end of the block, which takes something down. In the main thread only."""
    waiting: list[int] = []
    former = {number: signal.signal(number, lambda number, _: waiting.append(number)) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if waiting:
            raise KeyboardInterrupt
