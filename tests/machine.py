"""The parts of this machine that are not pinned: kernel, Python and Debian packages."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def programs() -> Mapping[str, str]:
    """Which Debian package brings a program, as `tools/system-packages` has it."""
    text = (ROOT / "tools" / "system-packages").read_text()
    return dict(re.findall(r"\bneed ([a-z][\w.-]*) ([a-z][\w.+-]*)", text))


def description() -> str:
    """One line: a result that another machine does not repeat may be due to one of these."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = "unknown system"
    python = platform.python_version()
    return ", ".join((system, f"Linux {platform.release()}", f"Python {python}", *_packages()))


def _packages() -> list[str]:
    query = ("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\n")
    try:
        shown = subprocess.run((*query, *sorted(set(programs().values()))), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ["no Debian packages"]
    return [line.removeprefix("installed ") for line in shown.stdout.splitlines() if line.startswith("installed ")]
