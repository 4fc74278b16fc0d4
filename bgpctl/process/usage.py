"""
Processor time and memory of a process and of all that it started, as /proc has them (proc(5)).

Refuses to know: which process that is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """`cpu_s`: since it began, in the kernel too; `memory_bytes`: resident, what it shares with others included."""

    pid: int
    name: str
    cpu_s: float
    memory_bytes: int


def of_tree(pid: int) -> list[Usage]:
    """The process first; those that ended meanwhile, and those of another user's namespace, are left out."""
    found = _of(pid)
    return [] if found is None else [found, *(item for child in _children(pid) for item in of_tree(child))]


def _of(pid: int) -> Usage | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()  # the third field of proc(5) is the first here
    return Usage(pid, name, (int(fields[11]) + int(fields[12])) * _TICK_S, int(fields[21]) * _PAGE_BYTES)


def _children(pid: int) -> Iterator[int]:
    try:
        threads = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            yield from map(int, (thread / "children").read_text().split())
        except OSError:
            continue
