"""Routes get the path MTU that probes have found, and lose it again (`mtuDiscovery`); VXLAN in tests/nightly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.mtu_discovery import CASES, check, lab_of


def test_senders_hear_a_path_mtu_that_no_router_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGPCTL_AGENT_RUN_PROVE_EVERY_S", "1s")
    with lab_of(CASES["ipip"], tmp_path, f"md{os.getpid()}") as lab:
        check(CASES["ipip"], lab)
