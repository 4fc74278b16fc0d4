"""
Cluster files on disk as a store: watched, and with changes that can be undone.

Configuration and allocations come from the same files here.

Refuses to know: what the files mean (store/texts.py), what becomes of a change (store/changes.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from bgpctl.core.cluster.problems import Problem
from bgpctl.ports import Clock, Loaded, Proposal, Store
from bgpctl.store.changes import Changes
from bgpctl.store.files import Files
from bgpctl.store.texts import Reader, Texts, contents_of, read_texts

_POLL_EVERY_S: Final = 0.25

_Identity: TypeAlias = tuple[int, ...]


class FileStore(Store):
    """One or more files that make one cluster together. `load` undoes a change that was interrupted."""

    def __init__(self, paths: Sequence[Path], clock: Clock) -> None:
        self._paths = tuple(paths)
        files = Files(paths)
        self._changes = Changes(files, clock, self._understand)
        self.names = files.names
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._texts: Texts = ()
        self._reader = Reader()
        self._understood: tuple[Texts, Loaded] | None = None

    def load(self) -> Loaded:
        self._changes.settle()
        self._texts = read_texts(self._paths)
        return self._understand(self._texts)

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        """Content that the last `load` saw is no change, if there was one; otherwise what is there now."""
        self._texts = self._texts or read_texts(self._paths)
        self._thread = threading.Thread(target=self._poll, args=(changed,), name="store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread:
            self._thread.join()

    def preview(self, proposal: Proposal) -> Loaded:
        return self._understand(contents_of(proposal, self.names))

    def propose(self, proposal: Proposal, confirm_within_s: float | None = None) -> None:
        self._changes.propose(contents_of(proposal, self.names), confirm_within_s)

    def confirm(self) -> None:
        self._changes.confirm()

    def undo(self) -> None:
        self._changes.undo()

    def unconfirmed_s(self) -> float | None:
        return self._changes.left_s()

    def _poll(self, changed: Callable[[Loaded], None]) -> None:
        """
        Polling works for editors, atomic renames, swapped symbolic links and every file system alike.

        A file is read once it was the same for two polls, so that a half-written one is not taken for the whole.
        """
        read_at: tuple[_Identity, ...] | None = None
        before = self._identities()
        while not self._closed.wait(_POLL_EVERY_S):
            self._changes.settle()
            now = self._identities()
            if now == before and now != read_at:
                self._report(changed)
                # What could not be read, for lack of memory or descriptors, is read again although it is the same.
                read_at = None if any(isinstance(text, Problem) for text in self._texts) else now
            before = now

    def _report(self, changed: Callable[[Loaded], None]) -> None:
        texts = read_texts(self._paths)
        if texts != self._texts:
            self._texts = texts
            changed(self._understand(texts))

    def _identities(self) -> tuple[_Identity, ...]:
        return tuple(map(_identity, self._paths))

    def _understand(self, texts: Texts) -> Loaded:
        """The last answer is kept: a proposal is previewed, put in force and noticed as a change right after."""
        last = self._understood
        if last is None or last[0] != texts:
            last = self._understood = (texts, self._reader.understand(self._paths, texts))
        return last[1]


def _identity(path: Path) -> _Identity:
    """Another file, or the same one written to, has another identity; so has one that cannot be read."""
    try:
        stat = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev
