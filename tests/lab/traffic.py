"""Numbered packets while something changes, of which none may be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load, both_directions
from tests.waiting import wait_until

PPS = int(os.environ.get("BGPCTL_TEST_PPS", "100"))
"""Packets a second in each of twelve directions."""


class Silent:
    def stage(self, text: str) -> None:
        pass

    def count(self, done: int, total: int) -> None:
        pass


@contextmanager
def nothing_lost(lab: Lab) -> Iterator[None]:
    """Traffic in all directions, from before to after."""
    load = Load(lab.names, both_directions(lab.topology.workloads), PPS)
    load.start()
    try:
        wait_until(lambda: all(flow.arrived for flow in load.flows))
        yield
    finally:
        flows = load.stop()
    assert [flow for flow in flows if flow.lost] == []
