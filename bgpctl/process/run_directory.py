"""
An agent's run directory: its lock, its socket's place, the files that it writes.

One agent per network namespace and per run directory: two would undo each other's work for ever. Both locks are such
that no other user can take them, and the directory is one in which none can write.

Refuses to know: what an agent does, what its files contain.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bgpctl import filesystem
from bgpctl.ports import AlreadyRunning, RunDirectory, Unavailable
from bgpctl.process import socket_users

log = logging.getLogger("bgpctl.agent")

LONGEST_PATH_BYTES: Final = 107 - len("/bridge.sock")
"""The address of a unix socket has 107 bytes at most (unix(7)); this is the speaker's, the longest in there."""
_NAME: Final = "\0bgpctl-agent"
"""In the abstract namespace of unix(7), of which every network namespace has one of its own; it ends with its owner."""
_PRIVATE: Final = Path("/proc/sys/net/ipv4/tcp_fastopen_key")
"""A file that every network namespace has, and that only its root can open: others cannot lock it (flock(2))."""
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def fits(path: Path) -> bool:
    """True if sockets can have addresses in there."""
    return len(os.fsencode(path)) <= LONGEST_PATH_BYTES


class DiskRunDirectory(RunDirectory):
    """One on disk, usually a tmpfs; `hold` makes it if it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def hold(self) -> Iterator[None]:
        with ExitStack() as stack:
            handle = _open(self._path)
            stack.callback(os.close, handle)
            _hold_namespace(stack)
            _lock(handle, self._path)
            yield

    def read(self, name: str) -> bytes | None:
        try:
            with filesystem.ours(self._path) as directory:
                return filesystem.read_ours(directory, name)
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> str:
        file = self._path / name
        try:
            with filesystem.ours(self._path) as directory:
                filesystem.make_room(directory, name)
                filesystem.replace(directory, name, content)
        except OSError as error:
            raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
        return str(file)


def _open(path: Path) -> int:
    """The file of the lock in there."""
    hint = "choose one with --run-dir"
    if not fits(path.absolute()):
        too_long = f"its path has more than {LONGEST_PATH_BYTES} bytes"
        raise Unavailable(f"cannot use the run directory {path}: {too_long}; {hint}")
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        with filesystem.ours(path) as directory:
            filesystem.make_room(directory, "agent.lock")
            return os.open("agent.lock", _LOCK, 0o600, dir_fd=directory)
    except OSError as error:
        raise Unavailable(f"cannot use the run directory {path}: {error.strerror}; {hint}") from error


def _hold_namespace(stack: ExitStack) -> None:
    """
    Have the network namespace, by a lock and by a name. The lock is what counts: any user can have the name. But the
    lock is not seen by agents with another /proc, as another container of a pod has it; they see the name.
    """
    locked = _lock_namespace(stack)
    name = stack.enter_context(socket.socket(socket.AF_UNIX))
    try:
        name.bind(_NAME)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        pid, is_ours = _holder()
        if is_ours or not locked:
            raise AlreadyRunning(_running(pid)) from None
        log.warning("another user's process%s has the name of the agent, and is ignored", f" ({pid})" if pid else "")
    else:
        name.listen()


def _lock_namespace(stack: ExitStack) -> bool:
    """False where there is no such file."""
    try:
        handle = os.open(_PRIVATE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, is_ours = _holder()
        raise AlreadyRunning(_running(pid if is_ours else 0)) from None
    return True


def _running(pid: int) -> str:
    return f"an agent is running in this network namespace{f' (process {pid})' if pid else ''}; end it first"


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"an agent of another network namespace is running with {path}") from None


def _holder() -> tuple[int, bool]:
    """
    The process that has the name, and whether it is root's or our user's: the kernel remembers which one listened.
    The process is 0 if it does not listen (yet), or has no room for a connection: it accepts none, so each stays.
    """
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            asking.connect(_NAME)
            raw = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return 0, _name_is_ours()
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid in {0, os.geteuid()}


def _name_is_ours() -> bool:
    """True also where it cannot be known: two agents are worse than none."""
    try:
        users = socket_users.users(_NAME.encode())
    except OSError:
        return True
    return any(uid is None or uid in {0, os.geteuid()} for uid in users)
