"""natOutgoing at work: hosts outside the pools see the node, other workloads see the workload."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from bgpctl.core.net.addresses import Address
from bgpctl.lab import probe
from bgpctl.lab.capture import Capture
from bgpctl.lab.lab import Lab
from tests.lab.rig import CONVERGE_S, ip
from tests.waiting import wait_until

ICMP = 1
ROUTER = Address.parse("10.0.0.254")


def reaches_router(lab: Lab) -> bool:
    command = ("ip", "netns", "exec", lab.names.of("web-a1"), "ping", "-c", "1", "-W", "1", str(ROUTER))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_workloads_leave_the_pools_with_their_nodes_address_and_only_then(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    assert not reaches_router(lab)
    file = lab.topology.file
    file.write_text(
        file.read_text().replace("encapsulation: IPIPCrossSubnet", "encapsulation: IPIPCrossSubnet, natOutgoing: true")
    )
    wait_until(lambda: reaches_router(lab), within_s=15)
    # The node's address is no longer the first of its link, as after another program has added one.
    for command in (
        *("addr del 10.0.0.1/24 dev eth0", "addr add 10.0.0.201/24 dev eth0", "addr add 10.0.0.1/24 dev eth0"),
        "route replace default via 10.0.0.254 dev eth0",
    ):
        ip(lab, "a1", *command.split())
    assert lab.wait(CONVERGE_S)
    wait_until(lambda: reaches_router(lab), within_s=15)
    with Capture(lab.names, lab.ports, lab.topology.intent) as capture:
        assert reaches_router(lab)
        assert all(pair.ok for pair in probe.matrix(lab.names, lab.topology.workloads, within_s=5))
    seen = [packet for packet in capture.packets if packet.destination == ROUTER and packet.protocol == ICMP]
    assert {str(packet.source) for packet in seen} == {"10.0.0.1"}
    inside = [packet.inner or packet for packet in capture.packets if packet.destination != ROUTER]
    senders = {str(end.source) for end in inside if end.protocol == ICMP and str(end.destination).startswith("10.244.")}
    assert {f"10.244.{number}.10" for number in (1, 2, 3, 4)} <= senders


def test_a_table_deleted_by_hand_is_back_after_the_next_observation(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    file = lab.topology.file
    file.write_text(file.read_text().replace("encapsulation: VXLAN}", "encapsulation: VXLAN, natOutgoing: true}"))
    wait_until(lambda: reaches_router(lab), within_s=15)
    namespace = lab.names.of("a1")
    subprocess.run(("ip", "netns", "exec", namespace, "nft", "delete", "table", "ip", "bgpctl_nat"), check=True)
    wait_until(lambda: reaches_router(lab), within_s=15)
