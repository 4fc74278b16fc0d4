"""
Acting in network namespaces that have a name (ip-netns(8)) or a path: a function, commands of iproute2, sysctls.

A name may be given to another namespace at any time, and the number of a process to another process. `opened` holds
one namespace, and gives a path that leads to that one until the end.

Refuses to know: what is wired there, who made the namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

NETNS: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000
_NS_GET_NSTYPE: Final = 0xB703
"""linux/nsfs.h"""
_OWN: Final = Path("/proc/thread-self/ns/net")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class NoNamespace(OSError):
    """There is no such namespace, or it is the caller's own; `strerror` is for the operator."""


@contextlib.contextmanager
def opened(name: str) -> Iterator[str]:
    """A path of the namespace, good for all processes of this user until the end. Raises NoNamespace."""
    with contextlib.ExitStack() as stack:
        try:
            path = Path(name) if "/" in name else NETNS / name
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, handle)
            is_one = fcntl.ioctl(handle, _NS_GET_NSTYPE) == _CLONE_NEWNET
        except PermissionError as error:
            raise NoNamespace(error.errno, f"network namespace {name} cannot be opened: {error.strerror}") from error
        except (OSError, ValueError) as error:
            hint = "see: ip netns list" if "/" not in name else "it is needed as /proc/PID/ns/net is"
            raise NoNamespace(errno.ENOENT, f"there is no network namespace {name}; {hint}") from error
        if not is_one:
            raise NoNamespace(errno.EINVAL, f"{name} is a namespace, but none of networks")
        if os.path.sameopenfile(handle, stack.enter_context(_OWN.open("rb")).fileno()):
            raise NoNamespace(errno.EINVAL, f"{name} is this node's own network namespace")
        yield f"/proc/{os.getpid()}/fd/{handle}"


def enter(name: str) -> None:
    """Move the calling thread into the namespace (setns(2)). Raises OSError."""
    handle = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter namespace {name}: {os.strerror(number)}")
    finally:
        os.close(handle)


def inside(name: str | None, act: Callable[[], T]) -> T:
    """
    The result of `act`, run in the namespace, in a thread of its own: sockets made there stay there. None is the
    namespace of the caller.
    """
    if name is None:
        return act()
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


def set_sysctls(name: str | None, values: Mapping[str, str], *, where_possible: bool = False) -> None:
    """
    Write values below /proc/sys of the namespace; names with slashes. Names that do not exist are left out; where it is
    enough to write what is possible, so are those that cannot be written, as in a container.
    """
    left_out = OSError if where_possible else FileNotFoundError

    def write() -> None:
        for key, value in values.items():
            with contextlib.suppress(left_out):
                Path("/proc/sys", key).write_text(value)

    inside(name, write)


def ip(lines: Sequence[str], namespace: str | None = None, version: int | None = None) -> None:
    """
    Run commands of iproute2, all in one process. `version`: of IP, for commands that do not find it in addresses, as
    those of rules. Raises RuntimeError with ip's output.
    """
    family = (f"-{version}",) if version else ()
    _run((*family, "-batch", "-"), namespace, "\n".join(lines))


def ip_shows(words: Sequence[str], namespace: str | None = None) -> list[dict[str, Any]]:
    """The answer of a command of iproute2 that shows something. Raises RuntimeError with ip's output."""
    shown = json.loads(_run(("-json", *words), namespace) or "[]")
    # iproute2 writes {} in place of what a filter leaves out.
    return [item for item in shown if item]


def _run(words: Sequence[str], namespace: str | None, commands: str = "") -> str:
    """The output of ip(8), which knows namespaces by name, and by path only where it moves a link."""
    named = ("-n", namespace) if namespace and "/" not in namespace else ()

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("ip", *named, *words),
            input=commands,
            capture_output=True,
            text=True,
            check=False,
            close_fds=False,  # it holds the locks that it is to hold (ledger_file.py)
            process_group=0,  # Ctrl-C on the terminal is not for it: a namespace would be half made
        )

    result = run() if named else inside(namespace, run)
    if result.returncode:
        raise RuntimeError(f"ip failed{f' in {namespace}' if namespace else ''}: {result.stderr.strip()}")
    return result.stdout
