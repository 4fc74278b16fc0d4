"""Long-lived streams and full packets survive a change of the encapsulation, and IPv6 does too."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from functools import partial

from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from bgpctl.lab.load import Load, both_directions
from tests.lab.changes import change, over, problems
from tests.lab.rig import inside
from tests.lab.traffic import PPS, nothing_lost
from tests.waiting import SLOWNESS, wait_until

_VXLAN_MTU_BYTES = 1450
"""The largest packet that fits into both tunnels of an underlay with 1500."""
_PORT = 5006


class Transfer:
    """One TCP connection from the first workload to the last, as fast as it goes, until `finish`."""

    def __init__(self, lab: Lab) -> None:
        source, destination = lab.topology.workloads[0], lab.topology.workloads[-1]
        address = str(destination.address_of(4))
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()
        self.sent_bytes = 0
        self._stopping = threading.Event()
        self._listener = netns.open_socket(lab.names.of(destination.name), socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind((address, _PORT))
        self._listener.listen()
        self._client = netns.open_socket(lab.names.of(source.name), socket.AF_INET, socket.SOCK_STREAM)
        self._client.settimeout(30 * SLOWNESS)
        self._client.connect((address, _PORT))
        self.errors: list[OSError] = []
        self._threads = [threading.Thread(target=self._run, args=(act,)) for act in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def goes_on(self) -> None:
        """Wait until more was sent than the buffers on the path hold."""
        before = self.sent_bytes
        wait_until(lambda: self.sent_bytes > before + (1 << 16))

    def finish(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _run(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            self.errors.append(error)

    def _send(self) -> None:
        chunk = bytes(range(256)) * 16
        with self._client as client:
            while not self._stopping.wait(0.002):
                client.sendall(chunk)
                self.sent.update(chunk)
                self.sent_bytes += len(chunk)

    def _receive(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(30 * SLOWNESS)
        with connection:
            while chunk := connection.recv(1 << 16):
                self.received.update(chunk)


def test_a_long_transfer_and_undivided_full_packets_survive_there_and_back(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    full = Load(lab.names, both_directions(lab.topology.workloads), PPS, _VXLAN_MTU_BYTES)
    full.start()
    transfer = Transfer(lab)
    try:
        wait_until(lambda: all(flow.arrived for flow in full.flows))
        for encapsulation, link in (("VXLANCrossSubnet", "vxlan.bgpctl"), ("IPIPCrossSubnet", "tunl0")):
            change(lab, encapsulation)
            wait_until(partial(over, lab, link), within_s=30)
            transfer.goes_on()
    finally:
        transfer.finish()
        flows = full.stop()
    assert [flow for flow in flows if flow.lost] == []
    assert transfer.errors == []
    assert transfer.sent.digest() == transfer.received.digest()


def test_ipv6_takes_a_new_path_once_it_is_proven_and_loses_nothing(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan-ipv6")
    rule = (
        "table ip6 filtered { chain input { type filter hook input priority 0;"
        " ip6 saddr fd00:10:a::1 udp dport 4789 drop; }; }"
    )
    with nothing_lost(lab):
        inside(lab, "a2", f"nft '{rule}'")
        change(lab, "VXLAN", pool="six")
        wait_until(lambda: any(p.startswith("traffic to a2 stays on eth0") for p in problems(lab, "a1")))
        wait_until(lambda: not problems(lab, "b1"))
        inside(lab, "a2", "nft delete table ip6 filtered")
        wait_until(lambda: all_by(lab, {"vxlan-v6.bgpctl"}), within_s=30)
        change(lab, "VXLANCrossSubnet", pool="six")
        wait_until(lambda: all_by(lab, {"vxlan-v6.bgpctl", "eth0"}), within_s=30)


def all_by(lab: Lab, links: set[str]) -> bool:
    """True if all is done and every node's routes leave by these links."""
    rows = {node.name: lab.read(node.name, "routes")["routes"] for node in lab.topology.intent.nodes}
    used = [{row["dev"] for row in routes if row["dev"]} for routes in rows.values()]
    return all(summary["converged"] for summary in lab.summaries()) and all(devs == links for devs in used)
