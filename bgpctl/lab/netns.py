"""
Network namespaces: making them, running programs inside, finding the processes there, deleting them.

Refuses to know: topologies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000
_KILL_WITHIN_MS: Final = 5000
_NETNS: Final = Path("/run/netns")
_libc: Final = ctypes.CDLL(None, use_errno=True)


def enter(name: str) -> None:
    """Move the calling thread into the namespace (setns(2)). Raises OSError."""
    handle = os.open(_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter namespace {name}: {os.strerror(number)}")
    finally:
        os.close(handle)


def inside(name: str, act: Callable[[], T]) -> T:
    """The result of `act`, run in the namespace, in a thread of its own: sockets made there stay there."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter(name)
            results.append(act())
        except BaseException as error:  # noqa: BLE001 (handed to the caller's thread)
            errors.append(error)

    thread = threading.Thread(target=run, name=f"in-{name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def open_socket(name: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in the namespace."""
    return inside(name, lambda: socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol))


def set_sysctls(name: str, values: dict[str, str]) -> None:
    """Write values below /proc/sys of the namespace; names with slashes. Names that do not exist are left out."""

    def write() -> None:
        for key, value in values.items():
            with contextlib.suppress(FileNotFoundError):
                Path("/proc/sys", key).write_text(value)

    inside(name, write)


def ip(lines: Sequence[str], namespace: str | None = None) -> None:
    """Run commands of iproute2, all in one process. Raises RuntimeError with ip's output."""
    where = ("-n", namespace) if namespace else ()
    result = subprocess.run(
        ("ip", *where, "-batch", "-"), input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"ip failed{f' in {namespace}' if namespace else ''}: {result.stderr.strip()}")


def routes(namespace: str, protocol: int | None = None) -> str:
    """The main table of both IP versions, or the routes there of one protocol number, as ip(8) shows them."""
    which = () if protocol is None else ("show", "protocol", str(protocol))
    commands = [("ip", "-n", namespace, family, "route", *which) for family in ("-4", "-6")]
    shown = (subprocess.run(command, capture_output=True, text=True, check=False).stdout for command in commands)
    return "".join(shown).rstrip()


def spawn(namespace: str, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a program in the namespace, in its own session, its output in `log`."""
    with log.open("ab") as output:
        return inside(
            namespace,
            # The child is forked by the thread that is inside, so it is inside too.
            lambda: subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            ),
        )


def names(prefix: str) -> list[str]:
    """The namespaces whose name begins so."""
    try:
        return sorted(entry.name for entry in _NETNS.iterdir() if entry.name.startswith(prefix))
    except FileNotFoundError:
        return []


def processes(name: str) -> list[int]:
    """The processes inside, found by comparing /proc/PID/ns/net."""
    try:
        wanted = (_NETNS / name).stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "ns" / "net").stat()
                if (stat.st_ino, stat.st_dev) == (wanted.st_ino, wanted.st_dev):
                    found.append(int(entry.name))
    return found


def delete(name: str) -> None:
    """End what runs inside and delete the namespace; absent is no error."""
    if not (_NETNS / name).exists():
        return
    while pids := [pid for pid in processes(name) if pid != os.getpid()]:
        for pid in pids:
            _kill(name, pid)
    subprocess.run(("ip", "netns", "delete", name), capture_output=True, check=False)


def _kill(name: str, pid: int) -> None:
    """By pidfd, checked again while held: a later process with the same pid, outside the namespace, is not killed."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in processes(name):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _ended(handle: int) -> None:
    """Wait until the process is gone, and reap it if it is our child."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(_KILL_WITHIN_MS)
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
