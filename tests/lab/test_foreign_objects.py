"""Objects of others on a node survive the agent: its start, its run, its crash and its cleanup."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from bgpctl.lab import netns, probe
from bgpctl.lab.lab import Lab
from tests.lab.rig import CONVERGE_S, ip, kill
from tests.waiting import wait_until

FOREIGN = (
    "ip link add theirs type veth peer name theirs-far",
    "ip link set theirs-far up",
    "ip link set theirs up",
    "ip address add 192.0.2.1/25 dev theirs",
    "ip address add 10.0.0.201/24 dev eth0",
    "ip route add 198.51.100.0/24 via 192.0.2.9 dev theirs onlink",
    "ip route add blackhole 10.244.99.0/26 proto static",
    "ip route add blackhole 10.244.3.0/26 proto static metric 5000",
    "ip route add 203.0.113.0/24 dev theirs table 1000",
    "ip nexthop add id 7 via 192.0.2.9 dev theirs onlink",
    "ip nexthop add id 8 group 7",
    "ip neighbour add 192.0.2.8 lladdr 02:00:00:00:00:08 dev theirs nud permanent",
    "ip rule add from 192.0.2.0/25 lookup 1000 priority 1000",
    "nft add table ip theirs",
    "nft add chain ip theirs input { type filter hook input priority 0 ; }",
    "nft add rule ip theirs input ip saddr 192.0.2.66 drop",
    "tc qdisc replace dev eth0 clsact",
    "tc filter add dev eth0 ingress prio 7 protocol ip u32 match ip protocol 1 0xff flowid 1:1",
)
SHOWN = (
    "ip -d link show theirs",
    "ip address show theirs",
    "ip address show dev eth0",
    "ip route show dev theirs table all",
    "ip route show proto static",
    "ip nexthop show id 7",
    "ip nexthop show id 8",
    "ip neighbour show dev theirs nud permanent",
    "ip rule",
    "nft list table ip theirs",
    "tc filter show dev eth0 ingress prio 7",
)


def inside(lab: Lab, command: str) -> str:
    words = ("ip", "netns", "exec", lab.names.of("a1"), *command.split())
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def foreign_objects(lab: Lab) -> list[str]:
    return [inside(lab, command) for command in SHOWN]


def cleanup(lab: Lab) -> None:
    command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(lab.run_dir("a1")))
    process = netns.spawn(lab.names.of("a1"), command, lab.directory / "cleanup.log")
    assert process.wait(timeout=30) == 0, (lab.directory / "cleanup.log").read_text()


def sysctls(lab: Lab) -> list[str]:
    return [inside(lab, f"sysctl -n net.ipv4.{name}") for name in ("ip_forward", "conf.eth0.rp_filter")]


@pytest.mark.parametrize("file", ["cross-subnet", "vxlan"])
def test_foreign_objects_survive_start_run_crash_and_cleanup(lab_of: Callable[[str], Lab], file: str) -> None:
    lab = lab_of(file)
    kill(lab, "a1", signal.SIGTERM)
    cleanup(lab)
    before = sysctls(lab)
    for command in FOREIGN:
        inside(lab, command)
    seen = foreign_objects(lab)
    for end in (signal.SIGKILL, signal.SIGTERM):
        lab.start_agent("a1")
        assert lab.wait(CONVERGE_S)
        assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
        assert foreign_objects(lab) == seen
        kill(lab, "a1", end)
        assert foreign_objects(lab) == seen
    cleanup(lab)
    assert foreign_objects(lab) == seen
    assert sysctls(lab) == before
    assert "179" not in inside(lab, "ip route show table all")


@pytest.mark.parametrize("file", ["cross-subnet", "vxlan-cross-subnet"])
def test_without_next_hop_objects_it_works_the_same(
    lab_of: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("BGPCTL_AGENT_RUN_NEXTHOP_OBJECTS", "no")
    lab = lab_of(file)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    assert ip(lab, "a1", "nexthop") == ""
    healthy = sorted(ip(lab, "a1", "route").splitlines())
    link = "tunl0" if file == "cross-subnet" else "vxlan.bgpctl"
    for damage in (("route", "del", "10.244.3.0/26"), ("link", "set", link, "down"), ("address", "flush", "dev", link)):
        ip(lab, "a1", *damage)
        wait_until(lambda: sorted(ip(lab, "a1", "route").splitlines()) == healthy)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    kill(lab, "a1")
    lab.start_agent("a1")
    assert lab.wait(CONVERGE_S)
    assert sorted(ip(lab, "a1", "route").splitlines()) == healthy
