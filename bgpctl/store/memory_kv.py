"""
Keys and values in memory that are read and written as those of an etcd are (etcd/kv.py), for tests.

Refuses to know: the meaning of keys and values.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from bgpctl.store.etcd.kv import Entry, Guard, Listing


class MemoryKv:
    """The keys of one cluster. Any thread may call."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.revision = 1
        self._lock = threading.Lock()

    def read(self, *keys: str) -> Listing:
        """As Kv.read."""
        with self._lock:
            return Listing(self.revision, {key: self.entries[key] for key in keys if key in self.entries})

    def list(self, under: str, through: str = "") -> Listing:
        """As Kv.list."""
        last = through or under
        end = last[:-1] + chr(ord(last[-1]) + 1)
        with self._lock:
            return Listing(
                self.revision, {key: self.entries[key] for key in sorted(self.entries) if under <= key < end}
            )

    def commit(
        self,
        conditions: Mapping[str, int],
        puts: Mapping[str, str],
        removed: Collection[str] = (),
        guards: Collection[Guard] = (),
    ) -> int | None:
        """As Kv.commit."""
        with self._lock:
            if not all(self._revision(key) == revision for key, revision in conditions.items()):
                return None
            if not all(map(self._holds, guards)):
                return None
            self.revision += 1
            for key, value in puts.items():
                created = self.entries[key].created if key in self.entries else self.revision
                self.entries[key] = Entry(value, self.revision, created)
            for key in removed:
                self.entries.pop(key, None)
            return self.revision

    def _revision(self, key: str) -> int:
        return self.entries[key].revision if key in self.entries else 0

    def _holds(self, guard: Guard) -> bool:
        inside = (entry for key, entry in self.entries.items() if guard.first <= key < guard.end)
        return all(entry.revision <= guard.revision for entry in inside)
