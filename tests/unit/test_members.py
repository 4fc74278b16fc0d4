"""The configurations of other members, and their summaries, as an agent and the command line learn them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgpctl import channel, client
from bgpctl.agent.members import Configurations, Members
from bgpctl.channel import Answer, NoAnswer
from bgpctl.cli import members as shown
from bgpctl.cli import show
from bgpctl.core.cluster.agreement import digest, outline
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from tests.cluster import allocated, prefixes, two_racks
from tests.waiting import wait_until

CLUSTER = replace(two_racks(vxlan=Mode.ALWAYS), channel_port=9179)


def answer(intent: Intent) -> Answer:
    """A member's, by way of JSON."""
    found: dict[str, Any] = json.loads(json.dumps({"digest": digest(intent), "outline": outline(intent)}))
    return found


class World:
    """The other members; b1's agent is the one that asks."""

    def __init__(self) -> None:
        self.intent = CLUSTER
        self.answers: dict[str, Answer] = {name: answer(CLUSTER) for name in ("a1", "a2", "b2")}
        self.asked: list[str] = []
        self.longest_bytes = 0
        self.broken = ""

    def ask(self, member: Node, _request: str, _within_s: float, longest_bytes: int) -> Answer | None:
        self.asked.append(member.name)
        self.longest_bytes = longest_bytes
        if member.name == self.broken:
            raise RuntimeError("a bug")
        return self.answers.get(member.name)


@contextmanager
def asking(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Members]:
    monkeypatch.setattr("bgpctl.agent.members._PACE_S", 0.001)
    monkeypatch.setattr("bgpctl.agent.members.ROUND_EVERY_S", 0.01)
    made = Members("b1", lambda: world.intent, Configurations(), world.ask)
    try:
        yield made
    finally:
        made.close()


def test_differences_are_named_until_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    with asking(world, monkeypatch) as members:
        wait_until(lambda: len(world.asked) >= 6, within_s=15)
        assert members.problems() == ()
        assert set(world.asked) == {"a1", "a2", "b2"}
        world.answers["b2"] = answer(allocated(CLUSTER, "b2", blocks=prefixes("10.244.3.0/26")))
        wait_until(lambda: "block 10.244.3.0/26 is claimed by b1 and b2" in members.problems(), within_s=15)
        # What a member had is known until it has something else, also while it cannot be asked.
        world.answers["b2"] = NoAnswer("silent")
        mark = len(world.asked)
        wait_until(lambda: len(world.asked) >= mark + 6, within_s=15)
        assert len(members.problems()) == 2
        world.answers["b2"] = answer(CLUSTER)
        wait_until(lambda: members.problems() == (), within_s=15)


def test_a_node_that_no_member_knows_is_named_and_one_that_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.answers = dict.fromkeys(world.answers, NoAnswer("not a member", not_a_member=True))
    with asking(world, monkeypatch) as members:
        sentence = "no other member has b1 in its configuration: asked a1, a2, b2"
        wait_until(lambda: members.problems() == (sentence,), within_s=15)
        world.intent = replace(CLUSTER, nodes=tuple(node for node in CLUSTER.nodes if node.name == "b1"))
        assert members.problems() == ()


def test_an_answer_that_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.answers = {"a1": {"digest": "0" * 16, "outline": None}, "a2": {}, "b2": answer(CLUSTER)}
    with asking(world, monkeypatch) as members:
        wait_until(lambda: len(world.asked) >= 6, within_s=15)
        assert members.problems() == ()


def test_a_member_that_cannot_be_asked_by_a_bug_keeps_none_after_it_from_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.broken = "a1"
    world.answers["b2"] = answer(replace(CLUSTER, vxlan_mtu=1400))
    with asking(world, monkeypatch) as members:
        wait_until(lambda: members.problems() != (), within_s=15)
        assert members.problems()[0].startswith("b2 has another configuration")


def test_an_answer_is_limited_by_our_own_configuration_and_equal_ones_are_kept_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    other = replace(CLUSTER, vxlan_mtu=1400)
    world.answers = {name: answer(other) for name in world.answers}
    with asking(world, monkeypatch) as members:
        wait_until(lambda: len(members._known.others) == 3, within_s=15)
        assert len({id(found) for found in members._known.others.values()}) == 1
    own = len(json.dumps(outline(CLUSTER)))
    assert 3 * own < world.longest_bytes - (1 << 20) < 6 * own


SUMMARY: dict[str, Any] = {
    "schema": client.schema("summary"),
    "node": "a1",
    "backend": "bgp",
    "pools": 1,
    "peers": {"wanted": 1, "established": 1},
    "routes": {"received": 1, "best": 1, "installed": 1},
    "tunnels": ["ipip 1"],
    "mtu_bytes": 1480,
    "repaired_1h": 0,
    "state": "converged",
    "state_age_s": 1.0,
    "config_rejected": False,
    "problems": [],
}
NODES = {
    "channel_port": 9179,
    "nodes": [
        {"name": name, "this": name == "a1", "address": f"10.0.0.{number}/24", "address6": None}
        for number, name in enumerate(("a1", "a2", "a3", "a4"), 1)
    ],
}


def test_summaries_of_members_are_shown_and_none_is_believed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, Answer] = {
        "a2": {**SUMMARY, "node": "another", "problems": ["\x1b[2Jgone"]},
        "a3": {**SUMMARY, "peers": None},
        "a4": NoAnswer("10.0.0.4:9179 does not answer within 5 s"),
    }
    monkeypatch.setattr(channel, "context", lambda *_, **__: None)
    monkeypatch.setattr(channel, "ask_all", lambda members, *_: {item.name: answers[item.name] for item in members})
    with pytest.raises(SystemExit) as ended:
        shown.show_summaries(show.SUMMARY, NODES, SUMMARY, Path("keys"), "table")
    assert ended.value.code == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["NODE", "a1", "a2", "!", "!", "!"]
    assert lines[3:] == [
        r"! a2: \x1b[2Jgone",
        "! a3 could not be asked: its answer is no summary",
        "! a4 could not be asked: 10.0.0.4:9179 does not answer within 5 s",
    ]
