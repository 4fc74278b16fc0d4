"""An encapsulation that only the tables know: real agents carry packets by it, probe it, and change over to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bgpctl.kernel.links import list_links
from bgpctl.kernel.netlink import Netlink
from bgpctl.lab import lab as labs
from bgpctl.lab import netns
from bgpctl.lab.capture import Capture, Packet
from bgpctl.lab.lab import Lab
from bgpctl.lab.run import run
from bgpctl.lab.runtime import Namespaces
from bgpctl.lab.switch import switch
from tests.lab.rig import CONVERGE_S, lab_report
from tests.topologies import read_topology
from tests.toy.encapsulation import LINK, OVERHEAD_BYTES, registered
from tests.waiting import SLOWNESS

TOY_LAB = Path(__file__).parents[1] / "toy" / "lab.yaml"
ICMP = 1
PPS = int(os.environ.get("BGPCTL_TEST_PPS", "100"))


class Toys(Namespaces):
    module = "tests.toy.agent"


CELLS = Toys()


class Silent:
    def stage(self, text: str) -> None:
        pass

    def count(self, done: int, total: int) -> None:
        pass


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture
def vxlan_lab(tmp_path: Path) -> Iterator[Lab]:
    file = tmp_path / "toy.yaml"
    file.write_text(TOY_LAB.read_text().replace("ToyCrossSubnet", "VXLAN"))
    lab = labs.up(read_topology(file), f"t{os.getpid()}-toy", keep=False, runtime=CELLS)
    try:
        assert lab.wait(CONVERGE_S), lab_report(lab)
        yield lab
    finally:
        labs.down(lab.names.lab)


def test_workload_packets_cross_the_underlay_as_toys_where_the_pool_has_it(tmp_path: Path) -> None:
    file = tmp_path / "toys.yaml"
    shutil.copy(TOY_LAB, file)
    report = run(read_topology(file), Silent(), within_s=CONVERGE_S, runtime=CELLS)
    assert [(check.name, check.detail) for check in report.checks if not check.ok] == []
    assert report.ok, report


def test_a_cluster_changes_from_vxlan_to_toys_and_back_without_loss(
    vxlan_lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    with Capture(vxlan_lab.names, vxlan_lab.ports, vxlan_lab.topology.intent) as capture:
        there = switch(vxlan_lab, "blue", "Toy", PPS, Silent(), within_s=30 * SLOWNESS)
    assert there.took_s is not None, [summary["problems"] for summary in there.summaries]
    assert there.lost == 0, [flow for flow in there.flows if flow.lost]
    assert probed(vxlan_lab, capture.packets) == {"a1", "a2", "b1", "b2"}
    for node in ("a1", "a2", "b1", "b2"):
        (tunnel,) = vxlan_lab.read(node, "tunnels")["tunnels"]
        assert (tunnel["name"], tunnel["kind"], tunnel["mtu_bytes"]) == (LINK, "toy", 1500 - OVERHEAD_BYTES)
        assert len(tunnel["remotes"]) == 3
        assert tunnel["traffic"]["sent_packets"] > 0
        assert netns.inside(vxlan_lab.names.of(node), links) == {LINK: 1500 - OVERHEAD_BYTES}
    back = switch(vxlan_lab, "blue", "VXLANCrossSubnet", PPS, Silent(), within_s=30 * SLOWNESS)
    assert back.lost == 0, [flow for flow in back.flows if flow.lost]
    assert back.took_s is not None, [summary["problems"] for summary in back.summaries]
    sent = sum(flow.sent for report in (there, back) for flow in report.flows)
    with capfd.disabled():
        print(f"\ntoys: 2 switches, {sent} packets in 12 directions, 0 lost; {there.took_s} s and {back.took_s} s")


def links() -> dict[str, int]:
    """The MTUs of this namespace's devices of the kind that toys and VXLAN have in common."""
    with closing(Netlink()) as netlink:
        return {facts.name: facts.mtu_bytes for facts in list_links(netlink) if facts.kind == "vxlan"}


def probed(lab: Lab, packets: list[Packet]) -> set[str]:
    """The nodes that were sent an echo request by a toy, from another node's own address."""
    names = {node.address.address: node.name for node in lab.topology.intent.nodes}
    inside = (packet.inner for packet in packets if packet.inner and packet.inner.shape == "toy")
    requests = (found for found in inside if found.protocol == ICMP and found.source in names)
    return {names[found.destination] for found in requests if found.destination in names}
