"""The underlay does something else than the nodes think: members that packets do not reach are named with the cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from bgpctl.lab.lab import Lab
from tests.lab.rig import CONVERGE_S, inside
from tests.lab.traffic import nothing_lost
from tests.waiting import wait_until

WITHIN_S = 30.0
QUICK = "mesh: false\npeers: {all: {peerSelector: all(), holdTime: 3s}}\n"
"""A hold time of 3 s instead of 30 s."""


@pytest.fixture(autouse=True)
def probed_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less to wait for, and the same packets."""
    monkeypatch.setenv("BGPCTL_AGENT_RUN_PROVE_EVERY_S", "1s")


@contextmanager
def dropped(lab: Lab, *what: str) -> Iterator[None]:
    """The router between the racks drops it."""
    rules = ["add table ip cut", "add chain ip cut way { type filter hook forward priority 0; }"]
    for rule in (*rules, *(f"add rule ip cut way {item} drop" for item in what)):
        inside(lab, "core", f"nft '{rule}'")
    try:
        yield
    finally:
        inside(lab, "core", "nft delete table ip cut")


@contextmanager
def narrow(lab: Lab, mtu_bytes: int) -> Iterator[None]:
    """The router's link to the other rack takes smaller packets than those of the nodes."""
    inside(lab, "core", f"ip link set eth1 mtu {mtu_bytes}")
    try:
        yield
    finally:
        inside(lab, "core", "ip link set eth1 mtu 1500")


def summary(lab: Lab, node: str = "a1") -> dict[str, Any]:
    return lab.read(node, "summary")


def says(lab: Lab, *texts: str) -> None:
    """a1 has not converged, and a line of its summary has all this."""

    def holds() -> bool:
        found = summary(lab)
        return not found["converged"] and any(all(text in line for text in texts) for line in found["problems"])

    wait_until(holds, within_s=WITHIN_S)


def heals(lab: Lab) -> None:
    wait_until(lambda: all(found["converged"] for found in lab.summaries()), within_s=CONVERGE_S)
    assert summary(lab)["problems"] == []


def paths(lab: Lab) -> dict[str, str]:
    return {row["name"]: row["path"] for row in lab.read("a1", "nodes")["nodes"] if row["path"]}


@pytest.mark.parametrize(
    ("file", "rule", "link", "packets", "members"),
    [
        ("cross-subnet", "ip protocol 4", "tunl0", "IP protocol 4", "b1, b2"),
        ("vxlan", "udp dport 4789", "vxlan.bgpctl", "UDP port 4789", "b1, b2"),
    ],
)
def test_members_whose_encapsulation_the_underlay_drops_are_named_with_it(
    lab_of: Callable[..., Lab], file: str, rule: str, link: str, packets: str, members: str
) -> None:
    lab = lab_of(file)
    with dropped(lab, rule):
        says(lab, f"no probe reply from {members} by {link} ({packets}), but without encapsulation")
        assert paths(lab) == {"a2": "proven", "b1": "unreachable", "b2": "unreachable"}
        tunnels: Sequence[dict[str, Any]] = lab.read("a1", "tunnels")["tunnels"]
        assert [row["unproven"] for row in tunnels] == [["b1", "b2"]]
    heals(lab)


def test_a_narrow_path_and_a_lost_session_are_told_from_a_dead_path(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of("cross-subnet", QUICK)
    with narrow(lab, 1400):
        says(lab, "packets of 1480 bytes to b1, b2 by tunl0 are lost", "path MTU 1400, mtu 1380 (IPIP) or 1350 (VXLAN)")
        assert paths(lab) == {"a2": "proven", "b1": "path MTU 1400", "b2": "path MTU 1400"}
    heals(lab)
    with nothing_lost(lab):
        with dropped(lab, "tcp dport 179", "tcp sport 179"):
            says(lab, "peer b1 is not established, control lost, path proven, 1 stale route kept")
            assert summary(lab)["state"] == "degraded"
            assert paths(lab) == {"a2": "proven", "b1": "proven", "b2": "proven"}
        heals(lab)
