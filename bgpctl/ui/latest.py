"""
An answer that takes a while, kept and made anew in a thread of its own while it is asked for.

Refuses to know: the contents of an answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

log = logging.getLogger("bgpctl.ui")

T = TypeVar("T")

_WANTED_S: Final = 15.0
"""It is made anew so long after it was last asked for."""


class Made(NamedTuple, Generic[T]):
    """An answer, or why there is none; `at_s`: when it was made, by a clock that cannot be set."""

    answer: T | None
    error: str | None
    at_s: float


class Latest(Generic[T]):
    """
    Args:
        make: the answer anew. Raises Unanswerable.
        every_s: between two answers; infinite for one that does not change.
        share: of the time, at most, in which answers are made.
    """

    def __init__(self, make: Callable[[], T], every_s: float, share: float = 0.5) -> None:
        self._make = make
        self._every_s = every_s
        self._pauses = 1 / share - 1
        self._lock = threading.Condition()
        self._found: Made[T] | None = None
        self._asked_s = 0.0
        self._due_s = 0.0
        self._runs = False
        self._closed = False

    def get(self, within_s: float) -> Made[T] | None:
        """The last answer; the first one is waited for. None if it is not there in time."""
        with self._lock:
            self._asked_s = time.monotonic()
            if not self._runs and not self._closed and self._is_due():
                self._runs = True
                threading.Thread(target=self._run, name="map", daemon=True).start()
            self._lock.wait_for(lambda: self._found is not None or self._closed, within_s)
            return self._found

    def close(self) -> None:
        """Make none anew."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _is_due(self) -> bool:
        return self._found is None or time.monotonic() >= self._due_s

    def _run(self) -> None:
        while True:
            began_s = time.monotonic()
            made = self._made()
            with self._lock:
                ended_s = time.monotonic()
                self._found = made
                self._due_s = ended_s + max(self._every_s, (ended_s - began_s) * self._pauses)
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._closed, max(0.0, min(self._due_s - ended_s, _WANTED_S)))
                if self._closed or not self._is_due() or time.monotonic() - self._asked_s > _WANTED_S:
                    self._runs = False
                    return

    def _made(self) -> Made[T]:
        try:
            return Made(self._make(), None, time.monotonic())
        except Unanswerable as error:
            return Made(None, str(error), time.monotonic())
        except Exception:
            log.exception("an answer for the map could not be made")
            return Made(
                None, "the answer could not be made: the terminal of bgpctl ui has the reason", time.monotonic()
            )


class Unanswerable(Exception):
    """There is no answer now; the message has the reason."""


class NotPermitted(Unanswerable):
    """The user who serves the map may not ask this."""
