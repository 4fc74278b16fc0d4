"""
The machine: what it is, and whether others use it while we measure.

CPU that others use is what /proc/stat counts beyond our own processes; interrupts and the kernel's own threads, which
work for our packets, are left out. Steal is what a hypervisor gave to other guests.

Refuses to know: what is measured.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.common.processes import children_of, cpu_s

PROJECT: Final = Path(__file__).resolve().parents[2]
MOST_OTHERS: Final = 0.10
"""CPUs that others may use on average, of all cores together."""
MOST_STEAL: Final = 0.05
MOST_LOAD: Final = 1.0
"""Load average of the last minute, at the start; ours has not begun."""
_KTHREADD: Final = 2
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "BIRD": ("bird", "--version"),
    "FRR": ("/usr/lib/frr/bgpd", "--version"),
    "GoBGP": ("gobgpd", "--version"),
    "iproute2": ("ip", "-V"),
}


class CpuTimes(NamedTuple):
    """Seconds of all cores since boot: in programs and the kernel on their behalf, and stolen."""

    busy_s: float
    steal_s: float


def cpu_times(stat: str) -> CpuTimes:
    """Read from the text of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal come first (proc(5))."""
    user, nice, system, _, _, _, _, steal = (int(word) / _TICKS for word in stat.split("\n", 1)[0].split()[1:9])
    return CpuTimes(user + nice + system, steal)


def now() -> CpuTimes:
    """Until now, without the kernel's own threads: most of what they do is for our packets and routes."""
    found = cpu_times(Path("/proc/stat").read_text())
    return found._replace(busy_s=found.busy_s - sum(map(cpu_s, kernel_threads())))


def kernel_threads() -> list[int]:
    """The children of kthreadd, which is process 2 outside of containers."""
    try:
        is_there = Path(f"/proc/{_KTHREADD}/comm").read_text() == "kthreadd\n"
    except FileNotFoundError:
        return []
    return children_of(_KTHREADD) if is_there else []


class Use(NamedTuple):
    """CPUs that others used on average, and that were stolen."""

    others: float
    steal: float

    @property
    def busy(self) -> bool:
        """Too much for a measurement."""
        return self.others > MOST_OTHERS or self.steal > MOST_STEAL

    def __str__(self) -> str:
        return f"{self.others:.2f} CPUs used by others, {self.steal:.2f} stolen"


def use(before: CpuTimes, after: CpuTimes, ours_s: float, took_s: float) -> Use:
    """Between two readings, `took_s` apart, in which our own processes used `ours_s` of CPU."""
    others_s = after.busy_s - before.busy_s - ours_s
    return Use(max(0.0, others_s / took_s), (after.steal_s - before.steal_s) / took_s)


def too_busy(found: Use, load: float) -> str | None:
    """Why nothing should be measured now; None if all is quiet."""
    if found.busy:
        return str(found)
    if load > MOST_LOAD:
        return f"load average {load:.2f}, {found}"
    return None


def facts() -> dict[str, str]:
    """The machine, and the versions of everything that is compared."""
    cpus = Path("/proc/cpuinfo").read_text().split("model name\t: ")
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _first_line(("git", "describe", "--always", "--dirty=, with changes", "--exclude=*")),
        "CPU": cpus[1].split("\n", 1)[0] if len(cpus) > 1 else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kb / 1e6:.0f} GB",
        "kernel": platform.release(),
        "Python": python(os.path.realpath(getattr(sys, "_base_executable", sys.executable))),
        "ExaBGP": importlib.metadata.version("exabgp"),
        **{name: _first_line(command) for name, command in _COMMANDS.items()},
    }


def python(binary: str) -> str:
    """
    The Python that measures and that all agents run with: its version, its binary, and whether it was optimized by a
    profile of its own. Debian's is (python3.11's debian/rules: profile-opt), without saying so in CONFIG_ARGS.
    """
    owner = _first_line(("dpkg-query", "--search", binary)).partition(": ")
    if owner[2] == binary:
        version = _first_line(("dpkg-query", "--show", "--showformat=${Version}", owner[0]))
        build = f"Debian's {owner[0]} {version}, which is optimized by a profile"
    elif "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")):
        build = "built with --enable-optimizations"
    else:
        build = "built without --enable-optimizations"
    return f"{platform.python_version()}, {binary}, {build}"


def _first_line(command: tuple[str, ...]) -> str:
    try:
        shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "absent"
    return ((shown.stdout + shown.stderr).strip().splitlines() or ["unknown"])[0]


def kernel_has_ipip() -> bool:
    """True if this kernel has the ipip module."""
    command = ("unshare", "--net", "ip", "link", "add", "name", "probe", "type", "ipip", "remote", "192.0.2.1")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
