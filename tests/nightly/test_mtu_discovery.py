"""Routes get the path MTU that probes have found (`mtuDiscovery`): VXLAN over both IP versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.mtu_discovery import CASES, check, lab_of

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


@pytest.mark.parametrize("by", ["vxlan", "vxlan6"])
def test_senders_hear_a_path_mtu_that_no_router_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setenv("BGPCTL_AGENT_RUN_PROVE_EVERY_S", "1s")
    with lab_of(CASES[by], tmp_path, f"mn{os.getpid()}-{by}") as lab:
        check(CASES[by], lab)
