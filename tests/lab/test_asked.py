"""
One lab whose agents ask each other: faults that no file shows, one after the other, and what verify and explain say of
them on another node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from click.testing import CliRunner, Result

from bgpctl.cli import asking, lab_asking
from bgpctl.cli.explain import explained_by
from bgpctl.cli.main import main
from bgpctl.cli.map_sources import AgentSource
from bgpctl.cli.verify import live
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.rig import inside, kill
from tests.waiting import wait_until

PORT: Final = 9179


class Fault(NamedTuple):
    """A fault at a node, how it is undone, the node that verify names and the cause; and the next command."""

    node: str
    fault: str
    undo: str
    failure: str
    because: str
    next: str


FAULTS: Final = (
    Fault(
        "a2",
        "ip route add 10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird metric 5",
        "ip route del 10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird metric 5",
        "unknown",
        "the foreign route 10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird metric 5 is used in place of ours",
        "ip route del 10.244.3.0/26 proto 12 metric 5",
    ),
    Fault(
        "b1",
        "nft 'table inet f { chain F { type filter hook forward priority 10; reject; }; }'",
        "nft delete table inet f",
        "unreachable",
        "of chain inet f F (forward): reject",
        "nft -a list table inet f",
    ),
    Fault(
        "b1",
        "ip rule add priority 100 from 10.244.2.0/26 to 10.244.3.0/26 prohibit",
        "ip rule del priority 100",
        "unreachable",
        "rule 100 (prohibit) drops it",
        "ip rule",
    ),
)


def verify(lab: Lab) -> Result:
    """The command on a1."""
    words = ("verify", "--run-dir", str(lab.run_dir("a1")), "--keys", str(lab.keys("a1")))
    return netns.inside(lab.names.of("a1"), lambda: CliRunner().invoke(main, words))


def asker(lab: Lab) -> asking.Asker:
    """As a command on a1 asks; inside its namespace."""
    return asking.of_agent(lab.run_dir("a1"), lab.keys("a1"))


def verified(lab: Lab) -> dict[str, Any]:
    return netns.inside(lab.names.of("a1"), lambda: live(lambda: asker(lab), 0.0))


def explained(lab: Lab, source: str, destination: str) -> dict[str, Any]:
    ends = lab_asking.ends(lab, source, destination)
    return netns.inside(lab.names.of("a1"), lambda: explained_by(asker(lab), ends, 84))


def mapped(lab: Lab) -> dict[str, dict[str, Any]]:
    """The nodes of the map that a1 serves."""
    body = netns.inside(lab.names.of("a1"), lambda: AgentSource(lab.run_dir("a1"), lab.keys("a1")).map())
    return {node["name"]: node for node in body["nodes"]}


def is_found(lab: Lab, row: Fault) -> bool:
    found = [(item["failure"], item["node"], row.because in item["because"]) for item in verified(lab)["classes"]]
    return (row.failure, row.node, True) in found


def is_well(lab: Lab) -> bool:
    body = verified(lab)
    return not body["classes"] and not body["unasked"]


def test_faults_of_other_nodes_are_named_by_their_first_cause(lab_of: Callable[[str, str], Lab]) -> None:
    lab = lab_of("cross-subnet", f"channelPort: {PORT}\n")
    wait_until(lambda: is_well(lab), within_s=60)
    found = verify(lab)
    assert (found.exit_code, found.output) == (0, "12 pairs of blocks: all reach each other\n")
    assert live(lambda: lab_asking.of_lab(lab), 0.0)["classes"] == []
    for row in FAULTS:
        inside(lab, row.node, row.fault)
        wait_until(lambda row=row: is_found(lab, row), within_s=30)  # type: ignore[misc]
        said = explained(lab, "web-a2", "web-b1")
        assert said["outcome"] != "delivered", row
        assert row.because in str(said), said
        assert row.next in str(said), said
        inside(lab, row.node, row.undo)
    wait_until(lambda: is_well(lab), within_s=30)
    wait_until(lambda: {node["state"] for node in mapped(lab).values()} == {"converged"}, within_s=30)
    assert [(item["encapsulation"], item["to"]) for item in mapped(lab)["b1"]["tunnels"]] == [("ipip", ["a1", "a2"])]

    kill(lab, "b1")
    wait_until(lambda: bool(verified(lab)["unasked"]), within_s=30)
    found = verify(lab)
    assert found.exit_code == 1
    assert f"! b1 could not be asked: 10.1.0.3:{PORT} refuses connections" in found.output
    there = explained(lab, "web-a2", "web-b1")["there"]
    assert {step["node"] for step in there["steps"] if step["declared"]} == {"b1"}
    assert there["outcome"] == "unknown"
    ill = mapped(lab)["b1"]
    assert (ill["state"], ill["health"]) == ("not asked", "unknown")
    assert ill["why"] == [f"10.1.0.3:{PORT} refuses connections: its agent does not run there, or has no keys"]
