"""Nodes on an etcd with no declared block: each claims one with its first workload, and all pairs' packets pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab import build, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.lab import etcd_faults
from tests.lab.etcd_faults import WITHIN_S, all_heard, none_heard
from tests.lab.rig import CONVERGE_S, ip, lab_report, needs, ping
from tests.topologies import read_topology
from tests.waiting import wait_until

CLUSTER = """
calico_backend: vxlan
pools:
  blue: {cidr: 10.244.0.0/24, encapsulation: VXLAN, blockSize: 28}
nodes:
  a1: {address: 10.0.0.1/24}
  a2: {address: 10.0.0.2/24}
  b1: {address: 10.1.0.3/24}
segments:
  rack-a: 10.0.0.0/24
  rack-b: 10.1.0.0/24
routers:
  core: {addresses: [10.0.0.254/24, 10.1.0.254/24]}
hosts:
  store: {addresses: [10.0.0.253/24]}
etcd: [store]
---
apiVersion: projectcalico.org/v3
kind: IPAMConfig
metadata: {name: default}
spec: {strictAffinity: true}
"""
NODES = ("a1", "a2", "b1")


class Cluster:
    """The lab, and `bgpctl workload` on its nodes."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def workload(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        store = ("--store", str(self.lab.run_dir(node) / "store.yaml"), "--node", node)
        command = (sys.executable, "-m", "bgpctl", "workload", "--state-dir", str(self.directory / node))
        return netns.inside(
            self.lab.names.of(node),
            lambda: subprocess.run(
                (*command, words[0], *store, *words[1:]), capture_output=True, text=True, check=False
            ),
        )

    def add(self, node: str, name: str) -> Address:
        """A workload in a namespace of its own, which ends with the lab."""
        space = self.lab.names.of(f"{name}-{node}")
        netns.ip([f"netns add {space}"])
        done = self.workload(node, "add", name, "--netns", space, "--pool", "blue")
        assert done.returncode == 0, done.stderr
        return Address.parse(done.stdout.split()[2])

    def passes(self, source: str, address: Address) -> bool:
        return ping(self.lab, source, str(address), 100).returncode == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    file = tmp_path / "claims.yaml"
    file.write_text(CLUSTER)
    needs(file)
    name = f"c{os.getpid()}"
    lab = labs.up(read_topology(file), name, keep=False)
    assert lab.wait(CONVERGE_S), lab_report(lab)
    yield Cluster(lab, tmp_path)
    labs.down(name)
    assert netns.names(build.Names(name).prefix) == []


def test_each_node_claims_a_block_by_itself_and_every_pair_of_workloads_is_connected(cluster: Cluster) -> None:
    lab = cluster.lab
    given = {node: cluster.add(node, "web") for node in NODES}
    blocks = {node: Prefix(4, address.value & ~15, 28) for node, address in given.items()}
    assert len({*blocks.values()}) == len(NODES)
    for source, target in permutations(NODES, 2):
        wait_until(partial(cluster.passes, f"web-{source}", given[target]), within_s=WITHIN_S)

    more = [cluster.add("a1", f"web{number}") for number in range(15)]
    assert any(not blocks["a1"].holds(address) for address in more)  # the first block has 15 for workloads
    wait_until(lambda: cluster.passes("web-b1", more[-1]), within_s=WITHIN_S)
    tunnel = ip(lab, "a1", "-4", "address", "show", "dev", "vxlan.bgpctl")
    assert f" {blocks['a1'].first}/" in tunnel  # the tunnel's address has not moved with the second block

    (member,) = lab.topology.stores
    etcd_faults.killed(lab, member)
    wait_until(lambda: none_heard(lab), within_s=WITHIN_S)
    alone = cluster.add("b1", "alone")
    assert blocks["b1"].holds(alone)
    assert cluster.workload("b1", "del", "web").returncode == 0
    assert cluster.passes("web-a2", alone)
    lab.start_store(member)
    wait_until(lambda: all_heard(lab), within_s=WITHIN_S)
