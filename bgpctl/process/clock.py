"""
The clocks of a Linux host, see clock_gettime(2).

Refuses to know: the callers.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bgpctl.ports import Clock

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class LinuxClock(Clock):
    """CLOCK_MONOTONIC and CLOCK_BOOTTIME, which no clock adjustment moves, and CLOCK_REALTIME for the date."""

    def now_s(self) -> float:
        return time.monotonic()

    def date(self) -> datetime:
        return datetime.now(UTC)

    def since_boot_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        return _BOOT_ID.read_text(encoding="ascii").strip()
