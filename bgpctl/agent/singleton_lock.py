"""
One agent per network namespace and per run directory: two would undo each other's work for ever.

Refuses to know: what an agent does.
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

from bgpctl import client
from bgpctl.ports import Unavailable

_NAME: Final = "\0bgpctl-agent"
"""In the abstract namespace of unix(7), of which every network namespace has one of its own; it ends with its owner."""
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""


class AlreadyRunning(Exception):
    """Another agent holds the network namespace or the run directory."""


@contextmanager
def alone(run_dir: Path) -> Iterator[None]:
    """
    Hold the calling thread's network namespace and the run directory, which is made if missing. Both are let go when
    the process ends, however it ends.

    Raises:
        AlreadyRunning: somebody else holds one of them.
        Unavailable: the run directory cannot be used.
    """
    handle = _open(run_dir)
    try:
        with socket.socket(socket.AF_UNIX) as name:
            _hold(name)
            _lock(handle, run_dir)
            yield
    finally:
        os.close(handle)


def _open(run_dir: Path) -> int:
    hint = "choose one with --run-dir"
    if not client.fits(run_dir.absolute()):
        most = client.LONGEST_RUN_DIR_BYTES
        raise Unavailable(f"cannot use the run directory {run_dir}: its path has more than {most} bytes; {hint}")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        return os.open(run_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot use the run directory {run_dir}: {error.strerror}; {hint}") from error


def _hold(name: socket.socket) -> None:
    try:
        name.bind(_NAME)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise AlreadyRunning(f"an agent is running in this network namespace{_holder()}; end it first") from None
    name.listen()


def _lock(handle: int, run_dir: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"an agent of another network namespace is running with {run_dir}") from None


def _holder() -> str:
    """Whose it is: the kernel remembers who listened."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(_NAME)
            pid, _, _ = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:  # it has just ended, or does not listen yet
        return ""
    return f" (process {pid})"
