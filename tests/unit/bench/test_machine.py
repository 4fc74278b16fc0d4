"""The use of the machine by others."""

from __future__ import annotations

import pytest

from bench.common import machine
from bench.common.machine import CpuTimes, Use, cpu_times, too_busy, use

STAT = "cpu  1000 100 300 9000 40 7 8 50 0 0\ncpu0 500 50 150 4500 20 3 4 25 0 0\n"
QUIET = Use(0.0, 0.0)


def test_busy_is_what_programs_use_and_the_kernel_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_TICKS", 100)
    assert cpu_times(STAT) == CpuTimes(busy_s=14.0, steal_s=0.5)


def test_others_use_what_is_not_ours() -> None:
    found = use(CpuTimes(10.0, 1.0), CpuTimes(16.0, 1.5), ours_s=5.0, took_s=10.0)
    assert [*found] == pytest.approx([0.1, 0.05])


def test_our_own_rounding_is_not_negative_use_of_others() -> None:
    assert use(CpuTimes(10.0, 0.0), CpuTimes(14.9, 0.0), ours_s=5.0, took_s=10.0).others == 0.0


@pytest.mark.parametrize(
    ("found", "load", "reason"),
    [
        (QUIET, 0.3, None),
        (Use(0.5, 0.0), 0.3, "0.50 CPUs used by others"),
        (Use(0.0, 0.2), 0.3, "0.20 stolen"),
        (QUIET, 3.0, "load average 3.00"),
    ],
)
def test_a_busy_machine_is_refused_with_the_reason(found: Use, load: float, reason: str | None) -> None:
    said = too_busy(found, load)
    assert said is None if reason is None else said is not None and reason in said


@pytest.mark.parametrize(
    ("arguments", "build"),
    [("'--enable-shared' '--enable-optimizations'", "with"), ("'--enable-shared'", "without"), (None, "without")],
)
def test_a_python_says_how_it_was_built(monkeypatch: pytest.MonkeyPatch, arguments: str | None, build: str) -> None:
    monkeypatch.setattr("bench.common.machine.sysconfig.get_config_var", lambda _: arguments)
    assert machine.python("/opt/python3").endswith(f", /opt/python3, built {build} --enable-optimizations")


def test_debian_s_python_is_known_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"--search": "python3.11-minimal: /usr/bin/python3.11", "--show": "3.11.2-6"}
    monkeypatch.setattr(machine, "_first_line", lambda command: answers[command[1]])
    assert machine.python("/usr/bin/python3.11").endswith(
        ", /usr/bin/python3.11, Debian's python3.11-minimal 3.11.2-6, which is optimized by a profile"
    )
