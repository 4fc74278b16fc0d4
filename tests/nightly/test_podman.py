"""
Containers of podman with the CNI plugin: started and removed, several at a time. No address is held twice, none is
left, and nothing is left in the kernel. BGPCTL_TEST_CONTAINERS is how many.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from bgpctl.attach import ledger_file
from tests.contract.kernel_rig import own_namespace, shell

CONTAINERS: Final = int(os.environ.get("BGPCTL_TEST_CONTAINERS", "12"))
AT_ONCE: Final = 4
PROGRAMS: Final = ("podman", "runc", "busybox")
MISSING: Final = [program for program in PROGRAMS if not shutil.which(program)]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces"),
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)}: see tools/system-packages podman"),
]

CLUSTER: Final = """\
calico_backend: vxlan
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26, 10.244.2.0/26, 10.244.3.0/26, 10.244.4.0/26]}
"""
CONTAINERS_CONF: Final = """\
[engine]
cgroup_manager="cgroupfs"
runtime="runc"
events_logger="file"
tmp_dir="{place}/tmp"
[network]
network_backend="cni"
cni_plugin_dirs=["{place}/plugins"]
network_config_dir="{place}/networks"
[containers]
default_ulimits=["nofile=1024:1024","nproc=1024:1024"]
"""


class Podman:
    """podman with storage and networks of its own, on the node a1 in the thread's namespace."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.state = place / "state"
        for name in ("plugins", "networks", "image/bin"):
            (place / name).mkdir(parents=True)
        (place / "plugins" / "bgpctl-cni").symlink_to(Path(sys.executable).with_name("bgpctl-cni"))
        (place / "cluster.yaml").write_text(CLUSTER)
        (place / "containers.conf").write_text(CONTAINERS_CONF.format(place=place))
        network = {"type": "bgpctl-cni", "pool": "blue", "file": str(place / "cluster.yaml"), "node": "a1"}
        conflist = {"cniVersion": "1.0.0", "name": "blue", "plugins": [{**network, "stateDir": str(self.state)}]}
        (place / "networks" / "blue.conflist").write_text(json.dumps(conflist))
        self._import_busybox()

    def _import_busybox(self) -> None:
        programs, image = self._place / "image" / "bin", self._place / "image.tar"
        shutil.copy(str(shutil.which("busybox")), programs)
        for name in ("sleep", "ping"):
            (programs / name).symlink_to("busybox")
        subprocess.run(("tar", "-C", programs.parent, "-cf", image, "."), check=True)
        self("import", str(image), "busy")

    def __call__(self, *words: str) -> str:
        stores = ("--root", self._place / "root", "--runroot", self._place / "runroot", "--storage-driver", "vfs")
        environment = {**os.environ, "CONTAINERS_CONF": str(self._place / "containers.conf")}
        done = subprocess.run(("podman", *stores, *words), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def started(self, name: str) -> str:
        """Start a container; its address."""
        self("run", "--detach", "--network", "blue", "--name", name, "busy", "sleep", "1000")
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return str(found[0]["NetworkSettings"]["Networks"]["blue"]["IPAddress"])

    def removed(self, name: str) -> None:
        self("rm", "--force", "--time", "0", name)


@pytest.fixture
def podman() -> Iterator[Podman]:
    # podman refuses paths as long as those of pytest.
    with tempfile.TemporaryDirectory(prefix="podman-") as place, own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        found = Podman(Path(place))
        try:
            yield found
        finally:
            found("rm", "--force", "--all", "--time", "0")


def cables() -> list[str]:
    links = subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True).stdout
    return [line for line in links.splitlines() if "cali" in line]


def test_containers_reach_each_other_by_address_and_one_has_the_address_that_was_chosen(podman: Podman) -> None:
    address = podman.started("web")
    shown = podman("run", "--rm", "--network", "blue", "--ip", "10.244.2.20", "busy", "ping", "-c", "1", address)
    assert " 0% packet loss" in shown
    podman.removed("web")
    assert cables() == []


def test_no_address_is_held_twice_and_nothing_is_left(podman: Podman) -> None:
    names, seen = [f"c{number}" for number in range(CONTAINERS)], []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for begin in range(0, CONTAINERS, 5 * AT_ONCE):
            some = names[begin : begin + 5 * AT_ONCE]
            addresses = [*pool.map(podman.started, some)]
            assert len({*addresses}) == len(some)
            seen += addresses
            [*pool.map(podman.removed, some)]
    assert len(seen) == CONTAINERS
    assert not ledger_file.read(podman.state).workloads
    assert cables() == []
