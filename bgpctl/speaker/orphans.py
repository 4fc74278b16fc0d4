"""
ExaBGP without a pid file that names it: its run directory was removed, replaced or damaged while it ran.

It is found by its network namespace and its command, and only among processes of root and our own user: any other can
call itself as it likes. Only an agent that has the network namespace for itself may do more than find it.

Refuses to know: its configuration, and how it is started.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from bgpctl.speaker import process
from bgpctl.speaker.launch import RunDir
from bgpctl.speaker.process import Process

_log = logging.getLogger("bgpctl.speaker")

_PROC: Final = Path("/proc")
_STARTED_BY: Final = ("/bgpctl/speaker/patches.py", "/bgpctl/speaker/bridge.py")
"""The program that is ExaBGP, and the one that ExaBGP starts where it runs as it is."""


def running() -> tuple[int, ...]:
    """The processes of every ExaBGP of bgpctl in the calling thread's network namespace. Raises OSError."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    found: set[int] = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is another user's
                found |= set(_exabgp(int(entry.name), here))
    return tuple(sorted(pid for pid in found if _parent(pid) not in found))


def reclaim(run_dir: RunDir) -> Process | None:
    """The one that can be reached from here, with its pid file anew. All others are ended. Raises OSError."""
    kept = None
    for pid in running():
        if kept is None and run_dir.socket.is_socket() and _configuration(pid) == str(run_dir.conf):
            kept = process.adopt(pid, run_dir.pid)
            _log.warning("ExaBGP has lost its pid file, and is adopted", extra={"facts": {"exabgp_pid": pid}})
        else:
            _log.warning("ExaBGP of a lost run directory is ended", extra={"facts": {"exabgp_pid": pid}})
            _end_by_pid(pid)
    return kept


def end_all() -> None:
    """End every one. Raises OSError: one does not end."""
    for pid in running():
        _end_by_pid(pid)


def end(exabgp: Process) -> None:
    """Raises OSError: it does not end."""
    exabgp.end()
    if not exabgp.ended():
        raise OSError(errno.EBUSY, f"ExaBGP (process {exabgp.pid}) does not end")
    _log.info("ExaBGP ended", extra={"facts": {"exabgp_pid": exabgp.pid}})


def _end_by_pid(pid: int) -> None:
    with suppress(ProcessLookupError), closing(Process(pid, os.pidfd_open(pid))) as exabgp:
        end(exabgp)


def _configuration(pid: int) -> str:
    """The place of its configuration file; empty if it has ended."""
    try:
        words = _command(pid)
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words[-1] if words else ""


def _exabgp(pid: int, here: int) -> Iterator[int]:
    is_trusted = (_PROC / str(pid)).stat().st_uid in {0, os.geteuid()}
    if not is_trusted or (_PROC / str(pid) / "ns" / "net").stat().st_ino != here:
        return
    patched, bridge = (any(word.endswith(name) for word in _command(pid)) for name in _STARTED_BY)
    if patched:
        yield pid
    elif bridge and (parent := _parent(pid)) > 1:
        yield parent


def _command(pid: int) -> list[str]:
    return os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes()).rstrip("\0").split("\0")


def _parent(pid: int) -> int:
    """0 if it has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[1])
