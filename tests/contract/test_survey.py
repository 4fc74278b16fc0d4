"""The doctor on a real host, once well and once for each fault that a namespace can be given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.kernel_rig import own_namespace, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

CLUSTER = """
calico_backend: bird
nodeMeshPasswordFile: mesh
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet, natOutgoing: true}
  green: {cidr: 10.245.0.0/16, encapsulation: VXLAN}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  b1: {address: 10.1.0.1/24, blocks: [10.244.2.0/26]}
"""
VXLAN = "link add flannel.1 type vxlan id 4096 dstport 4789 local 10.0.0.1 dev eth0"


@pytest.fixture
def host() -> Iterator[ExitStack]:
    """A well node in a namespace of its own, with a stack for the resources to close."""
    with own_namespace(), ExitStack() as stack:
        shell("link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0")
        for name in ("ip_forward=1", "conf.all.rp_filter=0", "conf.eth0.rp_filter=0"):
            run(f"sysctl -qw net.ipv4.{name}")
        yield stack


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)


def examined(directory: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and per check the worst finding."""
    file = directory / "cluster.yaml"
    file.write_text(CLUSTER)
    command = (sys.executable, "-m", "bgpctl", "doctor", "-f", str(file), "--node", "a1", "-o", "json")
    done = subprocess.run(
        (*command, "--run-dir", str(directory)), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in {0, 1}, done.stderr
    body = json.loads(done.stdout)
    assert body["schema"] == "bgpctl/doctor/v1"
    rank = ["PASS", "WARN", "FAIL"]
    return done.returncode, {
        row["check"]: row for row in sorted(body["checks"], key=lambda row: rank.index(row["verdict"]))
    }


def test_a_well_node_passes_every_check(host: ExitStack, tmp_path: Path) -> None:
    code, found = examined(tmp_path)
    assert {row["verdict"] for row in found.values()} == {"PASS"}, found
    assert code == 0
    assert subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout.count("\n") <= 4
    host.close()


@pytest.mark.parametrize(
    ("check", "verdict", "ill"),
    [
        ("ip_forward", "WARN", ["sysctl -qw net.ipv4.ip_forward=0"]),
        ("rp_filter", "WARN", ["sysctl -qw net.ipv4.conf.all.rp_filter=1"]),
        ("underlay", "FAIL", ["ip address del 10.0.0.1/24 dev eth0"]),
        ("underlay", "FAIL", ["ip link set eth0 down"]),
        ("mtu", "FAIL", ["ip link add tunl0 type veth peer name tunl0-end", "ip link set tunl0 alias bgpctl"]),
        ("vxlan port", "FAIL", [f"ip {VXLAN}"]),
        (
            "firewall",
            "FAIL",
            ["nft add table ip f", "nft add chain ip f i { type filter hook input priority 0 ; policy drop ; }"],
        ),
        (
            "firewall",
            "FAIL",
            [
                "nft add table inet f",
                "nft add chain inet f w { type filter hook forward priority 10 ; }",
                "nft add rule inet f w ct state established accept",
                "nft add rule inet f w reject",
            ],
        ),
    ],
)
def test_an_ill_node_is_reported_with_what_is_wrong(
    host: ExitStack, tmp_path: Path, check: str, verdict: str, ill: list[str]
) -> None:
    for command in ill:
        run(command)
    code, found = examined(tmp_path)
    assert (found[check]["verdict"], code) == (verdict, int(verdict == "FAIL")), found
    assert found[check]["next"]
    host.close()


@pytest.mark.parametrize(("check", "kind", "port"), [("bgp port", "STREAM", 179), ("vxlan port", "DGRAM", 4789)])
def test_a_port_in_use_is_found(host: ExitStack, tmp_path: Path, check: str, kind: str, port: int) -> None:
    taken = host.enter_context(socket.socket(socket.AF_INET, socket.SocketKind[f"SOCK_{kind}"]))
    taken.bind(("0.0.0.0", port))
    if kind == "STREAM":
        taken.listen()
    code, found = examined(tmp_path)
    assert (found[check]["verdict"], code) == ("FAIL", 1)
    assert str(port) in found[check]["next"]


def test_without_nft_it_is_reported(host: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, found = examined(tmp_path)
    assert (found["nftables"]["verdict"], code) == ("FAIL", 1)
    assert "nft is not installed" in found["nftables"]["message"]
    host.close()
