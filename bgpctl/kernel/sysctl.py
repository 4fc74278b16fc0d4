"""
Values below /proc/sys/net, of the calling thread's network namespace, and those before we changed them.

Refuses to know: which values are wanted; any name outside net/.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgpctl import filesystem
from bgpctl.core.net.objects import Sysctl

log = logging.getLogger("bgpctl.kernel")
_ROOT: Final = "/proc/sys"
_MAX_BYTES: Final = 4096
"""The kernel answers with a page at most."""


def read(name: str) -> Sysctl | None:
    """The present value; None if there is no such name, for instance because its link is gone."""
    try:
        file = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Without buffers and decoders: some are read at every observation.
        return Sysctl(name, os.read(file, _MAX_BYTES).decode().strip())
    finally:
        os.close(file)


def write(wanted: Sysctl) -> None:
    """
    Have a value; one that holds already is not written: containers have theirs given, and read-only.

    Raises OSError: EINVAL for a name outside net/, else the kernel's answer (ENOENT: no such name).
    """
    if read(wanted.name) != wanted:
        Path(_path(wanted.name)).write_text(wanted.value)


class Memory:
    """
    Writes values and can put back those that were there before.

    They are remembered in a file, so that another process can put them back; without one, in this process only. The
    file should not outlive the host's next start, and neither do the values. Methods raise OSError.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._before = _load(file) if file else {}

    def changed(self) -> tuple[Sysctl, ...]:
        """The sysctls that were changed, with the values from before."""
        return tuple(Sysctl(name, value) for name, value in sorted(self._before.items()))

    def write(self, wanted: Sysctl) -> None:
        """Write the value; if it is another than now, remember the one that was there first."""
        present = read(wanted.name)
        if present and present != wanted:
            self._remember({wanted.name: present.value, **self._before})
        write(wanted)

    def restore(self, name: str) -> None:
        """Put back the value from before us, if we changed it and the name still exists."""
        before = self._before.get(name)
        if before is not None:
            with suppress(FileNotFoundError):  # with its link
                write(Sysctl(name, before))
            self._remember({key: value for key, value in self._before.items() if key != name})

    def _remember(self, before: Mapping[str, str]) -> None:
        if before == self._before:
            return
        if self._file:
            with filesystem.ours(self._file.parent) as directory:
                filesystem.replace(directory, self._file.name, json.dumps(before).encode())
        self._before = dict(before)


def _load(file: Path) -> dict[str, str]:
    """Empty if nothing was changed yet; what is no such file is moved aside. Raises OSError."""
    with suppress(FileNotFoundError), filesystem.ours(file.parent) as directory:
        filesystem.make_room(directory, file.name)
        try:
            found = json.loads(filesystem.read_ours(directory, file.name))
            return {str(name): str(value) for name, value in found.items()}
        except (ValueError, AttributeError, RecursionError):
            aside = filesystem.move_aside(directory, file.name)
            log.warning("%s has no sysctls, and is moved aside to %s: they stay as they are", file, aside)
    return {}


def _path(name: str) -> str:
    parts = name.split("/")
    if parts[0] != "net" or ".." in parts:
        raise OSError(errno.EINVAL, f"{name} is not below net/")
    return f"{_ROOT}/{name}"
