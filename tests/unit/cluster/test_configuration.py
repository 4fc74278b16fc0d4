"""Looking things up in a configuration."""

from __future__ import annotations

from dataclasses import replace

from tests.cluster import node, two_racks


def test_a_node_is_found_by_its_name_also_after_the_nodes_were_replaced() -> None:
    cluster = two_racks()
    assert cluster.node("a2") is cluster.nodes[1]
    assert cluster.node("c1") is None
    grown = replace(cluster, nodes=(*cluster.nodes, node("c1", "10.2.0.1/24")))
    assert grown.node("c1") is grown.nodes[-1]
    assert replace(grown, nodes=grown.nodes[1:]).node("a1") is None


def test_the_index_of_nodes_is_no_part_of_the_value() -> None:
    assert two_racks() == two_racks()
    assert "by_name" not in repr(two_racks())
