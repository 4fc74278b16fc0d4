"""
Values below /proc/sys/net, of the calling thread's network namespace.

Refuses to know: which values are wanted; any name outside net/.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from bgpctl.core.model import Sysctl

_ROOT: Final = Path("/proc/sys")


def read(name: str) -> Sysctl | None:
    """The present value; None if there is no such name, for instance because its link is gone."""
    try:
        return Sysctl(name, _path(name).read_text().strip())
    except FileNotFoundError:
        return None


def write(wanted: Sysctl) -> None:
    """Raises OSError: EINVAL for a name outside net/, else what the kernel answers (ENOENT: no such name)."""
    _path(wanted.name).write_text(wanted.value)


def _path(name: str) -> Path:
    parts = name.split("/")
    if parts[0] != "net" or ".." in parts:
        raise OSError(errno.EINVAL, f"{name} is not below net/")
    return _ROOT.joinpath(*parts)
