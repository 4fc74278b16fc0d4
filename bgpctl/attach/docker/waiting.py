"""
Things that wait for Docker: tried again after a pause, until they are done or given up.

Refuses to know: what they wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiting(Generic[T]):
    """
    Any thread may add; one runs.

    Args:
        attempt: called with all that waits, by key; returns the keys of what is done.
        pause_s: between two attempts.
        given_up_s: after that a thing waits no more, counted from when it was added last.
    """

    def __init__(
        self, attempt: Callable[[Mapping[str, T]], Collection[str]], pause_s: float, given_up_s: float
    ) -> None:
        self._attempt = attempt
        self._pause_s = pause_s
        self._given_up_s = given_up_s
        self._items: dict[str, tuple[T, float]] = {}
        self._changed = threading.Condition()
        self._ended = False

    def add(self, key: str, item: T) -> None:
        """Have it tried from now on, in place of an earlier one of this key."""
        with self._changed:
            self._items[key] = item, time.monotonic() + self._given_up_s
            self._changed.notify_all()

    def end(self) -> None:
        """Have `run` return."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def run(self) -> None:
        """Try, until the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._items)
                if self._ended:
                    return
                tried = dict(self._items)
            done = self._attempt({key: item for key, (item, _) in tried.items()})
            with self._changed:
                for key, waited in tried.items():
                    is_over = key in done or time.monotonic() > waited[1]
                    if is_over and self._items.get(key) is waited:
                        del self._items[key]
                if self._items and not self._ended:
                    self._changed.wait(self._pause_s)
