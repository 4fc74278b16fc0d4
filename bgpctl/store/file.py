"""
Cluster files on disk as a store: watched, and with changes that can be undone.

Configuration and allocations come from the same files here.

Refuses to know: what the files mean (store/texts.py), what becomes of a change (store/changes.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from bgpctl.core.cluster.problems import Problem
from bgpctl.ports import Clock, Loaded, Proposal, Store
from bgpctl.store import secrets
from bgpctl.store.changes import Changes
from bgpctl.store.files import Files
from bgpctl.store.path_watch import Notice, PathWatch
from bgpctl.store.texts import Reader, Texts, contents_of, read_texts

_POLL_EVERY_S: Final = 0.25
_STILL_S: Final = 0.24
"""Nothing has happened to a file for so long once it is read: one poll, but for the inaccuracy of clocks."""

_Identity: TypeAlias = tuple[int, ...]


class FileStore(Store):
    """One or more files that make one cluster together. `load` undoes a change that was interrupted."""

    def __init__(self, paths: Sequence[Path], clock: Clock) -> None:
        self._paths = tuple(paths)
        files = Files(paths)
        self._changes = Changes(files, clock, self._understand)
        self.names = files.names
        self._watching: tuple[threading.Thread, PathWatch] | None = None
        self._texts: Texts = ()
        self._reader = Reader()
        self._understood: tuple[Texts, Loaded] | None = None

    def load(self) -> Loaded:
        self._changes.settle()
        self._texts = read_texts(self._paths)
        return self._understand(self._texts)

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        """Content that the last `load` saw is no change, if there was one; otherwise what is there now."""
        watch = PathWatch(self._paths)
        self._texts = self._texts or read_texts(self._paths)
        thread = threading.Thread(target=self._follow, args=(watch, changed), name="store", daemon=True)
        self._watching = thread, watch
        thread.start()

    def close(self) -> None:
        if self._watching:
            thread, watch = self._watching
            watch.stop()
            thread.join()
            watch.close()
            self._watching = None

    def preview(self, proposal: Proposal) -> Loaded:
        return self._understand(contents_of(proposal, self.names))

    def missing(self, proposal: Proposal, files: Collection[str]) -> tuple[Problem, ...]:
        return secrets.missing(self._paths, contents_of(proposal, self.names), files)

    def propose(self, proposal: Proposal, confirm_within_s: float | None = None) -> None:
        self._changes.propose(contents_of(proposal, self.names), confirm_within_s)

    def confirm(self) -> None:
        self._changes.confirm()

    def undo(self) -> None:
        self._changes.undo()

    def unconfirmed_s(self) -> float | None:
        return self._changes.left_s()

    def status(self) -> None:
        return None

    def _follow(self, watch: PathWatch, changed: Callable[[Loaded], None]) -> None:
        """
        Read what was put in place whole at once, and all else once nothing has happened to it for a while.

        A half-written file must not be taken for the whole, nor one of several for all. Polling finds what is not
        noticed, on every file system.
        """
        read_at: tuple[_Identity, ...] | None = None
        before, still_since_s = self._identities(), time.monotonic()
        while (notice := watch.wait(_POLL_EVERY_S)) is not Notice.CLOSED:
            self._changes.settle()
            now, now_s = self._identities(), time.monotonic()
            if notice is Notice.TOUCHED:
                read_at = None  # it may be another text with the size and the time of the one before
            if now != before:
                before, still_since_s = now, now_s
            is_whole = notice is Notice.REPLACED and len(self._paths) == 1
            if now != read_at and (is_whole or now_s - still_since_s >= _STILL_S):
                watch.renew()
                self._report(changed)
                # What could not be read, for lack of memory or descriptors, is read again although it is the same.
                read_at = None if any(isinstance(text, Problem) for text in self._texts) else now

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
