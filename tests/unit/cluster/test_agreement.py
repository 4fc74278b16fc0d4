"""Two configurations of one cluster: equal by meaning, or different in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bgpctl.core.cluster import agreement
from bgpctl.core.cluster.agreement import differences, digest, outline, received
from bgpctl.core.cluster.allocations import TunnelAddress
from bgpctl.core.cluster.configuration import Filter, FilterRule, Peer
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn
from tests.cluster import allocated, node, prefixes, two_racks

CLUSTER = two_racks(ipip=Mode.CROSS_SUBNET)
HERE = outline(CLUSTER)
OTHER_PLACE = {"password_file": "/other/b"}
NO_PASSWORD = {"password_file": None}


def without(name: str) -> Intent:
    return replace(CLUSTER, nodes=tuple(item for item in CLUSTER.nodes if item.name != name))


def peer(**changes: object) -> Intent:
    found = Peer("tor", Address.parse("10.0.0.254"), Asn(65001), ("a1",), password_file="/etc/a")  # noqa: S106 (a path)
    return replace(CLUSTER, peers=(replace(found, **changes),))  # type: ignore[arg-type]


def test_given_values_that_equal_the_derived_ones_are_no_difference() -> None:
    end = TunnelAddress(IPIP, Address.parse("10.244.1.0"))
    same = replace(allocated(CLUSTER, "a1", tunnel_addresses=frozenset({end})), nodes=CLUSTER.nodes)
    numbered = replace(CLUSTER, nodes=tuple(replace(item, asn=CLUSTER.asn) for item in CLUSTER.nodes))
    assert digest(same) == digest(numbered) == digest(CLUSTER)
    assert len(digest(CLUSTER)) == 16


def test_the_place_of_a_password_is_no_difference_but_that_there_is_one() -> None:
    assert digest(peer()) == digest(peer(**OTHER_PLACE)) != digest(peer(**NO_PASSWORD))
    assert "/etc/a" not in json.dumps(outline(peer()))


def test_every_object_and_setting_counts() -> None:
    others = [
        without("b2"),
        allocated(CLUSTER, "a1", blocks=prefixes("10.244.9.0/26")),
        allocated(CLUSTER, "a1", borrowed=prefixes("10.244.2.7/32")),
        allocated(CLUSTER, "a1", tunnel_addresses=frozenset({TunnelAddress(IPIP, Address.parse("10.244.1.9"))})),
        replace(CLUSTER, pools=()),
        replace(CLUSTER, mesh=False),
        replace(CLUSTER, vxlan_mtu=1400),
        peer(),
    ]
    assert len({digest(item) for item in (CLUSTER, *others)}) == 1 + len(others)


def test_a_node_that_two_members_do_not_have_is_named_with_them() -> None:
    there = outline(without("b2"))
    assert differences("b1", HERE, {"a1": there, "a2": there, "b2": HERE}) == (
        "a1, a2 have another configuration: without b2",
    )


def test_a_block_that_two_nodes_claim_in_different_files_is_named_first() -> None:
    there = outline(allocated(CLUSTER, "b2", blocks=prefixes("10.244.3.0/26")))
    assert differences("b1", HERE, {"a1": HERE, "b2": there}) == (
        "block 10.244.3.0/26 is claimed by b1 and b2",
        "b2 has another configuration: b2 with blocks 10.244.3.0/26 (here 10.244.4.0/26)",
    )


def test_words_are_bounded_whatever_another_member_has() -> None:
    long, blocks = "x" * 10_000, prefixes(*(f"10.244.{block}.0/26" for block in range(100)))
    there: dict[str, Any] = json.loads(json.dumps(outline(allocated(CLUSTER, "a1", blocks=blocks))))
    there["node"]["a2"].update({f"field{number}": long for number in range(100)})
    there["node"].update({f"{number}{long}": {"blocks": [str(block) for block in blocks]} for number in range(100)})
    there["setting"][long] = {"": [long]}
    words = differences("b1", HERE, {"b2": received(there)})
    assert "95 more blocks are claimed twice or overlap" in words
    assert " and 96 more nodes" in words[0]
    assert ", 95 more differences" in words[-1]
    assert len(words) == 7
    assert max(map(len, words)) < 3000


def test_members_with_one_outline_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def differing(*both: object) -> list[str]:
        compared.append(both)
        return ["one"]

    monkeypatch.setattr(agreement, "_differences", differing)
    there = outline(without("b2"))
    differences("b1", HERE, {"a1": there, "a2": there, "b2": HERE})
    assert len(compared) == 2


def test_fields_that_are_nested_deeply_are_refused() -> None:
    there: dict[str, Any] = json.loads(json.dumps(HERE))
    rule = FilterRule(accept=True, add_communities=((65000, 1),))
    ours = json.loads(json.dumps(outline(replace(CLUSTER, filters=(Filter("deepest", import4=(rule,)),)))))
    assert received(ours) == ours
    for deep in map(json.loads, ("[[[[[]]]]]", '{"a":' * 500 + "1" + "}" * 500)):
        there["node"]["a1"]["field"] = deep
        with pytest.raises(ValueError, match="nested too deeply"):
            received(there)


def test_blocks_that_overlap_are_named() -> None:
    there = outline(allocated(CLUSTER, "b2", blocks=prefixes("10.244.3.0/27")))
    first, _ = differences("b1", HERE, {"b2": there})
    assert first == "block 10.244.3.0/27 of b2 overlaps block 10.244.3.0/26 of b1"


def test_a_node_that_no_member_has_any_more_is_the_first_to_be_named() -> None:
    gone = outline(without("b2"))
    sentence = "no other member has b2 in its configuration: asked a1, a2"
    assert differences("b2", HERE, {"a1": gone, "a2": gone})[0] == sentence
    assert differences("b2", HERE, {}, ("a1", "a2")) == (sentence,)
    assert differences("b2", HERE, {"a1": HERE}, ("a2",)) == ("a2 has another configuration: without b2",)


def test_settings_pools_and_peers_are_named_as_in_files() -> None:
    other = replace(CLUSTER, vxlan_mtu=1400, asn=Asn(65000), pools=(replace(CLUSTER.pools[0], nat_outgoing=True),))
    found = differences("a1", outline(replace(CLUSTER, nodes=())), {"a2": outline(replace(other, nodes=()))})
    assert found[-1] == (
        "a2 has another configuration: pool blue with natOutgoing true (here default); "
        "asNumber 65000 (here default); vxlanMTU 1400 (here default)"
    )


def test_of_many_differences_the_first_are_shown() -> None:
    grown = replace(CLUSTER, nodes=tuple(node(f"n{i}", f"10.2.0.{i}/24") for i in range(1, 9)))
    (found,) = differences("a1", HERE, {"n1": outline(replace(grown, nodes=(*CLUSTER.nodes, *grown.nodes)))})
    assert found == "n1 has another configuration: with n1, n2, n3, n4, n5, 3 more"


def test_no_difference_needs_no_words() -> None:
    assert differences("a1", HERE, {}) == differences("a1", HERE, {"a2": HERE, "b1": HERE}) == ()


def test_an_outline_arrives_as_it_was_sent() -> None:
    assert received(json.loads(json.dumps(HERE))) == HERE


def test_text_of_another_member_does_not_reach_the_terminal_as_it_is() -> None:
    there = received({**HERE, "node": {**HERE["node"], "a\x1b[2J": {}}})
    assert differences("a1", HERE, {"a2": there}) == (r"a2 has another configuration: with a\x1b[2J",)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {**HERE, "node": []},
        {**HERE, "pool": {"blue": 1}},
        {**HERE, "setting": {"mesh": {}}},
        {**HERE, "node": {"a1": {"blocks": ["nonsense"]}}},
        {**HERE, "node": {"a1": {"blocks": [1]}}},
    ],
)
def test_nothing_else_is_an_outline(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        received(value)
