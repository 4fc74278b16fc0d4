"""Whatever else can change about a cluster changes under traffic too, there and back, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bgpctl.lab.lab import Lab
from tests.lab.changes import CHANGES, changed, nothing_left_to_do, prepared
from tests.lab.test_switch import nothing_lost
from tests.waiting import SLOWNESS, wait_until


def follows(lab: Lab, text: str) -> None:
    """Have the file say so, and wait until every node does."""
    lab.topology.file.write_text(text)
    wait_until(lambda: nothing_left_to_do(lab), within_s=30 * SLOWNESS)


@pytest.mark.parametrize("what", CHANGES)
def test_it_changes_there_and_back_without_loss(lab_of: Callable[[str], Lab], what: str) -> None:
    lab = lab_of(CHANGES[what].topology)
    prepared(lab, CHANGES[what])
    before = lab.topology.file.read_text()
    with nothing_lost(lab):
        follows(lab, changed(before, CHANGES[what].edits))
        follows(lab, before)
