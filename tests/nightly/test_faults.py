"""
Random faults of a lab under traffic: each costs no more than it declared, nothing else is lost, and the end is the
declared state. BGPCTL_TEST_FAULTS is how many, and BGPCTL_TEST_SEED makes their order come again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Final

import pytest

from bgpctl.lab import build, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Flow, Load, both_directions
from tests.kernel_text import assert_same_text
from tests.lab.rig import CONVERGE_S, ip, lab_report
from tests.nightly.chance import SEED
from tests.nightly.faults import BLOCKS, Fault, any_fault, replaced
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import SLOWNESS, wait_until

FAULTS: Final = int(os.environ.get("BGPCTL_TEST_FAULTS", "3"))
PPS: Final = int(50 / SLOWNESS)
NODE_OF: Final = {f"web-{node}": node for node in BLOCKS}

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


@pytest.fixture
def lab() -> Iterator[Lab]:
    name = f"f{os.getpid()}"
    made = labs.up(read_topology(TOPOLOGIES / "cross-subnet.yaml"), name, keep=False)
    try:
        assert made.wait(CONVERGE_S), lab_report(made)
        yield made
    finally:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []


def test_a_fault_costs_what_it_declared_and_nothing_else_is_lost(lab: Lab) -> None:
    chance = random.Random(SEED)
    healthy = {node: state_of(lab, node) for node in BLOCKS}
    load = Load(lab.names, both_directions(lab.topology.workloads), PPS)
    load.start()
    try:
        settle(load.flows)
        for number in range(FAULTS):
            fault = any_fault(chance)
            first = [flow.sent for flow in load.flows]
            fault.happens(lab)
            assert recovers(lab), f"seed {SEED}, fault {number}: {fault}\n{lab_report(lab)}"
            end = settle(load.flows)
            windows = zip(load.flows, first, end, strict=True)
            excess = [text for flow, *window in windows if (text := above(fault, flow, *window))]
            assert not excess, f"seed {SEED}, fault {number}: {fault}\n{excess}\n{lab_report(lab)}"
        assert recovers(lab), lab_report(lab)
    finally:
        load.stop()
    for node, before in healthy.items():
        assert_same_text(state_of(lab, node), before)
        assert "Traceback" not in lab.log(node).read_text(errors="replace"), lab_report(lab)


def recovers(lab: Lab) -> bool:
    """
    True if all nodes converge. An agent that was made to repair one object several times takes it for a contest with
    another program, and its time over it; its successor does not. That may be a moment after it has converged.
    """
    end_s = time.monotonic() + CONVERGE_S
    while time.monotonic() < end_s:
        if lab.wait(1.0):
            return True
        for summary in lab.summaries():
            if any("keeps reverting" in problem for problem in summary["problems"]):
                replaced(lab, summary["node"], signal.SIGTERM)
    return False


def settle(flows: list[Flow]) -> list[int]:
    """The number of the next packet of each flow, once it or a later one has arrived."""
    ends = [flow.sent for flow in flows]
    wait_until(lambda: all(flow.has_since(end) for flow, end in zip(flows, ends, strict=True)), within_s=30)
    return ends


def above(fault: Fault, flow: Flow, first: int, end: int) -> str:
    """The loss of a flow above the declared one, as text; empty if there is none."""
    pair = NODE_OF[flow.source], NODE_OF[flow.destination]
    may_lose = int(fault.within_s * PPS * SLOWNESS) if pair in fault.costs else 0
    lost = flow.missing(first, end)
    return f"{pair}: {lost} of {end - first} lost, {may_lose} declared" if lost > may_lose else ""


def state_of(lab: Lab, node: str) -> str:
    """Without the numbers of links, which a device that was made anew has others of."""
    shows = (
        ("route",),
        ("nexthop",),
        ("neighbour", "show", "nud", "permanent"),
        ("-brief", "address", "show", "tunl0"),
    )
    return "\n".join(ip(lab, node, *words) for words in shows)
