"""
Acting in network namespaces that have a name (ip-netns(8)): a function, commands of iproute2, sysctls.

Refuses to know: what is wired there, who made the namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

NETNS: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


def enter(name: str) -> None:
    """Move the calling thread into the namespace (setns(2)). Raises OSError."""
    handle = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
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


def set_sysctls(name: str, values: Mapping[str, str], *, where_possible: bool = False) -> None:
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


def ip(lines: Sequence[str], namespace: str | None = None) -> None:
    """Run commands of iproute2, all in one process. Raises RuntimeError with ip's output."""
    where = ("-n", namespace) if namespace else ()
    result = subprocess.run(
        ("ip", *where, "-batch", "-"),
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        process_group=0,  # Ctrl-C on the terminal is not for it: a namespace would be half made
    )
    if result.returncode:
        raise RuntimeError(f"ip failed{f' in {namespace}' if namespace else ''}: {result.stderr.strip()}")
