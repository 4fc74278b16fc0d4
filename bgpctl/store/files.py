"""
Files on disk as a medium of changes: replaced as a whole or not at all, the record of the last change beside them.

A record is only believed, and a file only replaced, in a directory in which no other user can write: an agent is root,
and would write for him what he may not.

Refuses to know: what the files mean, what becomes of a change (store/changes.py).
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import stat
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bgpctl import filesystem
from bgpctl.ports import NotPossibleNow
from bgpctl.store.change import Change, Contents, Standing
from bgpctl.store.changes import Medium

log = logging.getLogger("bgpctl.store")

_LONGEST_RECORD_BYTES: Final = 16 * filesystem.LONGEST_BYTES
"""Some files before and after, in JSON."""


class Files(Medium):
    """Some files; the record is a hidden file beside the first one, and so is its lock. Any thread may call."""

    def __init__(self, paths: Sequence[Path]) -> None:
        # A symbolic link stays one: the file that it leads to is replaced.
        self._paths = [_resolved(path) for path in paths]
        self._record = self._paths[0].with_name(f".{self._paths[0].name}.change")
        self._refused: Hashable = None
        self.names = tuple(map(str, self._paths))

    def read(self) -> Contents:
        """Bytes that are no UTF-8 are read as surrogates, and written back as they were."""
        try:
            return tuple(filesystem.read(path).decode("utf-8", "surrogateescape") for path in self._paths)
        except OSError as error:
            raise NotPossibleNow(f"{error.filename} cannot be read: {error.strerror}") from error

    def write(self, contents: Contents) -> None:
        for path, content in zip(self._paths, contents, strict=True):
            replace_file(path, content)

    def last(self) -> Change | None:
        """A record that is damaged, or another user's, is moved aside."""
        try:
            with filesystem.ours(self._record.parent) as directory:
                try:
                    return _change(filesystem.read_ours(directory, self._record.name, _LONGEST_RECORD_BYTES))
                except FileNotFoundError:
                    return None
                except (OSError, ValueError, RecursionError) as error:
                    aside = filesystem.move_aside(directory, self._record.name)
                    log.warning("%s is no record of a change, moved aside to %s: %s", self._record, aside, error)
        except OSError as error:
            self._refuse(error)
        return None

    def _refuse(self, error: OSError) -> None:
        """Log it once for each record."""
        record = self.record_identity()
        if record not in ((), self._refused):
            self._refused = record
            log.warning("%s is not used, so no change can be undone: %s", self._record, error.strerror)

    def remember(self, change: Change) -> None:
        replace_file(self._record, json.dumps(asdict(change)))

    def record_identity(self) -> Hashable:
        """A file that takes another's place has another identity; so has one that is not there."""
        try:
            found = self._record.lstat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ino, found.st_size

    @contextmanager
    def locked(self) -> Iterator[None]:
        """
        Agents of one host wait for each other; the kernel frees the lock of one that is killed.

        It is a file that only its owner can open: a lock of the directory could be taken by each of its readers.
        """
        name = f".{self._paths[0].name}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with filesystem.ours(self._record.parent) as directory:
                handle = os.open(name, flags, 0o600, dir_fd=directory)
        except OSError as error:
            raise NotPossibleNow(f"{self._record.parent} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _resolved(path: Path) -> Path:
    """Links that lead in a circle are found when the file is read."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _change(content: bytes) -> Change:
    """Raises ValueError, RecursionError: it is no record."""
    found = json.loads(content)
    if not isinstance(found, dict) or set(found) != {"before", "after", "boot", "confirm_by_s", "standing"}:
        raise ValueError("it has other keys")
    by_s = found["confirm_by_s"]
    if not isinstance(found["boot"], str) or not (
        by_s is None or (isinstance(by_s, int | float) and math.isfinite(by_s))
    ):
        raise ValueError("its time is none")
    before, after = _contents(found["before"]), _contents(found["after"])
    return Change(before, after, found["boot"], by_s, Standing(found["standing"]))


def _contents(found: Any) -> Contents:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError("its contents are no texts")
    return tuple(found)


def replace_file(path: Path, content: str) -> None:
    """All of it or nothing, also if the power fails; mode and owner stay. Raises NotPossibleNow."""
    try:
        with filesystem.ours(path.parent) as directory:
            before = None
            with suppress(FileNotFoundError):
                before = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
            like = before if before and stat.S_ISREG(before.st_mode) else None
            filesystem.replace(directory, path.name, content.encode("utf-8", "surrogateescape"), like=like)
    except OSError as error:
        raise NotPossibleNow(f"{path} cannot be written: {error.strerror}") from error
