"""
Changes of the cluster files that can be taken back, and that take themselves back unless they are confirmed in time.

What was there before is on disk before anything is changed, beside the files, so that neither a killed agent nor a
reboot forgets it. Time is counted by CLOCK_BOOTTIME, which runs while a host sleeps and which nobody can set; a change
that was not confirmed before a reboot is taken back after it.

Refuses to know: what the files mean.
"""

from __future__ import annotations

import enum
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

log = logging.getLogger("bgpctl.store")

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Contents: TypeAlias = tuple[str, ...]
"""Of each file; bytes that are no UTF-8 as surrogates."""


class Impossible(Exception):
    """It cannot be done; the message says why, in words for the operator."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    The last change.

    Attributes:
        before, after: the contents of the files.
        boot: the boot of the host, as boot_id has it, in which it was made.
        confirm_by_s: until when it has to be confirmed, in seconds since that boot; None: it stays.
        returned: nobody confirmed it in time.
    """

    before: Contents
    after: Contents
    boot: str
    confirm_by_s: float | None = None
    returned: bool = False


class Verdict(enum.Enum):
    """What becomes of a change."""

    STAYS = "stays"
    WAITS = "waits"
    OVERTAKEN = "overtaken"
    """The files are not what the change made of them: somebody edited them since, and that holds."""
    RETURNS = "returns"


def judge(change: Change, contents: Contents, boot: str, now_s: float) -> Verdict:
    """What becomes of `change` when the files have `contents`, at `now_s` seconds since `boot`."""
    if change.confirm_by_s is None:
        return Verdict.STAYS
    if contents != change.after:
        return Verdict.OVERTAKEN
    is_due = boot != change.boot or now_s >= change.confirm_by_s
    return Verdict.RETURNS if is_due else Verdict.WAITS


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
        self._at_rest_ns: int | None = None
        """When the last record was written that nothing was to be done about."""

    def left_s(self) -> float | None:
        """How long the last change waits for its confirmation; None if it does not."""
        change = self._last()
        if change is None or change.confirm_by_s is None:
            return None
        return max(0.0, change.confirm_by_s - self._now_s())

    def make(self, contents: Contents, within_s: float | None) -> None:
        """
        Put `contents` into the files; unless confirmed within `within_s` seconds they are taken back.

        Raises:
            Impossible: a change waits for its confirmation, the files cannot be written, or there are more or fewer.
        """
        with self._alone():
            self._refuse_second()
            if len(contents) != len(self.paths):
                raise Impossible(f"this agent reads {len(self.paths)} files: {', '.join(map(str, self.paths))}")
            confirm_by_s = None if within_s is None else self._now_s() + within_s
            self._become(Change(read(self.paths), contents, self._boot(), confirm_by_s), contents)

    def confirm(self) -> None:
        """Let the last change stay. Raises Impossible if none waits."""
        with self._alone():
            change = self._last()
            if change is None or change.confirm_by_s is None:
                late = ": nobody confirmed the last change in time, and it was taken back"
                raise Impossible(f"nothing waits to be confirmed{late if change and change.returned else ''}")
            self._remember(replace(change, confirm_by_s=None))

    def undo(self) -> None:
        """
        Put back what was there before the last change; a second time takes that back.

        Raises:
            Impossible: there was no change, or somebody has edited the files since.
        """
        with self._alone():
            change = self._last()
            if change is None:
                raise Impossible("nothing was applied yet")
            if read(self.paths) != change.after:
                raise Impossible(
                    f"{', '.join(map(str, self.paths))} was edited since; what was applied is not in force"
                )
            self._become(Change(change.after, change.before, self._boot()), change.before)

    def settle(self) -> None:
        """Take the last change back if it is time to. Cheap while nothing waits."""
        written = self._written_ns()
        if written == self._at_rest_ns:
            return
        try:
            with self._alone():
                if change := self._last():
                    self._settle(change)
        except Impossible as error:
            log.warning("what was not confirmed cannot be taken back: %s", error)
        else:
            self._at_rest_ns = written if self.left_s() is None else None

    def _settle(self, change: Change) -> None:
        match judge(change, read(self.paths), self._boot(), self._now_s()):
            case Verdict.RETURNS:
                log.warning("nobody confirmed the change in time: back to what was before")
                self._write(change.before)
                self._remember(Change(change.after, change.before, self._boot(), returned=True))
            case Verdict.OVERTAKEN:
                log.warning("somebody edited the files: the change that waited to be confirmed is not taken back")
                self._remember(replace(change, confirm_by_s=None))
            case Verdict.STAYS | Verdict.WAITS:
                pass

    def _refuse_second(self) -> None:
        if change := self._last():
            self._settle(change)  # it may have been cut short, or it is over
        if self.left_s() is not None:
            raise Impossible("another change waits to be confirmed: bgpctl confirm, or bgpctl undo")

    def _become(self, change: Change, contents: Contents) -> None:
        """In this order: whoever is killed in between finds a change that was not made, and leaves the files alone."""
        self._remember(change)
        try:
            self._write(contents)
        except Impossible:
            with suppress(Impossible):  # as far as it can be: of several files some may have been written
                self._write(change.before)
            raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Agents that read the same files, as those of a lab do, wait for each other."""
        try:
            directory = os.open(self._record.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Impossible(f"{self._record.parent} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    # Files -----------------------------------------------------------------------------------------------------

    def _written_ns(self) -> int | None:
        try:
            return self._record.stat().st_mtime_ns
        except OSError:
            return None

    def _last(self) -> Change | None:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            return Change(**{**found, "before": tuple(found["before"]), "after": tuple(found["after"])})
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


def read(paths: Iterable[Path]) -> Contents:
    """What the files have. Raises Impossible."""
    try:
        return tuple(path.read_bytes().decode("utf-8", "surrogateescape") for path in paths)
    except OSError as error:
        raise Impossible(f"{error.filename} cannot be read: {error.strerror}") from error


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
        raise Impossible(f"{path} cannot be written: {error.strerror}") from error
