"""
Damage by chance to routes, rules, devices, filters, MTUs and files: explain names the true place of at least 95 % of
each kind. BGPCTL_TEST_DAMAGES is how many, and BGPCTL_TEST_SEED makes them come again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.lab.damage import SHARE, misses
from tests.lab.packet_cases import ENCAPSULATED, lab_with
from tests.nightly.chance import SEED

DAMAGES: Final = int(os.environ.get("BGPCTL_TEST_DAMAGES", "12"))

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


def test_the_true_place_of_damage_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lab_with(ENCAPSULATED["ipip"], tmp_path, f"dm{os.getpid()}") as lab:
        made, missed = misses(lab, tmp_path, DAMAGES, SEED)
    with capsys.disabled():
        for kind, count in sorted(made.items()):
            wrong = missed.get(kind, [])
            print(f"{kind}: {count - len(wrong)} of {count} named", *wrong, sep="\n  ")
    assert all(len(missed.get(kind, [])) <= count * (1 - SHARE) for kind, count in made.items()), (
        f"seed {SEED}: {missed}"
    )
