"""
Files and directories that other users may have had their hands on.

Everything is opened once, and checked as it was opened: a name may lead elsewhere a moment later. The errors are
OSError with words for an operator in `strerror`, as those of the kernel have.

Refuses to know: the contents of files.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

log = logging.getLogger("bgpctl.files")

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "device"),
    (stat.S_ISLNK, "symbolic link"),
)
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_GIVEN: Final = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/(\d{1,4})")
_DIRECTORY: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
LONGEST_BYTES: Final = 16 << 20
"""Of a file that is read as a whole: cluster files of some 100,000 nodes."""


def read(path: Path, longest_bytes: int = LONGEST_BYTES) -> bytes:
    """
    The content of a regular file, which symbolic links may lead to, or of a pipe that is open already, as a shell's
    `<(…)` and /dev/stdin are. Raises OSError.
    """
    if given := _GIVEN.fullmatch(str(path)):
        return _read(os.dup(int(given[1] or 0)), path, longest_bytes, ours=False, given=True)
    try:
        handle = os.open(path, _READ)
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise OSError(errno.EINVAL, "it is no name of a file", str(path)) from error
    return _read(handle, path, longest_bytes, ours=False)


def read_ours(directory: int, name: str, longest_bytes: int = LONGEST_BYTES) -> bytes:
    """The content of a regular file in an open directory, which no other user has made or can write. Raises OSError."""
    return _read(os.open(name, _READ | os.O_NOFOLLOW, dir_fd=directory), Path(name), longest_bytes, ours=True)


def _read(handle: int, path: Path, longest_bytes: int, *, ours: bool, given: bool = False) -> bytes:
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not (given and stat.S_ISFIFO(found.st_mode)):
            _refuse_kind(found, path)
        if ours:
            _refuse_others(found, path)
        content = file.read(longest_bytes + 1) if found.st_size <= longest_bytes else b""
        if found.st_size > longest_bytes or len(content) > longest_bytes:
            raise OSError(errno.EFBIG, f"it has more than {longest_bytes} bytes", str(path))
        return content


def _refuse_kind(found: os.stat_result, path: Path) -> None:
    kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), None)
    if kind:
        raise OSError(errno.EINVAL, f"it is a {kind} and no file", str(path))


def _refuse_others(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise PermissionError(errno.EPERM, f"{path} belongs to another user ({found.st_uid})", str(path))
    if found.st_mode & _OTHERS_WRITE:
        raise PermissionError(errno.EPERM, f"other users can write to {path}", str(path))


@contextmanager
def ours(path: Path) -> Iterator[int]:
    """A directory in which no other user can write, open; no symbolic link. Raises OSError."""
    handle = open_ours(path)
    try:
        yield handle
    finally:
        os.close(handle)


def open_ours(path: Path) -> int:
    """The same, to be closed by the caller."""
    handle = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
    try:
        _refuse_others(os.fstat(handle), path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def replace(
    directory: int, name: str, content: bytes, *, mode: int = 0o600, like: os.stat_result | None = None
) -> None:
    """
    Replace a file in an open directory: all of it or nothing, also if the power fails. It is made anew, so nothing is
    written through a link. Its mode is `mode`; or mode and owner are those of `like`. Raises OSError.
    """
    draft = f".{name.lstrip('.')}.{os.getpid()}.new"
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600, dir_fd=directory), "wb") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode) if like else mode)
            if like:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except OSError:
        with suppress(OSError):
            os.unlink(draft, dir_fd=directory)
        raise


def move_aside(directory: int, name: str) -> str:
    """Rename what is damaged, or no file, in place of what was moved aside before it. The new name. Raises OSError."""
    aside = f"{name}.damaged"
    try:
        os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as error:
        if error.errno not in {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}:
            raise
        aside = f"{name}.damaged.{os.getpid()}"  # what is there is a directory and this is none, or the reverse
        os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
    return aside


def make_room(directory: int, name: str) -> None:
    """Move aside what is at the place of a file, or of a socket, and is neither. Raises OSError."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISSOCK(mode):
        log.warning("%s is no file, and is moved aside to %s", name, move_aside(directory, name))
