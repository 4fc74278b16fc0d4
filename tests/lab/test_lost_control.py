"""BGP that is cut off and processes that stand still: peers see the hold time expire, and no packet is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from bgpctl.lab.lab import Lab
from tests.lab.rig import CONVERGE_S, inside, peers
from tests.lab.traffic import nothing_lost
from tests.waiting import wait_until

QUICK: Final = "mesh: false\npeers: {all: {peerSelector: all(), holdTime: 3s}}\n"
"""A hold time of 3 s instead of 30 s."""
WITHIN_S: Final = 30.0


@contextmanager
def bgp_dropped(lab: Lab, node: str) -> Iterator[None]:
    for rule in (
        "add table inet cut",
        *(f"add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}" for hook in ("input", "output")),
        *(f"add rule inet cut {hook} tcp {end} 179 drop" for hook in ("input", "output") for end in ("sport", "dport")),
    ):
        inside(lab, node, f"nft '{rule}'")
    try:
        yield
    finally:
        inside(lab, node, "nft delete table inet cut")


@contextmanager
def frozen(lab: Lab, node: str) -> Iterator[None]:
    """The agent, ExaBGP and the bridge stand still."""
    words = (lab.run_dir(node) / "exabgp.pid").read_text().split()
    exabgp = int(words[0])
    children = map(int, Path(f"/proc/{exabgp}/task/{exabgp}/children").read_text().split())
    processes = (lab.agents[node].pid, exabgp, *children)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def heard(lab: Lab) -> set[str]:
    """The other nodes that have a session with a1."""
    return {node for node in lab.agents if node != "a1" and peers(lab, node)["a1"]["established"]}


@pytest.mark.parametrize("happens", [bgp_dropped, frozen])
def test_nothing_is_lost_while_a_node_is_not_heard_beyond_its_hold_time(
    lab_of: Callable[[str, str], Lab], happens: Callable[[Lab, str], AbstractContextManager[None]]
) -> None:
    lab = lab_of("cross-subnet", QUICK)
    others = heard(lab)
    with nothing_lost(lab):
        with happens(lab, "a1"):
            wait_until(lambda: not heard(lab), within_s=WITHIN_S)
        wait_until(lambda: heard(lab) == others, within_s=WITHIN_S)
        assert lab.wait(CONVERGE_S)
    assert others
