"""
Ctrl-C and SIGTERM while a lab is half built or half removed.

Python raises KeyboardInterrupt between any two steps, so that what a step has just made is in no variable yet. While
they are held back, the first one is only noted and raised where the work asks for it; a second one, of a user who does
not want to wait, is raised at once. What is left then has its state directory: `lab list` and `lab down` find it.

Refuses to know: what is built.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Held:
    """True in `noted` once one was received."""

    def __init__(self) -> None:
        self.noted = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals. Raises KeyboardInterrupt if it is not the first."""
        del number, frame
        if self.noted:
            raise KeyboardInterrupt
        self.noted = True

    def check(self) -> None:
        """Raises KeyboardInterrupt if one was received: here everything that was made is known."""
        if self.noted:
            raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """
    Until the end, where one that was received is raised. Signals reach the main thread alone: in another one nothing
    is held back.
    """
    found = Held()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        if before[number] not in {signal.SIG_IGN, None}:
            signal.signal(number, found.note)
    try:
        yield found
    except Exception as error:
        if found.noted:  # a program that we ran got it too, and failed
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    found.check()
