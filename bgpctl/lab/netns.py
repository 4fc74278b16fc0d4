"""
Network namespaces: running programs inside, finding the processes there, deleting them.

Refuses to know: topologies.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bgpctl.attach.netns import NETNS, enter, inside, ip, set_sysctls

__all__ = [
    "delete",
    "enter",
    "inside",
    "ip",
    "names",
    "open_socket",
    "processes",
    "routes",
    "set_sysctls",
    "spawn",
]

_KILL_WITHIN_MS: Final = 5000


def open_socket(name: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in the namespace."""
    return inside(name, lambda: socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol))


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
        return sorted(entry.name for entry in NETNS.iterdir() if entry.name.startswith(prefix))
    except FileNotFoundError:
        return []


def processes(name: str) -> list[int]:
    """The processes inside, found by comparing /proc/PID/ns/net."""
    try:
        wanted = (NETNS / name).stat()
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
    if not (NETNS / name).exists():
        return
    while pids := [pid for pid in processes(name) if pid != os.getpid()]:
        for pid in pids:
            _kill(name, pid)
    # In a process group of its own: Ctrl-C on the terminal is not for it.
    subprocess.run(("ip", "netns", "delete", name), capture_output=True, check=False, process_group=0)


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
