"""Each shipped topology, run as a user runs it, and the packets that it promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest

from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Encapsulation
from bgpctl.lab import build, netns, probe
from bgpctl.lab.capture import Capture, Packet
from bgpctl.lab.lab import Lab
from bgpctl.lab.topology import Workload
from tests.lab.rig import needs
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import wait_until

PROTOCOL_IPIP, TCP, UDP = 4, 6, 17
FILES = sorted(TOPOLOGIES.rglob("*.yaml"))


def bgpctl(*words: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bgpctl", *map(str, words))
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TOPOLOGIES).with_suffix("")))
def test_each_topology_runs_with_every_pair_and_check_ok_and_leaves_nothing(
    file: Path, record_property: Callable[[str, object], None]
) -> None:
    needs(file)
    began_s = time.monotonic()
    result = bgpctl("lab", "run", file, "--timeout", "100", "-o", "json", timeout_s=180)
    took_s = time.monotonic() - began_s
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert list(report) == ["schema", "topology", "backend", "converged_s", "pairs", "checks"]
    assert report["schema"] == "bgpctl/lab-run/v1"
    assert report["topology"] == file.stem
    workloads = read_topology(file).workloads
    pairs = sum(1 for a, b in permutations(workloads, 2) for version in (4, 6) if reach(a, b, version))
    assert report["pairs"] == {"total": pairs, "ok": pairs}
    assert report["checks"]
    assert all(check["ok"] for check in report["checks"])
    nodes = len(read_topology(file).intent.nodes)
    summary = (
        f"{file.relative_to(TOPOLOGIES)}: {nodes} nodes, converged in {report['converged_s']} s, {took_s:.1f} s in all"
    )
    record_property("summary", summary)


def reach(a: Workload, b: Workload, version: int) -> bool:
    return bool(a.address_of(version) and b.address_of(version))


def test_a_run_shows_the_routes_and_the_packets_that_prove_it_if_asked() -> None:
    result = bgpctl("lab", "run", TOPOLOGIES / "overlay" / "vxlan-ipv6.yaml", "--evidence", "-o", "json")
    report = json.loads(result.stdout)
    assert "blackhole fd00:10:244::40/122" in report["routes"]["a1"]
    assert " dev vxlan-v6.bgpctl " in report["routes"]["a1"]
    shown = {item["check"]: item["packet"] for item in report["packets"]}
    assert re.fullmatch(
        r"fd00:10:[ab]::\d > fd00:10:[ab]::\d protocol 17 port 4789 VNI 4096, \d+ bytes \[.* > .*\]",
        shown["between-racks-vxlan"],
    )


@pytest.mark.parametrize(("file", "underlay"), [("vxlan-ipv6", 6), ("vxlan", 4), ("ipip-always", 4)])
def test_the_largest_packet_of_a_workload_fills_the_underlays_mtu_to_the_last_byte(
    lab_of: Callable[[str], Lab], file: str, underlay: int
) -> None:
    tunnelled = [packet for packet in workload_packets(lab_of(file)) if packet.inner]
    assert {packet.source.version for packet in tunnelled} == {underlay}
    assert max(packet.length for packet in tunnelled) == 1500


def test_an_ipv6_pool_changes_its_mode_and_the_kernel_refuses_no_step(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan-ipv6")
    file, text = lab.topology.file, lab.topology.file.read_text()
    for mode, device in (("VXLAN", "vxlan-v6.bgpctl"), ("VXLANCrossSubnet", "eth0"), ("VXLAN", "vxlan-v6.bgpctl")):
        fresh = file.with_suffix(".new")
        fresh.write_text(text.replace("VXLANCrossSubnet", mode))
        fresh.replace(file)
        wait_until(partial(_goes_by, lab, "fd00:10:244::80/122", device))
        assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    assert "failed=1" not in lab.log("a1").read_text()


def _goes_by(lab: Lab, prefix: str, device: str) -> bool:
    shown = next(line for line in netns.routes(lab.names.of("a1")).splitlines() if line.startswith(prefix))
    return f" dev {device} " in shown


DAMAGE = (
    "link set vxlan-v6.bgpctl down",
    "link delete vxlan-v6.bgpctl",
    "-6 address flush dev vxlan-v6.bgpctl",
    "-6 neighbour flush dev vxlan-v6.bgpctl nud permanent",
    "-6 route delete fd00:10:244::80/122",
    "-6 route delete blackhole fd00:10:244::40/122",
    "nexthop flush protocol 179",
)


def test_ipv6_objects_taken_away_by_hand_are_back_without_help(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan-ipv6")
    healthy = _ipv6_of(lab, "a1")
    assert "permanent" in healthy.lower()
    for damage in DAMAGE:
        subprocess.run(("ip", "-n", lab.names.of("a1"), *damage.split()), check=True)
        wait_until(lambda: _ipv6_of(lab, "a1") == healthy)
    assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))


def _ipv6_of(lab: Lab, node: str) -> str:
    shown = [("route",), ("neighbour", "show", "nud", "permanent"), ("address", "show", "dev", "vxlan-v6.bgpctl")]
    commands = [("ip", "-6", "-o", "-n", lab.names.of(node), *words) for words in shown]
    texts = [subprocess.run(c, capture_output=True, text=True, check=False).stdout for c in commands]
    return re.sub(r"(?m)^\d+: ", "", "\n".join("\n".join(sorted(text.splitlines())) for text in texts))


def test_an_ipv6_node_reaches_workloads_and_tunnel_ends_of_other_racks(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan-ipv6")
    for target in ("fd00:10:244::ca", "fd00:10:244::c0", "fd00:10:244::8a"):
        command = ("ip", "netns", "exec", lab.names.of("a1"), "ping", "-6", "-c", "1", "-W", "2", "-s", "1382", target)
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def workload_packets(lab: Lab) -> list[Packet]:
    """The workloads' packets while every pair was pinged."""
    intent = lab.topology.intent
    blocks = [block for node in intent.nodes for block in intent.blocks_of(node)]
    with Capture(lab.names, lab.ports, lab.topology.intent) as capture:
        pairs = probe.matrix(lab.names, lab.topology.workloads, within_s=5)
    assert all(pair.ok for pair in pairs)
    ends = [(packet, packet.inner or packet) for packet in capture.packets]
    return [p for p, end in ends if any(b.holds(end.source) or b.holds(end.destination) for b in blocks)]


