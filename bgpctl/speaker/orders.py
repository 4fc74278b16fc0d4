"""
Orders for a thread that waits in a poll: put by any thread, taken by that one in the order in which they were put.

Refuses to know: the meaning of an order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Orders(Generic[T]):
    """A queue with a file descriptor that is readable while an order waits."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._wake

    def put(self, order: T) -> None:
        self._waiting.append(order)
        os.eventfd_write(self._wake, 1)

    def taken(self) -> Iterator[T]:
        """All that wait; what comes meanwhile too."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._waiting:
            yield self._waiting.popleft()

    def close(self) -> None:
        """Nothing is put any more."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
