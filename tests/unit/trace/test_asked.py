"""Nodes that were asked: pairs of blocks by their kernels, one packet from node to node, and answers as trees."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from bgpctl import client
from bgpctl.agent import trace_codec
from bgpctl.cli.asking import Asker
from bgpctl.cli.explain import explained_by
from bgpctl.cli.main import main
from bgpctl.cli.verify import live, verified
from bgpctl.core.cluster.agreement import digest
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import KernelObject, Link, Plain, Route, RouteType, Rule, RuleAction
from bgpctl.core.simulate.asked import everything_of, obstacle_of
from bgpctl.core.simulate.declared import network
from bgpctl.core.trace.announced import Obstacle, ObstacleCode
from bgpctl.core.trace.answers import Answers, NodeAnswer
from bgpctl.core.trace.netfilter import Addresses, Chain, Condition, Field, Numbers, Verdict
from bgpctl.core.trace.netfilter import Rule as ChainRule
from bgpctl.core.trace.snapshot import Neighbour, RouteDetails, Snapshot, Unread
from bgpctl.core.trace.verify import verify
from tests.topologies import read_cluster

FILE: Final = """
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
  b1: {address: 10.1.0.3/24, blocks: [10.244.3.0/26]}
"""
WEB: Final = {"a1": ("10.244.1.10",), "a2": (), "b1": ("10.244.3.10", "10.244.3.11")}
"""a2 has no workloads, b1 has two."""
SHADOW: Final = Route(
    Prefix.parse("10.244.3.0/26"), gateway=Address.parse("10.0.0.254"), link="eth0", metric=0, protocol=12
)
REJECT: Final = Chain("inet", "f", "F", "filter", "forward", 10, rules=(ChainRule(5, (), Verdict.REJECT),))
SILENT: Final = "10.1.0.3:9179 refuses connections"


@pytest.fixture(scope="module")
def intent(tmp_path_factory: pytest.TempPathFactory) -> Intent:
    return read_cluster(tmp_path_factory.mktemp("cluster"), FILE)


def answered(intent: Intent) -> Answers:
    """All nodes as they should be, with their workloads."""
    kernels = network(intent, [node.address.address for node in intent.nodes], {}).snapshots
    found = {}
    for name, kernel in kernels.items():
        assert kernel
        cables = [objects for text in WEB[name] for objects in cable(Address.parse(text))]
        seen = replace(kernel, dataplane=kernel.dataplane.put(cables), declared=False, open_blocks=False)
        found[name] = NodeAnswer(name, digest(intent), seen)
    return Answers(found)


def cable(address: Address) -> tuple[KernelObject, ...]:
    name = f"w{address.value & 0xFF}"
    link = Link(name, Plain("veth"), 1480, owned=False, workload=True)
    return link, Route(address.host_prefix, link=name, metric=0, protocol=4)


def changed(answers: Answers, name: str, *objects: KernelObject, **more: object) -> Answers:
    """With another kernel at one node."""
    answer = answers.given[name]
    plane = answer.snapshot.dataplane.put(objects)
    seen = replace(answer.snapshot, **{"dataplane": plane, **more})  # type: ignore[arg-type]
    return answers.plus(Answers({name: replace(answer, snapshot=seen)}))


def ruled(answers: Answers, name: str, rule: Rule) -> Answers:
    plane = answers.given[name].snapshot.dataplane
    usual = {Rule(4, 0, 255), Rule(4, 32766), Rule(4, 32767, 253)}
    return changed(answers, name, dataplane=replace(plane, rules=frozenset({*usual, rule})))


def without(answers: Answers, name: str) -> Answers:
    return Answers({other: item for other, item in answers.given.items() if other != name}, {name: SILENT})


def found(intent: Intent, answers: Answers) -> list[tuple[str, str, int, str]]:
    body = verified(verify(*everything_of(intent, answers)), "bgpctl explain {ends}")
    return [(item["failure"], item["node"], item["pairs"], item["because"]) for item in body["classes"]]


# Every pair ------------------------------------------------------------------------------------------------------


def test_in_a_cluster_that_is_well_nothing_is_found(intent: Intent) -> None:
    result = verify(*everything_of(intent, answered(intent)))
    assert (result.pairs, result.classes) == (6, ())


def test_a_foreign_route_is_named_and_not_the_router_to_which_it_leads(intent: Intent) -> None:
    words = "the foreign route 10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird metric 0 is used in place of ours"
    answers = changed(answered(intent), "a1", SHADOW)
    assert found(intent, answers) == [("unknown", "a1", 2, f"{words}, 10.244.3.0/26 metric 1024")]


def test_a_foreign_route_to_the_same_node_is_not_blamed_for_what_is_lost_there(intent: Intent) -> None:
    same = replace_route(intent, "a1", "10.244.2.0/26")
    answers = changed(changed(answered(intent), "a1", same), "a2", chains=(REJECT,))
    assert {item[1] for item in found(intent, answers)} == {"a2"}


def replace_route(intent: Intent, name: str, prefix: str) -> Route:
    """A foreign route beside ours, with the same next hop."""
    plane = answered(intent).given[name].snapshot.dataplane
    ours = next(route for route in plane.routes if route.prefix == Prefix.parse(prefix))
    hop = next(hop for hop in plane.next_hops if hop.id == ours.next_hop)
    return Route(ours.prefix, gateway=hop.gateway, link=hop.link, metric=0, protocol=12)


def test_a_chain_of_a_node_is_one_class_for_all_pairs_that_it_ends(intent: Intent) -> None:
    answers = changed(answered(intent), "b1", chains=(REJECT,))
    assert found(intent, answers) == [("unreachable", "b1", 4, "rule 5 of chain inet f F (forward): reject")]


def test_a_rule_for_one_workload_is_found_among_others_of_its_block(intent: Intent) -> None:
    rule = Rule(4, 100, action=RuleAction.PROHIBIT, selector="from 10.244.3.11")
    classes = found(intent, ruled(answered(intent), "b1", rule))
    assert {(failure, node, pairs) for failure, node, pairs, _ in classes} == {("unreachable", "b1", 2)}
    assert verify(*everything_of(intent, ruled(answered(intent), "b1", rule))).pairs == 10


@pytest.mark.parametrize(
    "values", [(Prefix.parse("10.244.3.11/32"),), (Addresses(*map(Address.parse, ("10.244.3.11", "10.244.3.20"))),)]
)
def test_a_chain_that_names_one_workload_is_found(intent: Intent, values: tuple[Prefix | Addresses, ...]) -> None:
    drop = ChainRule(9, (Condition(Field.DESTINATION, values, version=4),), Verdict.DROP)
    chain = REJECT._replace(rules=(drop,))
    assert {item[1:3] for item in found(intent, changed(answered(intent), "a1", chains=(chain,)))} == {("a1", 2)}


def test_a_node_that_could_not_be_asked_is_one_class_and_never_well(intent: Intent) -> None:
    classes = found(intent, without(answered(intent), "b1"))
    assert classes == [("unknown", "b1", 4, f"cannot know: b1: it could not be asked: {SILENT}")]


def test_a_node_without_blocks_that_could_not_be_asked_is_not_well(intent: Intent) -> None:
    asker = Asker(intent, lambda _: answered(intent).plus(Answers(unasked={"b2": SILENT})))
    body = live(lambda: asker, 0.0)
    assert (body["classes"], body["unasked"]) == ([], [{"node": "b2", "reason": SILENT}])


def test_a_block_that_another_node_keeps_for_itself_is_not_reached(intent: Intent) -> None:
    kept = Route(Prefix.parse("10.244.2.0/26"), RouteType.BLACKHOLE)
    classes = found(intent, changed(answered(intent), "a1", kept))
    assert [(failure, node, pairs) for failure, node, pairs, _ in classes] == [("unreachable", "a1", 2)]


def test_a_route_that_is_not_there_has_the_reason_of_the_agent(intent: Intent) -> None:
    gone, prefix = answered(intent), Prefix.parse("10.244.3.0/26")
    answer = gone.given["a1"]
    seen = replace(answer.snapshot, dataplane=answer.snapshot.dataplane.drop([Route(prefix)]))
    absent = {prefix: Obstacle(ObstacleCode.SESSION_DOWN, "a1", "b1")}
    gone = gone.plus(Answers({"a1": replace(answer, snapshot=seen, absent=absent)}))
    assert found(intent, gone) == [
        ("unreachable", "a1", 2, "the BGP session of a1 with b1 is not established"),
    ]


def test_a_session_is_down_because_its_peer_is_no_neighbour(intent: Intent) -> None:
    gone, prefix = answered(intent), Prefix.parse("10.244.2.0/26")
    answer = gone.given["a1"]
    silent = {("eth0", Address.parse("10.0.0.2")): Neighbour.ASKED}
    plane = answer.snapshot.dataplane.drop([Route(prefix)])
    seen = replace(answer.snapshot, dataplane=plane, neighbours=silent)
    absent = {prefix: Obstacle(ObstacleCode.SESSION_DOWN, "a1", "a2")}
    gone = gone.plus(Answers({"a1": replace(answer, snapshot=seen, absent=absent)}))
    words = "no BGP session with a2, because no neighbour answers on eth0 for 10.0.0.2: the file's mask may be too wide"
    assert found(intent, gone)[0] == ("unreachable", "a1", 2, words)


def test_two_routes_to_one_workload_are_no_matter(intent: Intent) -> None:
    same = cable(Address.parse("10.244.3.10"))[1]
    assert isinstance(same, Route)
    other = same._replace(gateway=Address.parse("10.1.0.9"), metric=5)
    assert found(intent, changed(answered(intent), "b1", other)) == []


def test_a_filter_in_the_files_is_named_where_the_agent_has_no_path(tmp_path: Path) -> None:
    intent = read_cluster(tmp_path, FILE.replace("IPIPCrossSubnet}", "IPIPCrossSubnet, disableBGPExport: true}"))
    answer, prefix = answered(intent).given["a1"], Prefix.parse("10.244.3.0/26")
    absent = {prefix: Obstacle(ObstacleCode.NOT_RECEIVED, "a1", "b1")}
    kept = obstacle_of(intent, replace(answer, absent=absent), Address.parse("10.244.3.10"))
    assert kept
    assert (kept.code, kept.at, kept.place is None) == (ObstacleCode.EXPORT_DISABLED, "b1", False)


def test_waiting_ends_when_all_is_well(intent: Intent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    rounds = iter([without(answered(intent), "b1"), answered(intent)])
    body = live(lambda: Asker(intent, lambda _: next(rounds)), 60.0)
    assert body["classes"] == []
    assert next(rounds, None) is None


def test_waiting_waits_for_this_nodes_agent_too(intent: Intent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    tries = iter([client.AgentAway("not yet"), None])

    def asker() -> Asker:
        if error := next(tries):
            raise error
        return Asker(intent, lambda _: answered(intent))

    assert live(asker, 60.0)["classes"] == []
    tries = iter([client.AgentAway("not yet")])
    with pytest.raises(client.AgentAway):
        live(asker, 0.0)


@pytest.mark.parametrize("words", [("verify",), ("explain", "10.244.1.10", "10.244.3.10")])
def test_without_an_agent_and_a_file_there_is_no_answer(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--run-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert "without an agent, give the cluster file: -f cluster.yaml" in result.output


def test_what_is_for_files_is_refused_without_and_the_other_way_round(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(FILE)
    for words in (("verify", "-f", str(file), "--wait", "5s"), ("explain", "a1", "b1", "--node", "a1")):
        assert CliRunner().invoke(main, words).exit_code == 2


# One packet ------------------------------------------------------------------------------------------------------


class Asked:
    """Answers one after the other, and remembers the names."""

    def __init__(self, intent: Intent, answers: Answers) -> None:
        self.names: list[str] = []
        self._answers = answers
        self.asker = Asker(intent, self._ask)

    def _ask(self, names: Iterable[str]) -> Answers:
        wanted = sorted(names)
        self.names += wanted
        given = {name: self._answers.given[name] for name in wanted if name in self._answers.given}
        return Answers(given, {name: self._answers.unasked[name] for name in wanted if name in self._answers.unasked})


ENDS: Final = (Address.parse("10.244.1.10"), Address.parse("10.244.3.10"))


def test_only_nodes_on_the_way_are_asked_and_each_once(intent: Intent) -> None:
    asked = Asked(intent, answered(intent))
    body = explained_by(asked.asker, ENDS, 84)
    assert body["outcome"] == "delivered"
    assert asked.names == ["a1", "b1"]
    assert not any(step["declared"] for part in ("there", "back") for step in body[part]["steps"])
    assert (body["differing"], body["there"]["difference"], body["there"]["unasked"]) == ([], None, [])


def test_a_node_to_which_a_packet_strays_is_asked_when_it_comes_there(intent: Intent) -> None:
    astray = SHADOW._replace(gateway=Address.parse("10.0.0.2"))
    asked = Asked(intent, changed(answered(intent), "a1", astray))
    body = explained_by(asked.asker, ENDS, 84)
    assert asked.names == ["a1", "b1", "a2"]
    assert "a2" in {step["node"] for step in body["there"]["steps"]}
    assert body["there"]["difference"] == (
        "a1 differs from the files: out eth0 to 10.0.0.2; by the files: encap IP in IP 10.0.0.1 > 10.1.0.3, "
        "84+20 bytes by tunl0"
    )


def test_the_first_cause_is_named_at_another_node(intent: Intent) -> None:
    body = explained_by(Asked(intent, changed(answered(intent), "b1", chains=(REJECT,))).asker, ENDS, 84)
    there = body["there"]
    assert (body["outcome"], there["at"], there["next"]) == ("broken", "b1", "nft -a list table inet f")


def test_a_node_that_could_not_be_asked_is_as_the_files_have_it_and_the_end_is_unknown(intent: Intent) -> None:
    body = explained_by(Asked(intent, without(answered(intent), "b1")).asker, ENDS, 84)
    marked = {(step["node"], step["declared"]) for step in body["there"]["steps"]}
    assert marked == {("a1", False), ("b1", True)}
    assert (body["outcome"], body["there"]["unasked"]) == ("unknown", [{"node": "b1", "reason": SILENT}])


def test_a_break_before_a_node_that_could_not_be_asked_is_certain(intent: Intent) -> None:
    answers = without(changed(answered(intent), "a1", chains=(REJECT,)), "b1")
    body = explained_by(Asked(intent, answers).asker, ENDS, 84)
    assert (body["outcome"], body["there"]["at"], body["there"]["unasked"]) == ("broken", "a1", [])


def test_a_node_with_another_configuration_is_named(intent: Intent) -> None:
    answers = answered(intent)
    other = answers.plus(Answers({"b1": replace(answers.given["b1"], configuration="another")}))
    assert explained_by(Asked(intent, other).asker, ENDS, 84)["differing"] == ["b1"]


# Answers as trees ------------------------------------------------------------------------------------------------


def full(intent: Intent) -> NodeAnswer:
    """Everything that an answer may have."""
    seen = answered(intent).given["a1"].snapshot
    conditions = (
        Condition(Field.SOURCE, (Prefix.parse("10.0.0.0/8"), Addresses(*ENDS)), inverted=True, version=4),
        Condition(Field.DESTINATION_PORT, (Numbers(1, 2),)),
        Condition(Field.LEAVES, ("eth*",)),
    )
    rules = (ChainRule(3, conditions, Verdict.JUMP, "more"),)
    snapshot = Snapshot(
        replace(seen.dataplane, rules=frozenset({Rule(4, 5, action=RuleAction.GOTO, goto=6)})),
        {SHADOW: RouteDetails((("eth0", ENDS[0]), (None, None)), ENDS[1], 1400)},
        (SHADOW,),
        seen.addresses,
        {("eth0", ENDS[0]): Neighbour.FAILED},
        {**seen.sysctls, "net/ipv4/conf/all/rp_filter": "-1"},
        (REJECT._replace(rules=rules, others=(("more", rules),)),),
        (Unread("nftables", "is not there", ENDS[0].host_prefix), Unread("marks", "")),
    )
    prefix = Prefix.parse("10.244.3.0/26")
    obstacle = Obstacle(ObstacleCode.NOT_RECEIVED, "a1", "b1")
    return NodeAnswer("a1", "digest", snapshot, {prefix: Reason(ReasonCode.BEST_PATH, "blue")}, {prefix: obstacle})


def test_an_answer_is_the_same_after_its_way_as_json(intent: Intent) -> None:
    answer = full(intent)
    assert trace_codec.decode(json.loads(json.dumps(trace_codec.encode(answer)))) == answer


def test_a_configuration_is_the_same_after_its_way_as_json(intent: Intent) -> None:
    tree = json.loads(json.dumps(trace_codec.encode_intent(intent)))
    assert trace_codec.decode_intent(tree) == intent
    assert trace_codec.decode_intent(tree).nodes[0].place == intent.nodes[0].place


@pytest.mark.parametrize("name", ["a number", "a goto", "a field", "a class"])
def test_an_answer_that_a_lookup_could_stumble_over_is_refused(intent: Intent, name: str) -> None:
    tree = json.loads(json.dumps(trace_codec.encode(full(intent))))
    match name:
        case "a number":
            tree["snapshot"]["sysctls"][0][1] = "1e9"
        case "a goto":
            back = Rule(4, 5, action=RuleAction.GOTO, goto=5)
            plane = replace(full(intent).snapshot.dataplane, rules=frozenset({back}))
            tree = trace_codec.encode(replace(full(intent), snapshot=Snapshot(plane)))
        case "a field":
            tree["snapshot"]["more"] = 1
        case _:
            tree["snapshot"]["chains"][0][7] = [{"System": "reboot"}]
    with pytest.raises(trace_codec.Undecodable):
        trace_codec.decode(tree)


def test_where_nobody_can_be_asked_all_is_as_the_files_have_it(intent: Intent) -> None:
    body = explained_by(Asker(intent, lambda names: Answers(unasked=dict.fromkeys(names, "no port"))), ENDS, 84)
    assert body["outcome"] == "unknown"
    assert all(step["declared"] for step in body["there"]["steps"])