@pytest.mark.parametrize(
    ("file", "across", "inside"),
    [
        ("cross-subnet", IPIP, DIRECT),
        ("ipip-always", IPIP, IPIP),
        ("vxlan", VXLAN, VXLAN),
        ("vxlan-cross-subnet", VXLAN, DIRECT),
    ],
)
def test_workload_packets_are_on_the_wire_in_the_format_of_the_mode_only(
    lab_of: Callable[[str], Lab], file: str, across: Encapsulation, inside: Encapsulation
) -> None:
    lab = lab_of(file)
    intent = lab.topology.intent
    racks = {address: node.name[0] for node in intent.nodes for address in (node.address.address,)}
    blocks = {block: node for node in intent.nodes for block in intent.blocks_of(node)}
    seen = set()
    for packet in workload_packets(lab):
        end = packet.inner or packet
        sender, receiver = (
            next(node for block, node in blocks.items() if block.holds(address))
            for address in (end.source, end.destination)
        )
        crossing = sender.name[0] != receiver.name[0]
        seen.add((crossing, wire(packet)))
        if packet.inner:
            assert (packet.source, packet.destination) == (sender.address.address, receiver.address.address)
            assert racks[packet.source] == sender.name[0]
    assert seen == {(True, across), (False, inside)}
    assert [build.dropped(lab.names, router.name) for router in lab.topology.routers] == [0]


def wire(packet: Packet) -> Encapsulation | None:
    """How a packet is encapsulated, by its outer header alone."""
    if packet.protocol == PROTOCOL_IPIP:
        return IPIP
    if packet.protocol == UDP and packet.destination_port == 4789:
        assert packet.inner is not None
        assert packet.inner.vni == 4096
        return VXLAN
    return DIRECT if packet.inner is None else None


def test_without_bgp_no_node_speaks_it(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    with Capture(lab.names, lab.ports, lab.topology.intent) as capture:
        lab.start_agent("a1")
        probe.matrix(lab.names, lab.topology.workloads, within_s=5)
    assert capture.packets
    assert not [p for p in capture.packets if p.protocol == TCP and 179 in (p.source_port, p.destination_port)]
    assert all(lab.read(node.name, "peers")["peers"] == [] for node in lab.topology.intent.nodes)


def test_ipip_inherits_ttl_and_df_from_the_inner_packet(lab_of: Callable[[str], Lab]) -> None:
    tunnelled = [packet for packet in workload_packets(lab_of("ipip-always")) if packet.inner]
    assert {
        (packet.ttl - packet.inner.ttl) for packet in tunnelled if packet.inner and packet.port.owner != "core"
    } == {0}


def test_a_bad_lab_file_is_refused_with_every_problem_and_exit_2(tmp_path: Path) -> None:
    text = (TOPOLOGIES / "cross-subnet.yaml").read_text()
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace("node: a1", "node: a9").replace("at: rack-a", "at: rack-z"))
    result = bgpctl("lab", "run", bad)
    assert result.returncode == 2
    assert f"{bad}:" in result.stderr
    assert "workloads.web-a1.node: a9 is not a node of this file" in result.stderr
    assert "rack-z is none of" in result.stderr
