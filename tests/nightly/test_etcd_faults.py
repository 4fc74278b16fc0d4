"""Every fault of an etcd of three members, and of one, under traffic: no packet is lost, and changes go on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.lab import build, etcd, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.lab import etcd_faults
from tests.lab.etcd_faults import WITHIN_S, all_heard, change_reaches_all, none_heard
from tests.lab.rig import CONVERGE_S, lab_report
from tests.lab.traffic import nothing_lost
from tests.topologies import TOPOLOGIES, read_topology
from tests.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

ONE = "  store: {addresses: [10.0.0.253/24]}\netcd: [store]\n"
THREE = "".join(
    (
        *(f"  s{number}: {{addresses: [10.0.0.{250 + number}/24]}}\n" for number in (1, 2, 3)),
        "etcd: [s1, s2, s3]\n",
    )
)

Fault = Callable[[Lab, str], Callable[[], object]]


@pytest.fixture
def lab_with(tmp_path: Path) -> Iterator[Callable[[str], Lab]]:
    if absent := etcd.missing():
        pytest.skip(f"not installed: {absent}")
    name = f"e{os.getpid()}"

    def make(hosts: str) -> Lab:
        file = tmp_path / "vxlan-etcd.yaml"
        file.write_text((TOPOLOGIES / "vxlan-etcd.yaml").read_text().replace(ONE, hosts))
        made = labs.up(read_topology(file), name, keep=False)
        assert made.wait(CONVERGE_S), lab_report(made)
        return made

    yield make
    labs.down(name)
    assert netns.names(build.Names(name).prefix) == []


@pytest.mark.parametrize(
    "fault",
    [
        etcd_faults.killed,
        etcd_faults.paused,
        etcd_faults.partitioned,
        etcd_faults.compacted,
        etcd_faults.wiped,
        etcd_faults.restored,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_single_etcd_fails_and_returns_without_a_lost_packet(
    lab_with: Callable[[str], Lab], fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = lab_with(ONE)
    with nothing_lost(lab):
        end = fault(lab, "store")
        wait_until(lambda: none_heard(lab), within_s=WITHIN_S)
        end()
        began_s = time.monotonic()
        wait_until(lambda: all_heard(lab), within_s=WITHIN_S)
        took_s = time.monotonic() - began_s
        change_s = change_reaches_all(lab)
    with capsys.disabled():
        print(f"\n{fault.__name__}: all nodes follow {took_s:.2f} s after its return; a change takes {change_s:.3f} s")


@pytest.mark.parametrize("member", ["s1", "s2", "s3"])
@pytest.mark.parametrize(
    "fault",
    [etcd_faults.killed, etcd_faults.paused, etcd_faults.partitioned, etcd_faults.cut_off],
    ids=lambda fault: fault.__name__,
)
def test_one_of_three_members_fails_and_changes_go_on(
    lab_with: Callable[[str], Lab], fault: Fault, member: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them is the leader, and one is followed first."""
    lab = lab_with(THREE)
    writer = next(other for other in lab.topology.stores if other != member)
    with nothing_lost(lab):
        began_s = time.monotonic()
        end = fault(lab, member)
        change_reaches_all(lab, writer)
        took_s = time.monotonic() - began_s
        end()
        wait_until(lambda: all_heard(lab), within_s=WITHIN_S)
        change_reaches_all(lab, writer)
    with capsys.disabled():
        print(
            f"\n{fault.__name__} {member}: a change made meanwhile reached all kernels {took_s:.2f} s after the fault"
        )
