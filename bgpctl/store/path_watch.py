"""
Notices at once that files may have changed: inotify on each directory in which a name leads to one of them.

Who replaces a file puts another one at its name, or another link at a name on the way to it, as the atomic volumes of
Kubernetes do. So the directory is watched and not the file, and the directory of every symbolic link on the way.

A notice is never needed: what inotify cannot report (another host's write to NFS, a directory far above that is
exchanged, no watch left for this user) is found by a caller that also asks from time to time.

Refuses to know: what the files contain, and whether they really differ.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)

# The masks of linux/inotify.h.
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _OVERFLOW, _IGNORED, _ONLYDIR = 0x400, 0x800, 0x4000, 0x8000, 0x1000000
_OF_THE_DIRECTORY: Final = _DELETE_SELF | _MOVE_SELF | _OVERFLOW | _IGNORED
_MASK: Final = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
_EVENT: Final = struct.Struct("iIII")
"""Watch descriptor, mask, cookie, length of the name that follows."""
_BUFFER_BYTES: Final = 1 << 16
_FREE: Final = 8
_PAUSE_S: Final = 0.02
"""The pause after more notices than these about other files in a row: a directory as busy as /tmp costs little."""
_MOST_LINKS: Final = 40
"""As the kernel's MAXSYMLINKS: links that lead in a circle end here."""


class Notice(Enum):
    """A kind of notice, in order of weight."""

    NOTHING = auto()
    TOUCHED = auto()
    """Written in place, made, removed: by now it may be half of what is to come."""
    REPLACED = auto()
    """Something was renamed to a name on the way: it was complete before."""
    CLOSED = auto()


class _Directory(NamedTuple):
    """One that has been exchanged is another one."""

    path: Path
    identity: tuple[int, int] | None


class PathWatch:
    """
    Watches from now on; `stop` may be called by any thread, all else by one at a time.

    Where inotify cannot be had, nothing is noticed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._closing = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inotify = -1
        self._watched: Mapping[_Directory, frozenset[str]] = {}
        self._names: dict[int, frozenset[str]] = {}
        self._in_vain = 0
        self.renew()

    def renew(self) -> None:
        """Watch the directories that are on the way now; if they are others, what happens meanwhile is not noticed."""
        watched = {_identified(directory): names for directory, names in steps(self._paths).items()}
        if self._inotify >= 0 and watched == self._watched:
            return
        self._end()
        self._inotify = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            return
        self._watched = watched
        for directory, names in watched.items():
            watch = _libc.inotify_add_watch(self._inotify, os.fsencode(directory.path), _MASK)
            if watch >= 0:  # two names of one directory have one descriptor
                self._names[watch] = self._names.get(watch, frozenset()) | names

    def wait(self, within_s: float) -> Notice:
        """The weightiest notice of what has happened since the last one, as soon as there is one."""
        ready = self._ready(within_s, self._closing, self._inotify)
        notice = Notice.CLOSED if self._closing in ready else self._noticed() if ready else Notice.NOTHING
        self._in_vain = self._in_vain + 1 if ready and notice is Notice.NOTHING else 0
        if self._in_vain > _FREE and self._ready(_PAUSE_S, self._closing):
            return Notice.CLOSED
        return notice

    def _ready(self, within_s: float, *descriptors: int) -> frozenset[int]:
        poll = select.poll()
        for descriptor in descriptors:
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        return frozenset(descriptor for descriptor, _ in poll.poll(within_s * 1000))

    def stop(self) -> None:
        """End the wait of another thread, for good."""
        os.eventfd_write(self._closing, 1)

    def close(self) -> None:
        """Give the descriptors back."""
        self._end()
        os.close(self._closing)

    def _end(self) -> None:
        if self._inotify >= 0:
            os.close(self._inotify)
        self._inotify, self._watched, self._names = -1, {}, {}

    def _noticed(self) -> Notice:
        masks = 0
        with suppress(BlockingIOError):
            for watch, mask, name in _events(os.read(self._inotify, _BUFFER_BYTES)):
                if mask & _OF_THE_DIRECTORY or name in self._names.get(watch, ()):
                    masks |= mask
        if masks & _OF_THE_DIRECTORY:
            self._watched = {}
            self.renew()
        if masks & _MOVED_TO:
            return Notice.REPLACED
        return Notice.TOUCHED if masks else Notice.NOTHING


def _events(buffer: bytes) -> Iterator[tuple[int, int, str]]:
    at = 0
    while at < len(buffer):
        watch, mask, _, length = _EVENT.unpack_from(buffer, at)
        at += _EVENT.size
        yield watch, mask, os.fsdecode(buffer[at : at + length].rstrip(b"\0"))
        at += length


def _identified(path: Path) -> _Directory:
    try:
        found = path.stat()
    except OSError:
        return _Directory(path, None)
    return _Directory(path, (found.st_dev, found.st_ino))


def steps(paths: Sequence[Path]) -> Mapping[Path, frozenset[str]]:
    """The directories in which a name decides which file a path leads to, and these names: links, and the last one."""
    found: defaultdict[Path, set[str]] = defaultdict(set)
    for path in paths:
        for step in _steps(path.absolute()):
            found[step.parent].add(step.name)
    return {directory: frozenset(names) for directory, names in found.items()}


def _steps(path: Path) -> Iterator[Path]:
    at, left, links = Path("/"), deque(path.parts), 0
    while left and links < _MOST_LINKS:
        step = at / left.popleft()  # the part "/" begins anew
        try:
            target = Path(os.readlink(step))  # noqa: PTH115 (Path.readlink is the same)
        except OSError:  # no link, or nothing at all
            at = Path(os.path.normpath(step))  # all of `at` is without links, so ".." is the directory above
            if not left:
                yield at
        else:
            yield step
            left.extendleft(reversed(target.parts))
            links += 1
