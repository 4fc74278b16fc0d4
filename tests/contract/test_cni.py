"""The CNI plugin on the running kernel: containers' namespaces as a runtime makes them, real addresses and packets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgpctl.attach import cni, ledger_file, netns
from bgpctl.attach.cni import Code
from bgpctl.cli.cni import answered
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

CLUSTER = """\
calico_backend: vxlan
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN, blockSize: 29}
  six: {cidr: fd00:10:244::/64, encapsulation: VXLAN}
nodes:
  a1: {address: 10.0.0.1/24, address6: fd00:10:a::1/64, blocks: [10.244.1.0/29, fd00:10:244::40/122]}
"""


@dataclass
class Runtime:
    """A container runtime on the node a1, in the thread's namespace."""

    directory: Path
    version: str = "1.1.0"
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def call(self, command: str, container: str = "", **more: Any) -> tuple[dict[str, Any], int]:
        return answered(self.environment(command, container), json.dumps({**self.configuration(), **more}))

    def environment(self, command: str, container: str) -> dict[str, str]:
        known = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0"}
        return {**known, "CNI_NETNS": f"/run/netns/{self.space(container)}" if container else ""}

    def configuration(self) -> dict[str, Any]:
        names = {"cniVersion": self.version, "name": "blue", "type": "bgpctl-cni", "pools": ["blue", "six"]}
        place = {"file": str(self.directory / "cluster.yaml"), "node": "a1", "stateDir": str(self.directory / "state")}
        return {**names, **place}

    def space(self, container: str) -> str:
        return f"cni{os.getpid()}-{container}"

    def add(self, container: str, **more: Any) -> list[str]:
        """Start a container; its addresses."""
        netns.ip([f"netns add {self.space(container)}"])
        answer, code = self.call("ADD", container, **more)
        assert code == 0, answer
        self.results[container] = answer
        return [ip["address"].partition("/")[0] for ip in answer["ips"]]

    def end(self, container: str) -> None:
        """The namespace is gone before the deletion, as with containerd."""
        netns.ip([f"netns delete {self.space(container)}"])
        environment = {**self.environment("DEL", container), "CNI_NETNS": ""}
        assert answered(environment, json.dumps(self.configuration())) == ({}, 0)

    def held(self) -> set[str]:
        """The addresses in the ledger."""
        workloads = ledger_file.read(self.directory / "state").workloads.values()
        return {str(address) for workload in workloads for address in workload.addresses}

    def reaches(self, container: str, address: str) -> bool:
        command = ("ip", "netns", "exec", self.space(container), "ping", "-c", "1", "-W", "1", address)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    found = Runtime(tmp_path)
    with own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10:a::1/64 dev eth0 nodad")
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            Path("/proc/sys", name).write_text("1")
        try:
            yield found
        finally:
            netns.ip([f"netns delete {left.name}" for left in netns.NETNS.glob(found.space("*"))])


def cables() -> list[str]:
    shown = subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True).stdout
    return [line for line in shown.splitlines() if "cali" in line]


def test_containers_reach_each_other_by_both_ip_versions(runtime: Runtime) -> None:
    one, other = runtime.add("one"), runtime.add("other")
    assert one == ["10.244.1.1", "fd00:10:244::41"]
    for address in other:
        wait_until(partial(runtime.reaches, "one", address), within_s=15)
    for container in ("one", "other"):
        assert runtime.call("CHECK", container, prevResult=runtime.results[container]) == ({}, 0)


def test_what_ends_leaves_nothing_also_without_its_namespace_and_asked_twice(runtime: Runtime) -> None:
    runtime.add("one")
    runtime.end("one")
    assert (runtime.held(), cables()) == (set(), [])
    assert runtime.call("DEL", "one") == ({}, 0)


def test_a_check_finds_an_address_that_was_removed_inside(runtime: Runtime) -> None:
    runtime.add("one")
    netns.ip(["address delete 10.244.1.1/32 dev eth0"], runtime.space("one"))
    answer, code = runtime.call("CHECK", "one", prevResult=runtime.results["one"])
    assert (answer["code"], code) == (Code.DIFFERENT, 1)
    assert answer["msg"].endswith("lacks 10.244.1.1")
    answer, _ = runtime.call("CHECK", "other", prevResult=runtime.results["one"])
    assert answer["code"] == Code.UNKNOWN_CONTAINER


def test_the_address_that_was_chosen_is_given_once(runtime: Runtime) -> None:
    chosen = {"runtimeConfig": {"ips": ["10.244.1.5"]}}
    assert runtime.add("one", **chosen) == ["10.244.1.5", "fd00:10:244::41"]
    netns.ip([f"netns add {runtime.space('other')}"])
    answer, code = runtime.call("ADD", "other", **chosen)
    assert (answer["code"], answer["details"], code) == (Code.REFUSED, "address-in-use", 1)
    assert len(cables()) == 1


def test_a_full_block_is_said_and_leaves_nothing(runtime: Runtime) -> None:
    for number in range(7):  # its first address is the tunnel's
        runtime.add(f"c{number}")
    netns.ip([f"netns add {runtime.space('more')}"])
    answer, code = runtime.call("ADD", "more")
    assert (answer["details"], code) == ("full", 1)
    assert len(cables()) == 7


def test_gc_removes_exactly_what_the_runtime_does_not_have(runtime: Runtime) -> None:
    kept = runtime.add("kept")
    runtime.add("gone")
    valid: Any = [{"containerID": "kept", "ifname": "eth0"}]
    assert runtime.call("GC", "", **{"cni.dev/valid-attachments": valid}) == ({}, 0)
    assert runtime.held() == set(kept)
    assert len(cables()) == 1


def test_a_container_that_starts_again_in_another_namespace_has_one_cable(runtime: Runtime) -> None:
    runtime.add("one")
    runtime.end("one")
    assert runtime.add("one")
    assert len(cables()) == 1


def test_the_program_answers_as_podman_asks(runtime: Runtime) -> None:
    runtime.version = "0.4.0"
    netns.ip([f"netns add {runtime.space('one')}"])
    environment = {**os.environ, **runtime.environment("ADD", "one"), "CNI_ARGS": "IgnoreUnknown=1;IP=10.244.1.4"}
    command, text = (sys.executable, "-m", "bgpctl.cli.cni"), json.dumps(runtime.configuration())
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ips"][0]["address"], answer["ips"][0]["version"]) == (0, "10.244.1.4/32", "4")


def test_status_says_when_nothing_can_be_added(runtime: Runtime) -> None:
    assert runtime.call("STATUS") == ({}, 0)
    (runtime.directory / "cluster.yaml").write_text("nodes: [")
    answer, code = runtime.call("STATUS")
    assert (answer["code"], code) == (Code.NOT_AVAILABLE, 1)
    assert "cluster.yaml:2:1: not YAML" in answer["details"]
    assert answer["cniVersion"] == cni.NEWEST
