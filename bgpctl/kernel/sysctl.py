"""Values below /proc/sys/net of the calling thread's network namespace.

Refuses to know: which values are wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bgpctl.core.model import Sysctl

_ROOT: Final = Path("/proc/sys")


def read(name: str) -> Sysctl | None:
    """The present value; None if there is no such name."""
    try:
        return Sysctl(name, _path(name).read_text().strip())
    except FileNotFoundError:
        return None


def write(sysctl: Sysctl) -> None:
    """Raises OSError with the kernel's errno."""
    _path(sysctl.name).write_text(sysctl.value)


def _path(name: str) -> Path:
    parts = name.split("/")
    if parts[0] != "net" or ".." in parts:
        raise ValueError(f"{name} is not below net/")
    return _ROOT.joinpath(*parts)
