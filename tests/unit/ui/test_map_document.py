"""The map's document: put together from parts of nodes, or from a cluster file alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from bgpctl import client
from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import MAP, answer
from bgpctl.cli import map_parts
from bgpctl.cli.map_sources import FileSource
from bgpctl.core.agent.events import Observe
from bgpctl.core.agent.state import begin
from bgpctl.core.bgp.speaker import SessionDown
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.lab import labfile
from bgpctl.lab.topology import Topology
from bgpctl.store import texts
from bgpctl.ui.document import End, ground_of, of_intent, of_parts, racks_of
from tests.cluster import two_racks, with_ipv6
from tests.stories.mesh import B1, converged
from tests.topologies import TOPOLOGIES

TWO_RACKS = two_racks(ipip=Mode.CROSS_SUBNET)


def part(**changes: Any) -> dict[str, Any]:
    """The part of a1 in a converged cluster."""
    play = converged()
    return {**answer(MAP, Snapshot(play.state, play.now_s + 41, {})), **changes}


def by_name(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for node in body["nodes"]}


def test_the_part_of_a_node_names_the_members_that_each_tunnel_leads_to() -> None:
    found = part()
    assert found["schema"] == client.schema(MAP)
    assert [(item["encapsulation"], item["to"]) for item in found["tunnels"]] == [("ipip", ["b1", "b2"])]
    assert found["direct"] == ["a2"]
    assert [(item["with"], item["established"]) for item in found["sessions"]] == [
        ("a2", True),
        ("b1", True),
        ("b2", True),
    ]


def test_a_session_that_ends_is_in_the_part_with_its_error_and_the_next_command() -> None:
    play = converged()
    play.give(SessionDown(B1, "closing connection", notified=False)).expect(Observe())
    play.settle()
    found = answer(MAP, Snapshot(play.state, play.now_s + 41, {}))
    session = {item["with"]: item for item in found["sessions"]}["b1"]
    assert (session["established"], session["error"]) == (False, "closing connection")
    assert session["next"] == "bgpctl show neighbor b1"
    body = of_parts(ground_of("x", "lab", TWO_RACKS), {"a1": found}, 0.0)
    assert by_name(body)["a1"]["sessions"]["down"] == [{key: session[key] for key in ("with", "error", "next")}]
    assert by_name(body)["a1"]["health"] == "bad"


def test_a_node_that_knows_nothing_yet_has_a_part() -> None:
    found = answer(MAP, Snapshot(begin("a1", 0.0), 1.0, {}))
    assert found["state"] == "starting"
    assert found["tunnels"] == found["sessions"] == found["direct"] == []
    assert isinstance(map_parts._understood(found), dict)


def test_each_node_is_in_the_rack_of_its_network_by_its_label_if_all_agree() -> None:
    assert [rack.name for rack in racks_of(TWO_RACKS)] == ["10.0.0.0/24", "10.1.0.0/24"]
    labelled = tuple(replace(node, labels=(("rack", node.name[0]),)) for node in TWO_RACKS.nodes)
    assert [rack.name for rack in racks_of(replace(TWO_RACKS, nodes=labelled))] == ["rack a", "rack b"]
    alike = tuple(replace(node, labels=(("rack", "x"),)) for node in TWO_RACKS.nodes)
    assert [rack.name for rack in racks_of(replace(TWO_RACKS, nodes=alike))] == ["10.0.0.0/24", "10.1.0.0/24"]


def test_a_map_of_running_nodes_has_their_states_and_reasons_and_those_that_could_not_be_asked() -> None:
    ground = ground_of("lab x", "lab", TWO_RACKS, [End("a1", "web", "10.244.1.10")])
    parts: map_parts.Parts = {"a1": part(problems=["no probe reply from b1"]), "b1": "refuses connections"}
    body = of_parts(ground, parts, 1000.0)
    nodes = by_name(body)
    assert (nodes["a1"]["state"], nodes["a1"]["health"], nodes["a1"]["agrees"]) == ("converged", "good", True)
    assert nodes["a1"]["why"] == ["no probe reply from b1"]
    assert nodes["a1"]["sessions"] == {"up": ["a2", "b1", "b2"], "down": []}
    assert nodes["a1"]["workloads"] == [{"name": "web", "address": "10.244.1.10", "kind": "workload"}]
    assert (nodes["b1"]["state"], nodes["b1"]["health"], nodes["b1"]["why"]) == (
        "not asked",
        "unknown",
        ["refuses connections"],
    )
    assert nodes["b2"]["why"] == ["it was not asked yet"]


def test_the_node_with_another_configuration_is_the_one_that_differs_from_most() -> None:
    parts = {"a1": part(), "a2": part(), "b1": part(configuration="other")}
    nodes = by_name(of_parts(ground_of("x", "lab", TWO_RACKS), parts, 0.0))
    assert [nodes[name]["agrees"] for name in ("a1", "a2", "b1")] == [True, True, False]
    assert any("another configuration" in words for words in nodes["b1"]["why"])


def test_events_of_all_nodes_are_in_one_order_the_newest_first() -> None:
    parts = {
        "a1": part(events=[{"age_s": 9.0, "event": "first"}, {"age_s": 1.0, "event": "last"}]),
        "a2": part(events=[{"age_s": 5.0, "event": "between"}]),
    }
    body = of_parts(ground_of("x", "lab", TWO_RACKS), parts, 100.0)
    assert [(item["node"], item["at_s"], item["event"]) for item in body["events"]] == [
        ("a1", 99.0, "last"),
        ("a2", 95.0, "between"),
        ("a1", 91.0, "first"),
    ]


def test_workloads_without_a_name_are_named_by_their_device() -> None:
    ground = ground_of("x", "agents", TWO_RACKS, [End("a1", "any of 10.244.1.0/26", "10.244.1.0", "block")])
    seen = part(workloads=[{"device": "bw12", "up": True, "addresses": ["10.244.1.7/32"]}])
    nodes = by_name(of_parts(ground, {"a1": seen}, 0.0))
    assert nodes["a1"]["workloads"] == [{"name": "bw12", "address": "10.244.1.7", "kind": "workload"}]
    nodes = by_name(of_parts(ground, {"a1": part()}, 0.0))
    assert [item["kind"] for item in nodes["a1"]["workloads"]] == ["block"]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"state": None},
        {"tunnels": [{"device": "x", "encapsulation": 4, "up": True, "mtu_bytes": 1, "to": []}]},
        {"sessions": {}},
        {"direct": ["a", 1]},
        {"unproven": {"b1": ["x"]}},
        {"events": [{"age_s": "soon", "event": "x"}]},
        {"workloads": [[]]},
        {"schema": "bgpctl/map-part/v0"},
    ],
)
def test_an_answer_of_another_shape_is_none(spoilt: dict[str, Any]) -> None:
    assert isinstance(map_parts._understood(part()), dict)
    assert isinstance(map_parts._understood(part(**spoilt)), str)


def test_the_text_of_a_member_cannot_spoil_a_page() -> None:
    found = map_parts._understood(part(problems=["a\x1b[2Jb"]))
    assert isinstance(found, dict)
    assert found["problems"] == ["a\\x1b[2Jb"]


def declared(intent: Intent) -> dict[str, dict[str, Any]]:
    return by_name(of_intent(ground_of("x", "files", intent), intent))


def test_a_cluster_file_has_the_tunnels_that_its_nodes_would_have() -> None:
    nodes = declared(TWO_RACKS)
    assert [(item["encapsulation"], item["to"]) for item in nodes["a1"]["tunnels"]] == [("ipip", ["b1", "b2"])]
    assert nodes["a1"]["direct"] == ["a2"]
    assert nodes["a1"]["sessions"]["up"] == ["a2", "b1", "b2"]
    both = declared(with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS))
    assert [(item["encapsulation"], item["to"]) for item in both["a1"]["tunnels"]] == [
        ("ipip", ["a2", "b1", "b2"]),
        ("vxlan", ["a2", "b1", "b2"]),
    ]


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_topology_has_a_map_with_every_part_once(path: Path) -> None:
    topology, intent = labfile.load(path), texts.load([path])
    assert isinstance(topology, Topology)
    assert isinstance(intent, Intent)
    body = FileSource(intent, [path], topology).map()
    names = [node["name"] for node in body["nodes"]]
    parts = [router.name for router in topology.routers] + [host.name for host in topology.hosts]
    assert sorted(names) == sorted([*parts, *(node.name for node in intent.nodes)])
    racks = {rack["name"] for rack in body["racks"]}
    assert all(set(node["racks"]) <= racks and node["racks"] for node in body["nodes"])
    addresses = [item["address"] for node in body["nodes"] for item in node["workloads"] if item["kind"] == "workload"]
    assert sorted(addresses) == sorted(str(one) for item in topology.workloads for one in item.addresses)


def test_files_explain_and_verify_as_the_commands_do() -> None:
    path = TOPOLOGIES / "cross-subnet.yaml"
    intent = texts.load([path])
    assert isinstance(intent, Intent)
    source = FileSource(intent, [path])
    ends = [node["workloads"][0]["address"] for node in source.map()["nodes"]]
    for one, other in combinations(ends, 2):
        assert source.explain(one, other, 84)["outcome"] == "delivered"
    assert source.verify() == {"schema": "bgpctl/verify/v1", "pairs": 12, "classes": []}
