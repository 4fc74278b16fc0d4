"""
One answer for all who ask within a time, so that its cost does not grow with their number.

Refuses to know: answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Recent:
    """
    Any thread may call. One that asks while an answer is made waits for it; a failure is that of its asker alone.

    Args:
        keep_s: so old an answer may be.
        now_s: of a clock that cannot be set.
    """

    def __init__(self, keep_s: float, now_s: Callable[[], float]) -> None:
        self._keep_s = keep_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._kept: tuple[float, dict[str, Any]] | None = None

    def get(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The last answer, or another one if that began to be made longer ago than it may be kept."""
        with self._lock:
            now_s = self._now_s()
            if self._kept is None or now_s - self._kept[0] > self._keep_s:
                self._kept = None  # the memory of a large one is free before the next is made
                self._kept = (now_s, make())
            return self._kept[1]

    def expire(self) -> None:
        """Free the last answer if it is too old to be given. Never waits."""
        if self._lock.acquire(blocking=False):
            try:
                if self._kept and self._now_s() - self._kept[0] > self._keep_s:
                    self._kept = None
            finally:
                self._lock.release()
