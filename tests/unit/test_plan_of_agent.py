"""Answers of a running agent to a plan: all that would be lost is said, and nothing else keeps a change back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bgpctl import client
from bgpctl.agent import config_changes
from bgpctl.agent.api import CONTENT, Api
from bgpctl.cli import plan_reach
from bgpctl.cli.main import main
from bgpctl.cli.plan import dangerous
from bgpctl.core.agent.events import Observe
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.speaker import Update
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.objects import KernelObject, Link, NextHop, Plain, Route
from bgpctl.core.simulate import losses
from bgpctl.core.simulate.expected import paths
from bgpctl.process.clock import LinuxClock
from bgpctl.store import texts
from bgpctl.store.file import FileStore
from tests.cluster import member, path, two_racks
from tests.stories.mesh import B1, BLOCKS, EDGE, INTENT, TOR, at_the_edge, converged

NOW = (Path(__file__).parents[2] / "topologies" / "cross-subnet.yaml").read_text()
CABLE = Link("cali1", Plain("veth"), 1480, owned=False, workload=True)


def to_workload(address: str) -> Route:
    return Route(Prefix.parse(f"{address}/32"), link="cali1", metric=0, protocol=4)


def state_of(directory: Path, text: str = NOW, also: Iterable[KernelObject] = ()) -> State:
    """Of node a1, converged, with this cluster file in force; its kernel has more objects."""
    state = converged().state
    loaded = texts.load([_file(directory, text)])
    assert isinstance(loaded, Intent), loaded
    observed = state.kernel.observed
    assert observed is not None
    kernel = replace(state.kernel, observed=observed.put(also))
    return replace(state, kernel=kernel, intent=replace(state.intent, in_force=loaded))


def _file(directory: Path, text: str) -> Path:
    file = directory / "cluster.yaml"
    file.write_text(text)
    return file


def planned(directory: Path, state: State, text: str) -> dict[str, Any]:
    store = FileStore([directory / "cluster.yaml"], LinuxClock())
    return config_changes.plan(state, store, {CONTENT: json.dumps([text])}, ())


def own(body: dict[str, Any]) -> dict[str, Any]:
    (node,) = body["nodes"]
    assert isinstance(node, dict)
    return node


def effects(body: dict[str, Any], verb: str, kind: str) -> set[str]:
    ops = (op for step in own(body)["steps"] for op in step["ops"])
    return {op["effect"] for op in ops if op["verb"] == verb and op["object"].startswith(kind)}


def pairs(body: dict[str, Any]) -> int:
    return sum(item["pairs"] for item in body["lost"])


def test_without_the_mesh_all_pairs_are_lost_and_the_routes_that_go_carried_packets(tmp_path: Path) -> None:
    body = planned(tmp_path, state_of(tmp_path), f"{NOW}mesh: false\n")
    assert pairs(body) == 12
    assert body["sessions"][0]["ends"] == ["a2", "b1", "b2"]
    assert own(body)["unreachable"] == ["10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"]
    assert effects(body, "remove", "route") == {"packets are lost"}
    assert effects(body, "remove", "nexthop") == {"no effect on traffic"}
    assert own(body)["worst"] == "packets are lost"
    assert dangerous(body)


def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    body = planned(tmp_path, state_of(tmp_path), NOW)
    assert not own(body)["steps"]
    assert not any(body[name] for name in ("lost", "sessions", "moved_blocks"))
    assert not dangerous(body)


def test_where_not_all_pairs_were_followed_a_harmless_change_is_not_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = changed({"IPIPCrossSubnet": "IPIP"})
    assert not dangerous(planned(tmp_path, state_of(tmp_path), harmless))
    monkeypatch.setattr(losses, "MOST_AGENTS", 1)
    monkeypatch.setattr(losses, "_MOST_EXCHANGES", 1)
    body = planned(tmp_path, state_of(tmp_path), harmless)
    assert (body["pairs_followed"], body["kinds_of_pairs"]) == (1, 2)
    assert "! only 1 of 2 kinds of pairs were followed: what the others lose is not known" in plan_reach.lines(body)
    assert dangerous(body)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"a1: {": "a1: {asNumber: 64999, "}, "asNumber of this node"),
        ({"b1: {": "b1: {asNumber: 64999, "}, "asNumber of another"),
        ({"calico_b": "asNumber: 64999\ncalico_b"}, "asNumber of all"),
    ],
)
def test_sessions_that_restart_with_another_as_number_are_a_loss(
    tmp_path: Path, change: dict[str, str], what: str
) -> None:
    body = planned(tmp_path, state_of(tmp_path), changed(change))
    assert any(item["restarts"] for item in body["sessions"]), what
    assert dangerous(body)


def changed(change: dict[str, str]) -> str:
    text = NOW
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_member_that_is_removed_is_a_loss_unless_it_is_known_to_be_away(tmp_path: Path) -> None:
    state = state_of(tmp_path)
    without_b2 = "".join(line for line in NOW.splitlines(keepends=True) if not line.startswith("  b2: {"))
    body = planned(tmp_path, state, without_b2)
    assert own(body)["unreachable"] == ["10.244.4.0/26"]
    assert [(item["was"], item["now"], item["used"]) for item in body["moved_blocks"]] == [("b2", None, True)]
    assert effects(body, "remove", "route") == {"packets are lost"}
    assert dangerous(body)
    away = replace(state, proofs=replace(state.proofs, unreachable=frozenset({Address.parse("10.1.0.4")})))
    assert not dangerous(planned(tmp_path, away, without_b2))


def test_a_block_that_moves_to_another_node_is_a_loss(tmp_path: Path) -> None:
    moved = changed({"blocks: [10.244.3.0/26]": "blocks: []", "blocks: [10.244.4.0/26]": "blocks: [10.244.3.0/26]"})
    body = planned(tmp_path, state_of(tmp_path), moved)
    assert [(item["block"], item["now"]) for item in body["moved_blocks"]] == [
        ("10.244.3.0/26", "b2"),
        ("10.244.4.0/26", None),
    ]
    assert dangerous(body)


@pytest.mark.parametrize("has_workload", [True, False], ids=["with a workload", "empty"])
def test_an_own_block_that_goes_is_a_loss_if_a_workload_is_in_it(tmp_path: Path, has_workload: bool) -> None:
    workload: list[KernelObject] = [CABLE, to_workload("10.244.1.50")] if has_workload else []
    wanted = changed({"blocks: [10.244.1.0/26]": "blocks: [10.244.9.0/26]"})
    body = planned(tmp_path, state_of(tmp_path, also=workload), wanted)
    assert own(body)["outside"] == (["10.244.1.50/32"] if has_workload else [])
    assert [item["used"] for item in body["moved_blocks"]] == [has_workload]
    assert dangerous(body) == has_workload


def with_blocks_of(length: int) -> str:
    return changed({"/26]": f"/{length}]", "CrossSubnet}": f"CrossSubnet, blockSize: {length}}}"})


def test_workloads_outside_a_smaller_block_are_named(tmp_path: Path) -> None:
    state = state_of(tmp_path, also=[CABLE, to_workload("10.244.1.50"), to_workload("10.244.1.20")])
    body = planned(tmp_path, state, with_blocks_of(27))
    assert own(body)["outside"] == ["10.244.1.50/32"]
    assert dangerous(body)


def test_blocks_that_grow_take_nothing(tmp_path: Path) -> None:
    body = planned(tmp_path, state_of(tmp_path, also=[CABLE, to_workload("10.244.1.50")]), with_blocks_of(25))
    assert (own(body)["outside"], body["moved_blocks"], body["lost"]) == ([], [], [])
    assert not dangerous(body), body


@pytest.mark.parametrize(
    ("encapsulation", "key", "most"),
    [
        ("VXLANCrossSubnet", "vxlanMTU: 8950", "at most 1450 fit"),
        ("IPIPCrossSubnet", "ipipMTU: 8980", "at most 1480 fit"),
        ("IPIPCrossSubnet", "mtu: 1490", "at most 1480 fit"),
    ],
)
def test_an_mtu_that_the_underlay_cannot_carry_is_refused_with_the_one_that_fits(
    tmp_path: Path, encapsulation: str, key: str, most: str
) -> None:
    text = changed({"IPIPCrossSubnet": encapsulation, "calico_b": f"{key}\ncalico_b"})
    body = planned(tmp_path, state_of(tmp_path), text)
    (line,) = own(body)["too_big"]
    assert line.startswith(key.split(":", maxsplit=1)[0])
    assert "eth0 has 1500" in line
    assert most in line
    assert dangerous(body)
    fitting = changed(
        {"IPIPCrossSubnet": encapsulation, "calico_b": f"{key.split(':', maxsplit=1)[0]}: 1400\ncalico_b"}
    )
    assert not dangerous(planned(tmp_path, state_of(tmp_path), fitting))


def test_a_route_that_nobody_has_goes_without_effect(tmp_path: Path) -> None:
    left = (
        NextHop(77, "eth0", Address.parse("10.0.0.2"), onlink=True),
        Route(Prefix.parse("10.244.200.0/26"), next_hop=77),
    )
    body = planned(tmp_path, state_of(tmp_path, also=left), NOW)
    assert effects(body, "remove", "route") == {"no effect on traffic"}
    assert own(body)["unreachable"] == []
    assert not dangerous(body)


def applied(directory: Path, state: State, text: str, *options: str) -> Result:
    store = FileStore([directory / "cluster.yaml"], LinuxClock())
    api = Api(
        directory / client.SOCKET,
        lambda _view, query: config_changes.plan(state, store, query, ()),
        lambda verb, query: {**config_changes.edit(verb, state, store, query), "generation": 2},
    )
    file = directory / "next.yaml"
    file.write_text(text)
    with closing(api):
        return CliRunner().invoke(main, ["apply", "-f", str(file), "--run-dir", str(directory), *options])


def test_apply_refuses_what_would_be_lost_unless_it_is_forced(tmp_path: Path) -> None:
    state, wanted = state_of(tmp_path), f"{NOW}mesh: false\n"
    refused = applied(tmp_path, state, wanted)
    assert refused.exit_code == 6, refused.output
    assert "! 12 pairs lose each other: a1 to a2, …: no BGP session brings routes of a2 to a1 (mesh: false)" in (
        refused.output
    )
    assert "nothing was applied; to apply it all the same: --force" in refused.output
    assert (tmp_path / "cluster.yaml").read_text() == NOW
    forced = applied(tmp_path, state, wanted, "--force")
    assert forced.exit_code == 0, forced.output
    assert (tmp_path / "cluster.yaml").read_text() == wanted


def test_apply_of_a_harmless_change_needs_no_force(tmp_path: Path) -> None:
    done = applied(tmp_path, state_of(tmp_path), changed({"IPIPCrossSubnet": "VXLANCrossSubnet"}))
    assert done.exit_code == 0, done.output


def in_another_as(intent: Intent, name: str) -> Intent:
    nodes = (replace(node, asn=Asn(64602)) if node.name == name else node for node in intent.nodes)
    return replace(intent, nodes=tuple(nodes))


@pytest.mark.parametrize("intent", [INTENT, two_racks()], ids=["IPIP between racks", "no encapsulation"])
def test_a_block_that_a_router_brings_keeps_the_routers_next_hop(intent: Intent) -> None:
    block = BLOCKS[B1]
    play = at_the_edge()
    play.give(Update(TOR, (path(block, TOR, 65001, 64602),))).expect(Observe())
    tor = replace(EDGE.peers[0], nodes=("a1", "b1"))
    wanted = in_another_as(replace(intent, mesh=False, peers=(tor,)), "b1")
    found = paths(wanted, member(wanted, "a1"), play.state.bgp.adj_rib_in, NextHopCosts(None))
    assert {str(choice.best.path.prefix): choice.best.path.next_hop for choice in found} == {block: TOR}


def test_the_paths_of_an_unchanged_file_are_those_in_use() -> None:
    play = converged()
    found = paths(INTENT, member(INTENT, "a1"), play.state.bgp.adj_rib_in, play.state.memo.costs)
    assert {choice.best.path.prefix: choice for choice in found} == dict(play.state.bgp.loc_rib.best.items())
