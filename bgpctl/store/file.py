"""
Cluster files on disk, watched.

Refuses to know: what the files mean; the intent room tells.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent import read
from bgpctl.core.intent.tree import Tree
from bgpctl.ports import Loaded, Store
from bgpctl.store.changes import Changes
from bgpctl.store.yaml import BadYaml, documents

_LOOK_EVERY_S: Final = 0.25

_Identity: TypeAlias = tuple[int, ...]


class FileStore(Store):
    """
    One or more files that make one cluster together.

    Args:
        changes: of these files; the store sees to it that they are taken back in time.
    """

    def __init__(self, paths: Sequence[Path], changes: Changes | None = None) -> None:
        self._paths = tuple(paths)
        self._changes = changes
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._texts: tuple[str | Problem, ...] = ()

    def load(self) -> Loaded:
        self._settle()
        self._texts = self._read()
        return self.understand(self._texts)

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        """What the last `load` saw is no change, if there was one; otherwise what is there now."""
        self._texts = self._texts or self._read()
        self._thread = threading.Thread(target=self._poll, args=(changed,), name="store", daemon=True)
        self._thread.start()

    @property
    def texts(self) -> tuple[str, ...]:
        """What the files said when they were last read; nothing of those that could not be."""
        return tuple(text for text in self._texts if isinstance(text, str))

    def close(self) -> None:
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _poll(self, changed: Callable[[Loaded], None]) -> None:
        """
        Polling works for editors, atomic renames, swapped symbolic links and every file system alike.

        A file is read once it was the same for two looks, so that a half-written one is not taken for the whole.
        """
        read_at: tuple[_Identity, ...] | None = None
        before = self._identities()
        while not self._closed.wait(_LOOK_EVERY_S):
            self._settle()
            now = self._identities()
            if now == before and now != read_at:
                read_at = now
                self._tell(changed)
            before = now

    def _tell(self, changed: Callable[[Loaded], None]) -> None:
        texts = self._read()
        if texts != self._texts:
            self._texts = texts
            changed(self.understand(texts))

    def _identities(self) -> tuple[_Identity, ...]:
        return tuple(map(_identity, self._paths))

    def _read(self) -> tuple[str | Problem, ...]:
        return tuple(map(_text, self._paths))

    def _settle(self) -> None:
        if self._changes:
            self._changes.settle()

    def understand(self, texts: Sequence[str | Problem]) -> Loaded:
        """What it would mean if the files had these contents."""
        trees: list[Tree] = []
        problems: list[Problem] = []
        for path, text in zip(self._paths, texts, strict=True):
            if isinstance(text, Problem):
                problems.append(text)
                continue
            try:
                trees += documents(text, str(path))
            except BadYaml as bad:
                problems.append(bad.problem)
        # With a file that cannot be read, the rest would only look wrong.
        return tuple(sorted(problems)) or read(trees)


def _identity(path: Path) -> _Identity:
    """Another file, or the same one written to, has another identity; so has one that cannot be looked at."""
    try:
        stat = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev


def _text(path: Path) -> str | Problem:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Problem(Place(str(path), 1, 1), "", f"cannot be read: {error.strerror}", "unreadable")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = content.count(b"\n", 0, error.start) + 1, error.start - content.rfind(b"\n", 0, error.start)
        return Problem(Place(str(path), line, column), "", f"is not UTF-8 text: {error.reason}", "unreadable")
