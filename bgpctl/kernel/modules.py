"""
Modules of the running kernel.

Refuses to know: which are needed.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path


def is_there(name: str) -> bool:
    """Loaded, built in, or there to be loaded; asking does not load it."""
    if Path("/sys/module", name).exists():
        return True
    with suppress(FileNotFoundError):
        return subprocess.run(("modprobe", "-n", "-q", name), capture_output=True, check=False).returncode == 0
    return False
