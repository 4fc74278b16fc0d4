"""
CPU time and memory of processes, exactly: nanoseconds of the scheduler's accounting, not ticks of 10 ms.

Refuses to know: what a process is good for, but for the parts of bgpctl.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

_CPUCLOCK_SCHED: Final = 2
"""The clock of a whole process in clock_gettime(2), its ended threads included, from the scheduler's own sums."""
_PARTS: Final = {
    "agent": ("agent run",),
    "bridge": ("bridge.py",),
    "exabgp": ("exabgp", "bgpctl.speaker"),
}
"""The parts of a node that runs bgpctl, by what their command lines hold; the first that fits counts."""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, without its children; 0 once it has ended."""
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    return 0.0


def pss_mb(pid: int) -> float:
    """Proportional set size: pages that several processes share count a share for each."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) / 1000


def peak_mb(pid: int) -> float:
    """The greatest resident set so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def command_of(pid: int) -> str:
    """The words that a process was started with; empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def part_of(pid: int) -> str:
    """agent, exabgp or bridge; of another program its own name."""
    command = command_of(pid)
    for part, words in _PARTS.items():
        if any(word in command for word in words):
            return part
    return Path(command.partition(" ")[0]).name


class Meter:
    """
    CPU of some processes by what part each is. One that starts later is not counted.

    Args:
        pids: of the processes.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._parts = {pid: part_of(pid) for pid in pids}

    def read(self) -> dict[str, float]:
        """CPU seconds so far."""
        found: dict[str, float] = {}
        for pid, part in self._parts.items():
            found[part] = found.get(part, 0.0) + cpu_s(pid)
        return found

    def total_s(self) -> float:
        return sum(map(cpu_s, self._parts))

    def quiet(self, *, within_s: float = 20.0, busy: float = 0.02, for_s: float = 0.2) -> None:
        """Wait until the processes together use less than `busy` of a CPU for `for_s`, or for `within_s`."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            before_s = self.total_s()
            time.sleep(for_s)
            if self.total_s() - before_s < busy * for_s:
                return

    def idle(self, for_s: float) -> dict[str, float]:
        """CPU seconds a second, while nothing is asked of them."""
        before, began_s = self.read(), time.monotonic()
        time.sleep(for_s)
        took_s = time.monotonic() - began_s
        return {part: (after_s - before[part]) / took_s for part, after_s in self.read().items()}


def spent(meter: Meter, idle: Mapping[str, float], act: Callable[[], None]) -> dict[str, float]:
    """CPU seconds by part for `act` and what follows from it, without what the same time costs at rest."""
    before, began_s = meter.read(), time.monotonic()
    act()
    meter.quiet(within_s=5.0)
    took_s = time.monotonic() - began_s
    return {part: max(0.0, after_s - before[part] - idle[part] * took_s) for part, after_s in meter.read().items()}


def children_of(pid: int) -> list[int]:
    """The processes that it is the parent of, also those that have ended and are not reaped."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found
