"""Many processes at an etcd of three members, killed while members are cut off: nothing is given twice, or lost."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.lab import build, etcd, netns, stores
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.store.etcd.follower import FAULTS
from tests import ipam_workers
from tests.lab import etcd_faults
from tests.lab.rig import CONVERGE_S, lab_report
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

ONE = "  store: {addresses: [10.0.0.253/24]}\netcd: [store]\n"
THREE = "".join(f"  s{n}: {{addresses: [10.0.0.{250 + n}/24]}}\n" for n in (1, 2, 3)) + "etcd: [s1, s2, s3]\n"
PROCESSES = 32
OPERATIONS = int(os.environ.get("BGPCTL_TEST_OPERATIONS", "20000"))
FAULT_EVERY_S = 4.0
WITHIN_S = 3000.0


class Crowd:
    """The processes, all in the namespace of one node."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        directory.mkdir()
        self.store = stores.options_of(lab.topology, lab.directory).name
        self.names = [f"n{index}" for index in range(PROCESSES)]
        self.workers = {name: self.start(name) for name in self.names}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """It goes on until it is ended."""
        where = self.lab.names.of("a1")
        return netns.inside(where, lambda: ipam_workers.start(self.store, name, PROCESSES, self.directory, OPERATIONS))

    def kill(self, name: str) -> None:
        ipam_workers.end([self.workers[name]])
        self.workers[name] = self.start(name)

    def end(self) -> None:
        ipam_workers.end([*self.workers.values()])

    def check(self) -> tuple[int, int]:
        return netns.inside(self.lab.names.of("a1"), lambda: ipam_workers.check(self.store, PROCESSES, self.directory))

    def answers(self) -> bool:
        def ask() -> bool:
            try:
                ipam_workers.worker_of(self.store, "n0", PROCESSES, self.directory).ipam.claims()
            except FAULTS:
                return False
            return True

        return netns.inside(self.lab.names.of("a1"), ask)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    if absent := etcd.missing():
        pytest.skip(f"not installed: {absent}")
    name = f"i{os.getpid()}"
    file = tmp_path / "vxlan-etcd.yaml"
    file.write_text((TOPOLOGIES / "vxlan-etcd.yaml").read_text().replace(ONE, THREE))
    lab = labs.up(read_topology(file), name, keep=False)
    assert lab.wait(CONVERGE_S), lab_report(lab)
    made = Crowd(lab, tmp_path / "nodes")
    yield made
    made.end()
    labs.down(name)
    assert netns.names(build.Names(name).prefix) == []


def test_thirty_two_processes_are_killed_while_members_of_the_etcd_are_cut_off(
    crowd: Crowd, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(7)
    kills, faults, began_s = 0, 0, time.monotonic()
    while ipam_workers.done(crowd.directory) < OPERATIONS:
        assert time.monotonic() - began_s < WITHIN_S
        until_s = time.monotonic() + FAULT_EVERY_S
        fault = chance.choice((None, etcd_faults.cut_off, etcd_faults.partitioned))
        end = fault(crowd.lab, chance.choice(crowd.lab.topology.stores)) if fault else None
        faults += fault is not None
        for name in chance.sample(crowd.names, 3):
            crowd.kill(name)
            kills += 1
        while time.monotonic() < until_s:
            time.sleep(0.1)
        if end:
            end()
    crowd.end()
    wait_until(crowd.answers, within_s=60)
    took_s = time.monotonic() - began_s
    blocks, addresses = crowd.check()
    with capsys.disabled():
        what = f"{ipam_workers.done(crowd.directory)} operations in {took_s:.0f} s, {kills} kills, {faults} partitions"
        print(f"\n{what}: {blocks} blocks, {addresses} addresses")
