"""
Faults that lose packets, one after the other in one lab: each is said by the summary, verify, explain and doctor, and
mended by the doctor's command. Then damage by chance. All faults are in tests/nightly/test_packet_cases.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.damage import misses
from tests.lab.packet_cases import ENCAPSULATED, check, lab_with, rows

DAMAGES = 20
SEED = 17
"""The same ones each time; tests/nightly/test_damage.py makes others."""
QUICK = (
    "a foreign route",
    "the same by iptables",
    "another program masquerades the pool",
    "the same where routers are not asked",
)


def test_a_fault_is_named_by_every_command_and_mended_by_the_doctors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BGPCTL_AGENT_RUN_PROVE_EVERY_S", "1s")
    by = ENCAPSULATED["ipip"]
    with lab_with(by, tmp_path, f"pc{os.getpid()}") as lab:
        for name in QUICK:
            check(lab, name, rows(by)[name])
        made, missed = misses(lab, tmp_path, DAMAGES, SEED)
        assert not missed, f"seed {SEED}: {missed}"
        assert sum(made.values()) == DAMAGES
