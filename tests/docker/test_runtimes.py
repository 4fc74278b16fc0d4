"""The same topology file in memory, in network namespaces and in containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import docker
import pytest

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, NextHop, Route
from bgpctl.core.simulate.preview import assumed_kernel, converged
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.lab import lab as labs
from bgpctl.lab import netns, probe, runtime
from bgpctl.lab.build import Names
from bgpctl.lab.topology import Topology
from tests.lab.rig import CONVERGE_S, lab_report
from tests.topologies import TOPOLOGIES, read_topology

FILES = ("cross-subnet", "vxlan", "dual-stack")
Paths = Mapping[Prefix, tuple[Route, NextHop | None]]


@pytest.mark.parametrize("file", FILES)
def test_the_same_file_gives_the_same_routes_in_memory_in_namespaces_and_in_containers(image: str, file: str) -> None:
    racks = read_topology(TOPOLOGIES / f"{file}.yaml")
    memory = {node.name: paths(converged(racks.intent, node, assumed_kernel(node))) for node in racks.intent.nodes}
    assert all(len(found) >= len(racks.intent.nodes) for found in memory.values())
    for place in (runtime.of(runtime.NETNS), runtime.of(runtime.COMPOSE, image)):
        assert built(racks, place) == memory


def built(racks: Topology, place: runtime.Runtime) -> Mapping[str, Paths]:
    """The routes and next hops of each node, once every pair of workloads has answered."""
    name = f"d{os.getpid()}-{place.word}-{racks.name}"
    try:
        lab = labs.up(racks, name, keep=False, runtime=place)
        assert lab.wait(CONVERGE_S), lab_report(lab)
        assert all(pair.ok for pair in probe.matrix(lab.names, racks.workloads, within_s=5, undivided=True))
        return {node.name: netns.inside(lab.names.of(node.name), observed) for node in racks.intent.nodes}
    finally:
        labs.down(name)
        assert netns.names(Names(name).prefix) == []


def observed() -> Paths:
    kernel = LinuxKernel()
    try:
        return paths(kernel.observe())
    finally:
        kernel.close()


def paths(dataplane: Dataplane) -> Paths:
    """Our routes, each with its next hop."""
    hops = {hop.id: hop for hop in dataplane.next_hops}
    ours = (route for route in dataplane.routes if route.protocol == PROTOCOL)
    return {route.prefix: (route, hops.get(route.next_hop or 0)) for route in ours}


def test_a_lab_of_containers_runs_by_the_same_command_and_leaves_nothing(
    engine: docker.DockerClient, image: str
) -> None:
    command = (sys.executable, "-m", "bgpctl", "lab", "run", str(TOPOLOGIES / "cross-subnet.yaml"))
    how = ("--backend", "compose", "--image", image, "-o", "json")
    result = subprocess.run((*command, *how), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert report["pairs"] == {"total": 12, "ok": 12}
    assert all(check["ok"] for check in report["checks"])
    assert engine.containers.list(all=True, filters={"name": "bgpctl-cross-subnet"}) == []


def test_a_missing_image_is_reported_with_the_tool_that_makes_it(engine: docker.DockerClient) -> None:
    del engine
    name = f"d{os.getpid()}-none"
    with pytest.raises(RuntimeError, match="tools/image makes it"):
        labs.up(
            read_topology(TOPOLOGIES / "vxlan.yaml"), name, keep=False, runtime=runtime.of(runtime.COMPOSE, "no-such:1")
        )
    assert netns.names(Names(name).prefix) == []
    assert name not in labs.lab_names()


def test_the_image_is_small_and_has_one_entry_point_and_a_health_check(
    engine: docker.DockerClient, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    attributes = engine.images.get(image).attrs
    with capsys.disabled():
        print(f"\nsize of the image: {attributes['Size'] / 1e6:.0f} MB")
    assert attributes["Size"] < 200e6
    assert attributes["Config"]["Entrypoint"] == ["bgpctl"]
    assert attributes["Config"]["Healthcheck"]["Test"][0] == "CMD"
    version = engine.containers.run(image, ["--version"], remove=True, network_mode="none").decode()
    assert version.startswith("bgpctl, version ")
