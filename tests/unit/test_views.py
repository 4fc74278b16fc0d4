"""Views of the agent, from states made by plays."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgpctl import client
from bgpctl.agent.api import Api
from bgpctl.agent.metrics import Metrics
from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import VIEWS, answer
from bgpctl.core.agent.events import IntentRejected, KernelLost, Observe, Observed, WakeAt, Woken
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.speaker import SessionDown, SpeakerAttached, SpeakerConfigRejected
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.net.addresses import LINK_LOCAL, Address, Prefix
from bgpctl.core.net.objects import Drops, Link, Plain, Route, Traffic, key_of
from tests.stories.mesh import B1, BLOCKS, NEXT_HOP, ROUTE, converged, undo
from tests.stories.play import Play
from tests.waiting import wait_until
from tests.work import instructions

REJECTED = "cluster file rejected, the previous one stays in force"


def view_of(play: Play, view: str, **query: str) -> dict[str, Any]:
    return answer(view, Snapshot(play.state, play.now_s + 41, query))


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_view_answers_before_anything_is_known(view: str) -> None:
    body = answer(view, Snapshot(begin("a1", 0.0), 1.0, {}))
    assert body["schema"] == client.schema(view)


def test_the_summary_of_a_converged_node_has_no_problems() -> None:
    body = view_of(converged(), "summary")
    assert body["converged"] is True
    assert body["problems"] == []
    assert body["peers"] == {"wanted": 3, "established": 3}
    assert body["routes"] == {"received": 3, "best": 3, "wanted": 3, "installed": 3}
    assert body["tunnels"] == ["ipip 2"]
    assert body["mtu_bytes"] == 1480


def crowded(play: Play, more: int) -> State:
    """The state of the play with so many routes more, all installed."""
    state = play.state
    assert state.kernel.desired
    assert state.kernel.observed
    (hop, *_) = state.kernel.desired.dataplane.next_hops
    routes = [Route(Prefix(4, (11 << 24) + number, 32), next_hop=hop.id) for number in range(more)]
    reasons = {key_of(route): state.kernel.desired.reasons[key_of(hop)] for route in routes}
    desired = replace(
        state.kernel.desired,
        dataplane=state.kernel.desired.dataplane.put(routes),
        reasons={**state.kernel.desired.reasons, **reasons},
    )
    return replace(state, kernel=replace(state.kernel, desired=desired, observed=state.kernel.observed.put(routes)))


@pytest.mark.parametrize("view", ["summary", "tunnels", "metrics"])
def test_routes_are_counted_and_not_gone_through_one_by_one(view: str) -> None:
    few, many = crowded(converged(), 10), crowded(converged(), 1000)

    def asked(state: State) -> int:
        snapshot = Snapshot(state, 41.0, {})
        return instructions(lambda: Metrics(lambda: snapshot).page() if view == "metrics" else answer(view, snapshot))

    asked(few)  # what is done once in a process
    assert asked(many) < asked(few) + 900
    assert answer("summary", Snapshot(many, 41.0, {}))["routes"] == {
        "received": 3,
        "best": 3,
        "wanted": 1003,
        "installed": 1003,
    }


def test_a_route_that_is_missing_is_counted_as_wanted_only() -> None:
    play = converged()
    undo(play, BLOCKS[B1])
    state, _ = step(play.state, Observed(play.kernel), play.now_s)
    assert answer("summary", Snapshot(state, 41.0, {}))["routes"] == {
        "received": 3,
        "best": 3,
        "wanted": 3,
        "installed": 2,
    }


@pytest.mark.parametrize("view", ["routes", "rib"])
@pytest.mark.parametrize("only", ["10.244.3.0/26", "10.244.3.7/32", "10.244.0.0/22", "10.9.0.0/16", "fd00::/8"])
def test_a_prefix_narrows_a_view_to_what_overlaps_it(view: str, only: str) -> None:
    found, every = view_of(converged(), view, prefix=only), view_of(converged(), view)
    rows, all_rows = (body[{"routes": "routes", "rib": "paths"}[view]] for body in (found, every))
    assert rows == [row for row in all_rows if Prefix.parse(only).overlaps(Prefix.parse(row["prefix"]))]


def test_a_dead_peer_is_a_problem_that_names_it() -> None:
    play = converged()
    play.give(SessionDown(B1, "closing connection", notified=False)).expect(Observe())
    play.settle()
    body = view_of(play, "summary")
    assert body["converged"] is False
    assert "peer b1 is not established, 1 stale route kept: closing connection; see: bgpctl show neighbor b1" in str(
        body["problems"]
    )
    play.now_s += 121
    play.give(Woken()).expect(Observe())
    play.settle(
        f"- {ROUTE[B1]}",
        f"- {NEXT_HOP[B1]}",
    )
    assert view_of(play, "summary")["state"] == "degraded"


def test_a_refused_edit_is_shown_with_its_place() -> None:
    play = converged()
    play.give(IntentRejected((Problem(Place("cluster.yaml", 12, 15), "pools.blue", "both modes set", "both"),)))
    assert view_of(play, "summary")["config_rejected"] is True
    assert view_of(play, "summary")["problems"] == [f"{REJECTED}: cluster.yaml:12:15: pools.blue: both modes set"]


def test_a_kernel_that_cannot_be_seen_is_the_first_problem() -> None:
    play = converged()
    play.give(KernelLost("the netlink socket is gone")).expect(WakeAt(play.in_s(1)))
    body = view_of(play, "summary")
    assert (body["state"], body["converged"]) == ("degraded", False)
    assert body["problems"][0].startswith("kernel state cannot be read or changed")
    assert body["problems"][0].endswith("the netlink socket is gone")


def test_a_program_that_reverts_our_work_is_reported_with_the_objects_and_the_time_of_the_next_attempt() -> None:
    play = converged()
    for _ in range(3):
        undo(play, "10.244.3.0/26")
        play.settle(f"+ {ROUTE[B1]}")
    undo(play, "10.244.3.0/26")
    play.settle(WakeAt(play.in_s(0.5)))
    (problem,) = answer("summary", Snapshot(play.state, play.now_s, {}))["problems"]
    assert "route 10.244.3.0/26" in problem
    assert "was restored 3 times, next repair in 0.5 s" in problem


def test_a_configuration_that_the_speaker_refuses_is_shown_until_it_is_in_force() -> None:
    play = converged()
    play.give(SpeakerConfigRejected("the password of peer tor-a cannot be read"))
    body = view_of(play, "summary")
    assert body["converged"] is False
    assert "the password of peer tor-a cannot be read" in body["problems"][0]
    play.give(SpeakerAttached(1, ())).expect(Observe())
    assert "refused" not in str(view_of(play, "summary")["problems"])


def test_a_route_shows_its_next_hop_and_the_reason() -> None:
    body = view_of(converged(), "routes", prefix="10.244.4.0/26")
    (route,) = body["routes"]
    assert (route["via"], route["dev"], route["onlink"], route["installed"]) == ("10.1.0.4", "tunl0", True, True)
    assert route["reason"] == "best path, from b2; pool blue: IPIP, 10.1.0.4 is not in 10.0.0.0/24"


def test_a_tunnel_shows_its_traffic_counters_where_known() -> None:
    play = converged()
    counted = {"tunl0": Traffic(5, 500, 7, 700, dropped_packets=2), "eth0": Traffic(1, 1, 1, 1)}
    shown = dict(zip(Traffic._fields[:5], counted["tunl0"][:5], strict=True))
    for traffic, expected in ((lambda: counted, shown), (dict, None)):
        (row,) = answer("tunnels", Snapshot(play.state, play.now_s, {}, traffic))["tunnels"]
        assert row["traffic"] == expected


def test_a_tunnel_shows_what_was_dropped_by_reason_and_the_last_sender() -> None:
    play, last = converged(), Address.parse("10.244.2.9")
    inside = {"tunl0": (Drops("source", 3, last), Drops("destination", 0))}
    for of_driver in ((), (Drops("sender", 2),)):  # one count, with a reason or without
        counted = {"tunl0": Traffic(5, 500, 7, 700, 2, of_driver)}
        snapshot = Snapshot(play.state, play.now_s, {}, counted.copy, drops=inside.copy)
        (row,) = answer("tunnels", snapshot)["tunnels"]
        found = [(item["reason"], item["packets"], item["last"]) for item in row["dropped"]]
        assert found == [("destination", 0, None), ("sender", 2, None), ("source", 3, "10.244.2.9")]


@pytest.mark.parametrize("filtered", [True, False])
def test_a_workload_shows_its_addresses_and_what_was_dropped(filtered: bool) -> None:
    play = converged()
    kernel, address = play.state.kernel, Prefix.parse("10.244.1.10/32")
    assert kernel.observed is not None
    cable = Link("cali1", Plain("veth"), 1480, owned=False, workload=True)
    routes = (Route(address, link="cali1", metric=0, protocol=4), Route(LINK_LOCAL, link="cali1", protocol=2))
    gone = () if filtered else kernel.observed.workload_filters
    play.state = replace(play.state, kernel=kernel.seen(kernel.observed.put([cable, *routes]).drop(gone)))
    snapshot = Snapshot(play.state, play.now_s, {}, drops=lambda: {"cali1": (Drops("source", 4),)})
    (row,) = answer("workloads", snapshot)["workloads"]
    assert (row["device"], row["addresses"], row["filtered"]) == ("cali1", ["10.244.1.10/32"], filtered)
    assert row["dropped"] == [{"reason": "source", "packets": 4, "last": None}]
    page = Metrics(lambda: snapshot).page().decode()
    assert 'bgpctl_workload_dropped_packets_total{device="cali1",reason="source"} 4.0' in page


def test_a_route_that_is_not_in_the_kernel_is_shown_as_absent() -> None:
    play = converged()
    kernel = play.state.kernel
    assert kernel.observed is not None
    without_routes = kernel.seen(kernel.observed.drop(kernel.observed.routes))
    play.state = replace(play.state, kernel=without_routes)
    assert not any(route["installed"] for route in view_of(play, "routes")["routes"])


def test_the_api_answers_over_a_unix_socket_and_refuses_unknown_requests(tmp_path: Path) -> None:
    play = converged()
    path = tmp_path / "agent.sock"
    api = Api(path, lambda view, query: answer(view, Snapshot(play.state, play.now_s, query)))
    try:
        assert client.read(path, "peers")["schema"] == "bgpctl/peers/v2"
        with pytest.raises(client.BadRequest, match="nothing at /v1/weather"):
            client.read(path, "weather")
        with pytest.raises(client.BadRequest, match="host bits"):
            client.read(path, "routes", {"prefix": "10.244.4.1/26"})
    finally:
        api.close()
    with pytest.raises(client.AgentAway, match="no agent answers"):
        client.read(path, "peers")


@pytest.mark.parametrize("error", [KeyError("eth0"), ValueError("9")])
def test_a_bug_in_a_view_is_neither_an_unknown_view_nor_a_bad_question(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def broken(_view: str, _query: Mapping[str, str]) -> dict[str, Any]:
        raise error

    path = tmp_path / "agent.sock"
    api = Api(path, broken)
    try:
        with pytest.raises(client.Faulty, match="500: the agent could not make an answer; its log has the reason"):
            client.read(path, "peers")
    finally:
        api.close()
    wait_until(lambda: type(error).__name__ in caplog.text)  # logged once the answer is sent
