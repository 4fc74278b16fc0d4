"""The shipped compose file: up, converged, a node killed and started again under load, down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from itertools import permutations

import docker
import pytest
from docker.models.containers import Container

from bgpctl.lab import netns
from bgpctl.lab.build import Names
from bgpctl.lab.load import Load
from bgpctl.lab.topology import Topology
from tests.docker.rig import PROJECT
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import wait_until

NAME = f"c{os.getpid()}"
PROFILES = {
    "": TOPOLOGIES / "cross-subnet.yaml",
    **{name: TOPOLOGIES / "compose" / f"{name}.yaml" for name in ("vxlan", "tor")},
}


class Project:
    """The compose project, while it is up."""

    def __init__(self, engine: docker.DockerClient, compose: tuple[str, ...], image: str) -> None:
        self.engine = engine
        self._command = (*compose, "--profile", "vxlan", "--profile", "tor", "-p", NAME)
        self._variables = {"BGPCTL_IMAGE": image}

    def run(self, *words: str) -> str:
        result = subprocess.run(
            (*self._command, *words),
            cwd=PROJECT,
            env={**os.environ, **self._variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def containers(self) -> list[Container]:
        return self.engine.containers.list(all=True, filters={"label": f"com.docker.compose.project={NAME}"})

    def part(self, service: str) -> Container:
        (found,) = (c for c in self.containers() if c.labels["com.docker.compose.service"] == service)
        return found

    def do(self, service: str, *command: str) -> str:
        """Run a command in a part; it must succeed."""
        done = self.part(service).exec_run(list(command))
        assert isinstance(done.output, bytes)  # not asked to stream
        assert done.exit_code == 0, (service, command, done.output.decode())
        return done.output.decode()

    def converge(self, of: Topology) -> None:
        for node in of.intent.nodes:
            self.do(node.name, "bgpctl", "show", "summary", "--wait", "60s")


@pytest.fixture(scope="module")
def project(engine: docker.DockerClient, compose: tuple[str, ...], image: str) -> Iterator[Project]:
    made = Project(engine, compose, image)
    try:
        made.run("up", "-d")
        yield made
    finally:
        made.run("down")
        assert made.containers() == []
        assert [network.name for network in engine.networks.list() if str(network.name).startswith(NAME)] == []


def test_compose_brings_up_both_backends_and_every_pair_answers_the_largest_ping_undivided(project: Project) -> None:
    for file in PROFILES.values():
        racks = read_topology(file)
        project.converge(racks)
        for one, other in permutations(racks.workloads, 2):
            size = str(racks.mtu_bytes(one) - 28)
            project.do(one.name, "ping", "-c1", "-W5", "-Mdo", f"-s{size}", str(other.address))
        for router in racks.routers if not racks.runs else ():
            assert "10.24" not in project.do(router.name, "ip", "route")


def test_a_node_is_healthy_while_its_agent_lives_and_what_it_costs_is_printed(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for node in read_topology(PROFILES[""]).intent.nodes:
        part = project.part(node.name)
        wait_until(partial(_is_healthy, project, node.name), within_s=30)
        used = part.stats(stream=False)["memory_stats"]["usage"]  # type: ignore[index]
        with capsys.disabled():
            print(f"\nmemory of node {node.name}: {used / 2**20:.0f} MiB")
        assert used < 256 * 2**20


def _is_healthy(project: Project, service: str) -> bool:
    return bool(project.part(service).attrs["State"]["Health"]["Status"] == "healthy")


def test_a_killed_node_comes_back_and_nothing_is_lost_elsewhere(project: Project) -> None:
    racks = read_topology(PROFILES[""])
    project.converge(racks)
    names = Names(NAME)
    others = [workload for workload in racks.workloads if workload.node != "b2"]
    try:
        for workload in others:
            pid = project.part(workload.name).attrs["State"]["Pid"]
            netns.ip([f"netns attach {names.of(workload.name)} {pid}"])
        load = Load(names, list(permutations(others, 2)), pps=50)
        load.start()
        project.part("b2").kill()
        wait_until(lambda: _peers(project, "a1") == "2/3", within_s=30)
        project.part("b2").start()
        project.converge(racks)
        project.do("web-a1", "ping", "-c1", "-W5", "10.244.4.10")
        flows = load.stop()
    finally:
        for name in netns.names(names.prefix):
            subprocess.run(("ip", "netns", "delete", name), check=True)
    assert sum(flow.sent for flow in flows) > 0
    assert [(flow.source, flow.destination, flow.lost) for flow in flows if flow.lost] == []


def _peers(project: Project, node: str) -> str:
    return project.do(node, "bgpctl", "show", "summary").splitlines()[1].split()[3]
