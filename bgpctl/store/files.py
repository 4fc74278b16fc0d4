"""
Files on disk as a medium of changes: replaced as a whole or not at all, the record of the last change beside them.

Refuses to know: what the files mean, what becomes of a change (store/changes.py).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bgpctl.ports import NotPossibleNow
from bgpctl.store.change import Change, Contents, Standing
from bgpctl.store.changes import Medium

log = logging.getLogger("bgpctl.store")


class Files(Medium):
    """Some files; the record is a hidden file beside the first one. Any thread may call."""

    def __init__(self, paths: Sequence[Path]) -> None:
        # A symbolic link stays one: the file that it leads to is replaced.
        self._paths = [path.resolve() for path in paths]
        self._record = self._paths[0].with_name(f".{self._paths[0].name}.change")
        self.names = tuple(map(str, self._paths))

    def read(self) -> Contents:
        """Bytes that are no UTF-8 are read as surrogates, and written back as they were."""
        try:
            return tuple(path.read_bytes().decode("utf-8", "surrogateescape") for path in self._paths)
        except OSError as error:
            raise NotPossibleNow(f"{error.filename} cannot be read: {error.strerror}") from error

    def write(self, contents: Contents) -> None:
        for path, content in zip(self._paths, contents, strict=True):
            replace_file(path, content)

    def last(self) -> Change | None:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            contents = {"before": tuple(found["before"]), "after": tuple(found["after"])}
            return Change(**{**found, **contents, "standing": Standing(found["standing"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read, so no change can be undone: %s", self._record, error)
            return None

    def remember(self, change: Change) -> None:
        replace_file(self._record, json.dumps(asdict(change)))

    def record_identity(self) -> Hashable:
        """A file that takes another's place has another identity; so has one that is not there."""
        try:
            stat = self._record.stat()
        except OSError:
            return ()
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Agents of one host wait for each other; the kernel frees the lock of one that is killed."""
        try:
            directory = os.open(self._record.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise NotPossibleNow(f"{self._record.parent} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)


def replace_file(path: Path, content: str) -> None:
    """All of it or nothing, also if the power fails. Raises NotPossibleNow."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as file:
            if path.exists():
                stat = path.stat()
                os.fchmod(file.fileno(), stat.st_mode)
                os.fchown(file.fileno(), stat.st_uid, stat.st_gid)
            else:
                os.fchmod(file.fileno(), 0o600)
            file.write(content.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise NotPossibleNow(f"{path} cannot be written: {error.strerror}") from error
