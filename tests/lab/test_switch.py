"""The encapsulation changes under traffic from any kind to any other, and nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from bgpctl.core.fabric.ipip import LINK as IPIP_LINK
from bgpctl.lab.lab import Lab
from bgpctl.lab.switch import switch
from tests.lab.changes import TOURS, change, encapsulations, over, problems
from tests.lab.rig import inside, kill
from tests.lab.traffic import PPS, Silent, nothing_lost
from tests.waiting import SLOWNESS, wait_until


@pytest.mark.parametrize(("topology", "stops"), TOURS.items(), ids=TOURS)
def test_any_encapsulation_becomes_any_other_without_loss(
    lab_of: Callable[[str], Lab], topology: str, stops: Sequence[str], capfd: pytest.CaptureFixture[str]
) -> None:
    lab = lab_of(topology)
    sent = 0
    for word in stops:
        report = switch(lab, "blue", word, PPS, Silent(), within_s=30 * SLOWNESS)
        assert report.took_s is not None, [summary["problems"] for summary in report.summaries]
        assert report.lost == 0, [flow for flow in report.flows if flow.lost]
        sent += sum(flow.sent for flow in report.flows)
    driver = next(row["driver"] for row in lab.read("a1", "tunnels")["tunnels"] if row["name"] == IPIP_LINK)
    with capfd.disabled():
        print(f"\n{topology}: {len(stops)} switches, {sent} packets in 12 directions, 0 lost; IPIP by {driver}")


def test_an_encapsulation_that_the_cluster_cannot_have_is_refused_at_once(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    before = lab.topology.file.read_text()
    with pytest.raises(ValueError, match=r"pools\.blue.*calico_backend"):
        switch(lab, "blue", "IPIP", PPS, Silent(), within_s=30)
    assert lab.topology.file.read_text() == before


def waits_for_s(lab: Lab, node: str, reason: str) -> float:
    """How long it has waited for this reason."""
    return max(
        (item["age_s"] for item in lab.read(node, "summary")["waiting"] if item["reason"] == reason), default=0.0
    )


def test_no_packet_is_lost_to_a_node_that_does_not_follow(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    with nothing_lost(lab):
        lab.agents["b2"].send_signal(signal.SIGSTOP)
        change(lab, "VXLANCrossSubnet")
        wait_until(lambda: any(p.startswith("traffic to b2 stays on tunl0") for p in problems(lab, "a1")))
        wait_until(lambda: not any("traffic to b1" in problem for problem in problems(lab, "a1")))
        assert "tunl0 is kept until packets from b2 arrive by its replacement" in problems(lab, "a1")
        lab.agents["b2"].send_signal(signal.SIGCONT)
        wait_until(lambda: over(lab, "vxlan.bgpctl"), within_s=30)


def test_a_node_that_accepts_no_vxlan_is_sent_none(lab_of: Callable[[str], Lab]) -> None:
    """By the file; in BGP a node announces it as soon as it has the device, and others wait for that."""
    lab = lab_of("cross-subnet")
    before = lab.topology.file.read_text()
    with nothing_lost(lab):
        lab.topology.file.write_text(before.replace("  b2: {", "  b2: {accepts: [ipip], "))
        change(lab, "VXLANCrossSubnet")
        stays = "traffic to b2 stays on tunl0: it accepts ipip, according to the cluster file"
        wait_until(lambda: stays in problems(lab, "a1"))
        waiting = {item["reason"]: item for item in lab.read("a1", "summary")["waiting"]}
        assert waiting[stays]["member"] == "b2"
        wait_until(lambda: waits_for_s(lab, "a1", stays) > waiting[stays]["age_s"])
        wait_until(lambda: not any("traffic to b1" in problem for problem in problems(lab, "a1")))
        lab.topology.file.write_text(lab.topology.file.read_text().replace("accepts: [ipip], ", ""))
        wait_until(lambda: over(lab, "vxlan.bgpctl"), within_s=30 * SLOWNESS)


def test_a_bird_of_calicos_that_cannot_follow_is_reached_as_before(lab_of: Callable[[str], Lab]) -> None:
    """It answers no packet that comes by a tunnel, and no other node waits for it."""
    lab = lab_of("calico-neighbours")
    with nothing_lost(lab):
        change(lab, "IPIP")
        wait_until(lambda: any(p.startswith("traffic to c1 stays on eth0") for p in problems(lab, "a1")))
        wait_until(lambda: encapsulations(lab, "a1", "a2") == {"tunl0"})
        change(lab, "None")
        wait_until(
            lambda: all(s["converged"] for s in lab.summaries()) and not encapsulations(lab, "a1", "a2"), within_s=30
        )


def test_a_path_that_the_underlay_does_not_pass_is_not_taken(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    with nothing_lost(lab):
        for dropped, encapsulation, before, after in (
            ("udp dport 4789", "VXLANCrossSubnet", "tunl0", "vxlan.bgpctl"),
            ("ip protocol 4", "IPIPCrossSubnet", "vxlan.bgpctl", "tunl0"),
        ):
            chain = f"chain forward {{ type filter hook forward priority 0; {dropped} drop; }}"
            inside(lab, "core", f"nft 'table ip filtered {{ {chain}; }}'")
            change(lab, encapsulation)
            wait_until(partial(stays_on, lab, "b1", before))
            assert encapsulations(lab, "a1", "b2") == {before}
            inside(lab, "core", "nft delete table ip filtered")
            wait_until(partial(over, lab, after), within_s=30)


def stays_on(lab: Lab, member: str, link: str) -> bool:
    """True if a1 waits for the member."""
    return any(problem.startswith(f"traffic to {member} stays on {link}") for problem in problems(lab, "a1"))


def test_an_agent_killed_at_any_step_loses_nothing_and_finishes(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    with nothing_lost(lab):
        change(lab, "VXLANCrossSubnet")
        for delay_s in (0.0, 0.1, 0.3, 1.0, 2.0):
            passed = threading.Event()
            threading.Timer(delay_s, passed.set).start()
            assert passed.wait(delay_s + 5)
            kill(lab, "a1", signal.SIGKILL)
            lab.start_agent("a1")
        wait_until(lambda: over(lab, "vxlan.bgpctl"), within_s=60)


def test_a_change_of_mind_halfway_leads_back_without_loss(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    with nothing_lost(lab):
        lab.agents["b2"].send_signal(signal.SIGSTOP)
        change(lab, "VXLANCrossSubnet")
        wait_until(lambda: encapsulations(lab, "a1") == {"tunl0", "vxlan.bgpctl"})
        change(lab, "IPIPCrossSubnet")
        lab.agents["b2"].send_signal(signal.SIGCONT)
        wait_until(lambda: over(lab, "tunl0"), within_s=30)
