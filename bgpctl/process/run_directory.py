"""
An agent's run directory: its lock, its socket's place, the files that it writes.

One agent per network namespace and per run directory: two would undo each other's work for ever.

Refuses to know: what an agent does, what its files contain.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bgpctl.ports import AlreadyRunning, RunDirectory, Unavailable

LONGEST_PATH_BYTES: Final = 107 - len("/bridge.sock")
"""The address of a unix socket has 107 bytes at most (unix(7)); this is the speaker's, the longest in there."""
_NAME: Final = "\0bgpctl-agent"
"""In the abstract namespace of unix(7), of which every network namespace has one of its own; it ends with its owner."""
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""


def fits(path: Path) -> bool:
    """True if sockets can have addresses in there."""
    return len(os.fsencode(path)) <= LONGEST_PATH_BYTES


class DiskRunDirectory(RunDirectory):
    """One on disk, usually a tmpfs; `hold` makes it if it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def hold(self) -> Iterator[None]:
        handle = _open(self._path)
        try:
            with socket.socket(socket.AF_UNIX) as name:
                _hold_namespace(name)
                _lock(handle, self._path)
                yield
        finally:
            os.close(handle)

    def write(self, name: str, content: bytes) -> str:
        file = self._path / name
        fresh = file.with_name(f".{name}.new")
        try:
            fresh.unlink(missing_ok=True)
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.replace(file)
        except OSError as error:
            raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
        return str(file)


def _open(path: Path) -> int:
    hint = "choose one with --run-dir"
    if not fits(path.absolute()):
        too_long = f"its path has more than {LONGEST_PATH_BYTES} bytes"
        raise Unavailable(f"cannot use the run directory {path}: {too_long}; {hint}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        return os.open(path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot use the run directory {path}: {error.strerror}; {hint}") from error


def _hold_namespace(name: socket.socket) -> None:
    try:
        name.bind(_NAME)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise AlreadyRunning(f"an agent is running in this network namespace{_holder()}; end it first") from None
    name.listen()


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"an agent of another network namespace is running with {path}") from None


def _holder() -> str:
    """The process that holds the name: the kernel remembers which one listened."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(_NAME)
            pid, _, _ = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:  # it has just ended, or does not listen yet
        return ""
    return f" (process {pid})"
