"""
ExaBGP, or the BFD process, without a pid file that names it: its run directory was removed, replaced or damaged while
it ran.

It is found by its network namespace and its whole command, and only among processes of root and our own user: any other
can call itself as it likes, and one that merely names our files (an editor, a pager) is none. Only an agent that has
the network namespace for itself may do more than find it.

Refuses to know: their configuration, and how they are started.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from bgpctl.speaker import process
from bgpctl.speaker.launch import RunDir
from bgpctl.speaker.process import Process

_log = logging.getLogger("bgpctl.speaker")

_PROC: Final = Path("/proc")
_PYTHON: Final = r"[^\0]*/python[^/\0]*\0"
_OURS: Final = _PYTHON + r"-I\0(?:-S\0)?[^\0]*/bgpctl/speaker/"
_SERVER: Final = r"server\0[^\0]+/exabgp\.conf\0"
_PATCHED: Final = re.compile(_OURS + rf"patches\.py\0(?:/[^\0]*\0)?{_SERVER}")
"""As launch.py starts it, and as it did before: without -S, and without the directory of the package."""
_AS_IT_IS: Final = re.compile(_PYTHON + rf"(?:[^\0]*/exabgp|-m\0exabgp)\0{_SERVER}")
"""ExaBGP of any program: it is ours if it has started our bridge."""
_BFD: Final = re.compile(_OURS + r"bfd/__main__\.py\0/[^\0]*\0[^\0]+/bfd\.sock\0")
_BRIDGE: Final = re.compile(_OURS + r"bridge\.py\0[^\0]+/bridge\.sock\0")


def running() -> tuple[int, ...]:
    """The processes of every ExaBGP of bgpctl in the calling thread's network namespace. Raises OSError."""
    found = _found(_exabgp)
    return tuple(sorted(pid for pid in found if _parent(pid) not in found))


def running_bfd() -> tuple[int, ...]:
    """Every BFD process of bgpctl in the calling thread's network namespace. Raises OSError."""
    return tuple(sorted(_found(_bfd)))


def _found(of_process: Callable[[int, int], Iterator[int]]) -> set[int]:
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    found: set[int] = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is another user's
                found |= set(of_process(int(entry.name), here))
    return found


def reclaim(run_dir: RunDir) -> Process | None:
    """The one that can be reached from here, with its pid file anew. All others are ended. Raises OSError."""
    return _reclaim("ExaBGP", running(), run_dir.conf, run_dir.socket, run_dir.pid)


def reclaim_bfd(socket: Path, pid_file: Path) -> Process | None:
    """The BFD process at `socket`, with its pid file anew. All others are ended. Raises OSError."""
    return _reclaim("BFD", running_bfd(), socket, socket, pid_file)


def _reclaim(name: str, pids: Iterable[int], last_word: Path, socket: Path, pid_file: Path) -> Process | None:
    kept = None
    for pid in pids:
        if kept is None and socket.is_socket() and _last_word(pid) == str(last_word):
            kept = process.adopt(pid, pid_file)
            _log.warning(f"{name} has lost its pid file, and is adopted", extra={"facts": {"pid": pid}})
        else:
            _log.warning(f"{name} of a lost run directory is ended", extra={"facts": {"pid": pid}})
            _end_by_pid(name, pid)
    return kept


def end_all() -> None:
    """End every ExaBGP. Raises OSError: one does not end."""
    for pid in running():
        _end_by_pid("ExaBGP", pid)


def end_all_bfd() -> None:
    """End every BFD process. Raises OSError: one does not end."""
    for pid in running_bfd():
        _end_by_pid("BFD", pid)


def end(name: str, running: Process) -> None:
    """End a process of this name. Raises OSError: it does not end."""
    running.end()
    if not running.ended():
        raise OSError(errno.EBUSY, f"{name} (process {running.pid}) does not end")
    _log.info(f"{name} ended", extra={"facts": {"pid": running.pid}})


def _end_by_pid(name: str, pid: int) -> None:
    with suppress(ProcessLookupError), closing(Process(pid, os.pidfd_open(pid))) as running:
        end(name, running)


def _last_word(pid: int) -> str:
    """Of its command, the place of its configuration or socket; empty if it has ended."""
    try:
        return _command(pid).rstrip("\0").split("\0")[-1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _exabgp(pid: int, here: int) -> Iterator[int]:
    if not _may_be_ours(pid, here):
        return
    command = _command(pid)
    if _PATCHED.fullmatch(command):
        yield pid
    elif _BRIDGE.fullmatch(command) and _runs_as_it_is(parent := _parent(pid), here):
        yield parent


def _bfd(pid: int, here: int) -> Iterator[int]:
    if _may_be_ours(pid, here) and _BFD.fullmatch(_command(pid)):
        yield pid


def _runs_as_it_is(pid: int, here: int) -> bool:
    return pid > 1 and _may_be_ours(pid, here) and bool(_AS_IT_IS.fullmatch(_command(pid)))


def _may_be_ours(pid: int, here: int) -> bool:
    """True if it is trusted, and in this network namespace (its inode)."""
    place = _PROC / str(pid)
    return place.stat().st_uid in {0, os.geteuid()} and (place / "ns" / "net").stat().st_ino == here


def _command(pid: int) -> str:
    """Its words, each with a NUL at its end."""
    return os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes())


def _parent(pid: int) -> int:
    """0 if it has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[1])
