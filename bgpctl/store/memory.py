"""
An intent in memory, for tests and for labs without files.

Refuses to know: files.
"""

from __future__ import annotations

from collections.abc import Callable

from bgpctl.ports import Loaded, Store


class MemoryStore(Store):
    """Holds what `put` was last given. Watchers are called by the thread that puts."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._watchers: list[Callable[[Loaded], None]] = []

    def put(self, loaded: Loaded) -> None:
        """Replace the content, and tell the watchers if it differs."""
        if loaded != self._loaded:
            self._loaded = loaded
            for changed in tuple(self._watchers):
                changed(loaded)

    def load(self) -> Loaded:
        return self._loaded

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()
