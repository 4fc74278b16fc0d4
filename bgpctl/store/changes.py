"""
Changes of the cluster files that can be taken back, and that take themselves back unless they are confirmed in time.

What was there before is on disk before anything is changed, beside the files, so that neither a killed agent nor a
reboot forgets it; a change that was cut short is taken back. Time is counted by CLOCK_BOOTTIME, which runs while a host
sleeps and which nobody can set; a change that was not confirmed before a reboot is taken back after it.

Refuses to know: what the files mean, what becomes of a change (store/change.py).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, TypeAlias

from bgpctl.store.change import Change, Contents, Standing, Verdict, judge, left_s, taken_back, written

log = logging.getLogger("bgpctl.store")

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_WHY_NOT: Final = {
    Standing.RETURNED: ": nobody confirmed the last change in time, or it was cut short, and it was taken back",
    Standing.OVERTAKEN: ": somebody edited the files since, and that holds",
}

_Identity: TypeAlias = tuple[int, ...]


class NotPossibleNow(Exception):
    """It cannot be done; the message says why, in words for the operator."""


def _boot() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _since_boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Changes:
    """
    The changes of some files, by whichever agent they were made. Any thread may call.

    Attributes:
        paths: of the files.
    """

    def __init__(
        self, paths: Sequence[Path], boot: Callable[[], str] = _boot, now_s: Callable[[], float] = _since_boot_s
    ) -> None:
        # A symbolic link stays one: what it leads to is replaced.
        self.paths = [path.resolve() for path in paths]
        self._record = self.paths[0].with_name(f".{self.paths[0].name}.change")
        self._boot = boot
        self._now_s = now_s
        self._at_rest: _Identity | None = None
        """The last record about which nothing was to be done."""

    def left_s(self) -> float | None:
        """How long the last change waits for its confirmation; None if it does not."""
        change = self._last()
        return left_s(change, self._now_s()) if change and change.standing is Standing.WAITS else None

    def make(self, contents: Contents, within_s: float | None) -> None:
        """
        Put `contents` into the files; unless confirmed within `within_s` seconds they are taken back.

        Raises:
            Impossible: a change waits for its confirmation, the files cannot be written, or there are more or fewer.
        """
        with self._alone():
            self._refuse_second()
            if len(contents) != len(self.paths):
                raise NotPossibleNow(f"this agent reads {len(self.paths)} files: {', '.join(map(str, self.paths))}")
            confirm_by_s = None if within_s is None else self._now_s() + within_s
            change = Change(read(self.paths), contents, self._boot(), confirm_by_s)
            self._remember(change)
            try:
                self._write(contents)
            except NotPossibleNow:
                with suppress(NotPossibleNow):  # as far as it can be: of several files some may have been written
                    self._take_back(change, Standing.RETURNED)
                raise
            self._remember(written(change))

    def confirm(self) -> None:
        """Let the last change stay. Raises Impossible if none waits."""
        with self._alone():
            change = self._last()
            if change is None or change.standing is not Standing.WAITS:
                raise NotPossibleNow(
                    f"nothing waits to be confirmed{_WHY_NOT.get(change.standing, '') if change else ''}"
                )
            self._remember(replace(change, standing=Standing.STAYS))

    def undo(self) -> None:
        """
        Put back what was there before the last change; a second time takes that back.

        Raises:
            Impossible: there was no change, it was taken back by itself, or somebody has edited the files since.
        """
        with self._alone():
            change = self._last()
            if change is None:
                raise NotPossibleNow("nothing was applied yet")
            if change.standing is Standing.RETURNED:
                raise NotPossibleNow(f"nothing to take back{_WHY_NOT[Standing.RETURNED]}")
            if read(self.paths) != change.after:
                raise NotPossibleNow(
                    f"{', '.join(map(str, self.paths))} was edited since; what was applied is not in force"
                )
            self._take_back(change, Standing.STAYS)

    def settle(self) -> None:
        """Take the last change back if it is time to. Cheap while nothing waits."""
        record = _identity(self._record)
        if record == self._at_rest:
            return
        try:
            with self._alone():
                if change := self._last():
                    self._settle(change)
        except NotPossibleNow as error:
            log.warning("what was not confirmed cannot be taken back: %s", error)
        else:
            self._at_rest = record if self.left_s() is None else None

    def _settle(self, change: Change) -> None:
        match judge(change, read(self.paths), self._boot(), self._now_s()):
            case Verdict.RETURN:
                log.warning("a change was not confirmed in time, or cut short: back to what was before")
                self._take_back(change, Standing.RETURNED)
            case Verdict.GIVE_UP:
                log.warning("somebody edited the files: the change that waited to be confirmed is not taken back")
                self._remember(replace(change, standing=Standing.OVERTAKEN))
            case Verdict.NOTHING:
                pass

    def _refuse_second(self) -> None:
        if change := self._last():
            self._settle(change)  # it may have been cut short, or it is over
        if self.left_s() is not None:
            raise NotPossibleNow("another change waits to be confirmed: bgpctl confirm, or bgpctl undo")

    def _take_back(self, change: Change, standing: Standing) -> None:
        """Whoever is killed in between leaves a change that is being written, and that is taken back for good."""
        self._remember(replace(change, standing=Standing.WRITING))
        self._write(change.before)
        self._remember(taken_back(change, self._boot(), standing))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Agents that read the same files, as those of a lab do, wait for each other."""
        try:
            directory = os.open(self._record.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise NotPossibleNow(f"{self._record.parent} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    # Files -----------------------------------------------------------------------------------------------------

    def _last(self) -> Change | None:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            contents = {"before": tuple(found["before"]), "after": tuple(found["after"])}
            return Change(**{**found, **contents, "standing": Standing(found["standing"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read, so no change can be taken back: %s", self._record, error)
            return None

    def _remember(self, change: Change) -> None:
        _replace(self._record, json.dumps(asdict(change)))

    def _write(self, contents: Contents) -> None:
        for path, content in zip(self.paths, contents, strict=True):
            _replace(path, content)


def _identity(path: Path) -> _Identity:
    """A file that takes another's place has another identity; so has one that is not there."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def read(paths: Iterable[Path]) -> Contents:
    """What the files have; bytes that are no UTF-8 as surrogates. Raises Impossible."""
    try:
        return tuple(path.read_bytes().decode("utf-8", "surrogateescape") for path in paths)
    except OSError as error:
        raise NotPossibleNow(f"{error.filename} cannot be read: {error.strerror}") from error


def _replace(path: Path, content: str) -> None:
    """All of it or nothing, also if the power fails. Raises Impossible."""
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
