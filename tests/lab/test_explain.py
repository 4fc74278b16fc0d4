"""Packets that are lost in a lab, one fault after the other, and what explain says from the kernels of all nodes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from bgpctl.cli.explain import explained
from bgpctl.core.fabric.host import Verdict
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.doctor import Finding, examine, needs_of
from bgpctl.kernel import snapshot, survey
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.cluster import member
from tests.waiting import wait_until

WEB: Final = {"a1": "10.244.1.10", "b1": "10.244.3.10"}
SHADOW: Final = "10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird"
POOL: Final = "ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4"


class Row(NamedTuple):
    """A fault at a node, how it is undone, whether pings pass all the same, and what explain has to say."""

    node: str
    fault: tuple[str, ...]
    undo: tuple[str, ...]
    passes: bool
    said: str
    next: str


ROWS: Final = {
    "shadowed": Row(
        "a1",
        (f"ip route add {SHADOW}",),
        (f"ip route del {SHADOW}",),
        False,
        "the foreign route 10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird metric 0 is used in place of ours",
        "ip route del 10.244.3.0/26 proto 12 metric 0",
    ),
    "rejected": Row(
        "a1",
        (
            "nft add table inet f",
            "nft add chain inet f F { type filter hook forward priority 10; policy accept; }",
            "nft add rule inet f F ct state established,related accept",
            "nft add rule inet f F reject",
        ),
        ("nft delete table inet f",),
        False,
        "of chain inet f F (forward): reject",
        "nft -a list table inet f",
    ),
    "masqueraded": Row(
        "a1",
        (
            "nft add table ip m",
            "nft add chain ip m post { type nat hook postrouting priority 90; }",
            f"nft add rule ip m post {POOL} masquerade",
        ),
        ("nft delete table ip m",),
        True,
        "of chain ip m post (postrouting): masquerade gives it another source",
        "nft -a list table ip m",
    ),
    "not forwarded": Row(
        "b1",
        ("nft add table ip d", "nft add chain ip d FORWARD { type filter hook forward priority 0; policy drop; }"),
        ("nft delete table ip d",),
        False,
        "chain ip d FORWARD (forward) has the policy drop",
        "nft -a list table ip d",
    ),
}


def inside(lab: Lab, part: str, command: str) -> None:
    words = ("ip", "netns", "exec", lab.names.of(part), *command.split(" "))
    if "{" in command:
        at = command.index("{")
        words = ("ip", "netns", "exec", lab.names.of(part), *command[:at].split(), command[at:])
    subprocess.run(words, check=True, capture_output=True)


def pings(lab: Lab) -> bool:
    command = ("ip", "netns", "exec", lab.names.of("web-a1"), "ping", "-c", "1", "-W", "1", WEB["b1"])
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def said(lab: Lab) -> dict[str, object]:
    """By the kernels of all nodes and of the router."""
    parts = [*(node.name for node in lab.topology.intent.nodes), *(router.name for router in lab.topology.routers)]
    live = {part: netns.inside(lab.names.of(part), snapshot.read) for part in parts}
    ends = Address.parse(WEB["a1"]), Address.parse(WEB["b1"])
    return explained(lab.topology.intent, ends, 84, live)


def test_explain_names_the_first_cause_of_each_fault(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("cross-subnet")
    assert said(lab)["outcome"] == "delivered"
    for name, row in ROWS.items():
        for command in row.fault:
            inside(lab, row.node, command)
        found = said(lab)
        if row.passes:
            wait_until(lambda: pings(lab), within_s=15.0)
        else:
            assert not pings(lab), name
        text = str(found)
        assert row.said in text, f"{name}: {text}"
        assert row.next in text, f"{name}: {text}"
        assert (found["outcome"] == "delivered") == row.passes, f"{name}: {text}"
        for command in row.undo:
            inside(lab, row.node, command)
        wait_until(lambda: pings(lab), within_s=15.0)
        assert said(lab)["outcome"] == "delivered"


def test_a_route_that_packets_do_not_take_is_no_convergence(lab_of: Callable[[str], Lab]) -> None:
    """Said by the agent, by `show routes` and by `doctor`, with the command that mends it."""
    lab = lab_of("cross-subnet")
    inside(lab, "a1", f"ip route add {SHADOW}")
    wait_until(lambda: lab.read("a1", "summary")["state"] == "degraded", within_s=15.0)
    (problem,) = lab.read("a1", "summary")["problems"]
    text, _, remedy = problem.partition(": ip ")
    assert text.startswith("packets to 10.244.3.0/26 do not take our route: the route 10.244.3.0/26 via 10.0.0.254")
    rows = {row["prefix"]: row for row in lab.read("a1", "routes")["routes"]}
    assert {prefix: row["shadowed"] for prefix, row in rows.items() if row["shadowed"]} == {"10.244.3.0/26": text}
    found = examined(lab, "a1")
    assert [(item.verdict, item.message, item.next) for item in found if item.check == "routes"] == [
        (Verdict.FAIL, text, f"ip {remedy}")
    ]
    inside(lab, "a1", f"ip {remedy}")
    wait_until(lambda: all(summary["converged"] for summary in lab.summaries()), within_s=15.0)
    assert not any(row["shadowed"] for row in lab.read("a1", "routes")["routes"])


def examined(lab: Lab, name: str) -> Sequence[Finding]:
    """The doctor's findings in a node's namespace."""
    node = member(lab.topology.intent, name)
    facts = netns.inside(lab.names.of(name), partial(survey.survey, agent=True))
    return examine(facts, needs_of(lab.topology.intent, node))
