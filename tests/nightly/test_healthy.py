"""
Every shipped topology while nothing is wrong: verify has nothing to say, and what becomes of packets between workloads,
by chance in their ends and sizes, is what explain says of them. BGPCTL_TEST_HEALTHY is how many packets for each.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Final

import pytest

from bgpctl.cli import lab_asking
from bgpctl.cli.explain import explained_by
from bgpctl.lab import build, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.lab.packet_cases import asker, verified
from tests.lab.rig import CONVERGE_S, lab_report, needs, ping
from tests.nightly.chance import SEED
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import wait_until

PACKETS: Final = int(os.environ.get("BGPCTL_TEST_HEALTHY", "30"))
LARGE: Final = frozenset({"fifty-nodes"})
"""Every packet is followed by all agents' answers: those of fifty take seconds."""
FILES: Final = [file for file in sorted(TOPOLOGIES.glob("*.yaml")) if file.stem not in LARGE]
FAMILIES: Final = {4: 28, 6: 48}
"""Bytes of a ping's headers; tests.lab.rig.ping reckons with those of IPv4."""

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    file: Path = request.param
    needs(file)
    name = f"he{os.getpid()}"
    made = labs.up(read_topology(file), name, keep=False)
    try:
        assert made.wait(CONVERGE_S), lab_report(made)
        yield made
    finally:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []


@pytest.mark.parametrize("lab", FILES, ids=[file.stem for file in FILES], indirect=True)
def test_verify_is_silent_and_each_packet_goes_where_explain_says(lab: Lab) -> None:
    wait_until(lambda: verified(lab) == "", within_s=60)
    chance = random.Random(SEED)
    webs = [workload.name for workload in lab.topology.workloads]
    pairs = [*permutations(webs, 2)]
    wrong: list[str] = []
    known = asker(lab)
    for _ in range(PACKETS):
        source, destination = chance.choice(pairs)
        ends = lab_asking.ends(lab, source, destination)
        if ends[0].version != ends[1].version:
            continue
        size = chance.choice([84, 1280, 1400, chance.randrange(64, 1502), chance.randrange(1420, 1502)])
        size = max(size, FAMILIES[ends[0].version])
        said = explained_by(known, ends, size)
        arrives = _arrives(lab, source, str(ends[1]), size, ends[0].version)
        if arrives is not (said["outcome"] == "delivered"):
            wrong.append(f"{source} to {destination}, {size} bytes: {'arrives' if arrives else 'is lost'}, not: {said}")
    assert not wrong, f"seed {SEED}: {len(wrong)}:\n" + "\n".join(wrong[:5])


def _arrives(lab: Lab, source: str, destination: str, size_bytes: int, version: int) -> bool:
    """One of two: the first may be lost while a neighbour is resolved, or learn the path MTU."""
    size = size_bytes - (FAMILIES[version] - FAMILIES[4])
    return any(ping(lab, source, destination, size).returncode == 0 for _ in range(2))
