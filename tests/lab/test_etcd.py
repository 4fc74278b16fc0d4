"""A lab whose nodes read an etcd: it fails under traffic, nothing is lost, and its next change reaches all kernels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from bgpctl import client
from bgpctl.lab.lab import Lab
from tests.lab import etcd_faults
from tests.lab.etcd_faults import WITHIN_S, all_heard, change_reaches_all, none_heard
from tests.lab.rig import ip
from tests.lab.traffic import nothing_lost
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")


def test_an_etcd_that_is_killed_paused_or_wiped_costs_no_packet_and_is_followed_again(
    lab_of: Callable[[str], Lab], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = lab_of("vxlan-etcd")
    (member,) = lab.topology.stores
    routes = {node.name: ip(lab, node.name, "route") for node in lab.topology.agents}
    took = {}
    with nothing_lost(lab):
        for fault in (etcd_faults.killed, etcd_faults.paused, etcd_faults.wiped):
            end = fault(lab, member)
            wait_until(lambda: none_heard(lab), within_s=WITHIN_S)
            for node in ("a1", "b1"):
                assert set(routes[node].splitlines()) <= set(ip(lab, node, "route").splitlines())
            end()
            began_s = time.monotonic()
            wait_until(lambda: all_heard(lab), within_s=WITHIN_S)
            took[fault.__name__] = time.monotonic() - began_s, change_reaches_all(lab)
    with capsys.disabled():
        for name, (again_s, change_s) in took.items():
            print(f"etcd {name}: all nodes follow {again_s:.2f} s after its return; a change takes {change_s:.3f} s")


def test_an_agent_that_starts_while_the_etcd_is_away_keeps_the_node_forwarding(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan-etcd")
    (member,) = lab.topology.stores
    wait_until((lab.run_dir("a1") / "snapshot.json").exists, within_s=WITHIN_S)
    routes = ip(lab, "a1", "route")
    with nothing_lost(lab):
        etcd_faults.killed(lab, member)
        lab.agents["a1"].kill()
        lab.agents["a1"].wait()
        lab.start_agent("a1")
        wait_until(lambda: answers_from_disk(lab), within_s=WITHIN_S)
        assert ip(lab, "a1", "route") == routes
        lab.start_store(member)
        wait_until(lambda: all_heard(lab), within_s=WITHIN_S)
        change_reaches_all(lab)


def answers_from_disk(lab: Lab) -> bool:
    try:
        summary = lab.read("a1", "summary")
    except client.AgentAway:
        return False
    return bool(summary["store"]["from_disk"] and summary["converged"] and not summary["store"]["heard"])
