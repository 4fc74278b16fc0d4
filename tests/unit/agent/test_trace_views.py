"""The answer of an agent about its kernel: the reasons of its routes, and why others are not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bgpctl.agent import trace_codec, trace_views, views
from bgpctl.agent.errors import BadRequest
from bgpctl.agent.recent import Recent
from bgpctl.agent.snapshot import Snapshot
from bgpctl.core.agent.events import KernelLost, Observe, WakeAt, Woken
from bgpctl.core.agent.state import State, begin
from bgpctl.core.bgp.speaker import SessionDown, Update
from bgpctl.core.cluster.reasons import ReasonCode, RejectCode
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route
from bgpctl.core.trace.announced import ObstacleCode
from bgpctl.core.trace.answers import NodeAnswer
from bgpctl.core.trace.snapshot import Snapshot as Kernel
from bgpctl.core.trace.snapshot import Unread
from bgpctl.ports import Unavailable
from tests.cluster import path
from tests.stories.mesh import B1, BLOCKS, NEXT_HOP, ROUTE, converged
from tests.stories.play import Play

BLOCK = Prefix.parse(BLOCKS[B1])


def answer_of(state: State, read: Callable[[Dataplane], Kernel] = Kernel) -> NodeAnswer:
    tree = dict(views.kernel(Snapshot(state, 1000.0, {}), read))
    assert tree.pop("schema") == "bgpctl/kernel/v1"
    return trace_codec.decode(tree)


def forgotten() -> Play:
    """b1's session ended long ago, and its route is gone."""
    play = converged()
    play.give(SessionDown(B1, "closing connection", notified=False)).expect(Observe())
    play.settle()
    play.now_s += 121
    play.give(Woken()).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    return play


def test_an_answer_has_the_kernel_and_the_reasons_of_its_routes() -> None:
    state = converged().state
    answer = answer_of(state)
    assert state.kernel.observed
    assert (answer.node, answer.snapshot, answer.absent) == ("a1", Kernel(state.kernel.observed), {})
    assert {str(prefix): reason.code for prefix, reason in answer.reasons.items()} == {
        "10.244.1.0/26": ReasonCode.OWN_BLOCK,
        **dict.fromkeys(BLOCKS.values(), ReasonCode.BEST_PATH),
    }


def test_a_route_that_is_not_there_has_the_session_that_is_down() -> None:
    found = answer_of(forgotten().state).absent
    assert {prefix: (item.code, item.at, item.peer) for prefix, item in found.items()} == {
        BLOCK: (ObstacleCode.SESSION_DOWN, "a1", "b1")
    }


def test_a_path_that_is_rejected_is_the_reason() -> None:
    play = converged()
    play.give(Update(B1, (path(BLOCKS[B1], "10.0.0.2"),), ())).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    (found,) = answer_of(play.state).absent.values()
    assert found.code is ObstacleCode.IMPORT
    assert found.rejection
    assert found.rejection.reason is RejectCode.OTHERS_BLOCK


def test_a_wanted_route_that_the_kernel_has_not_is_named_as_that() -> None:
    state = converged().state
    assert state.kernel.observed
    gone = replace(state, kernel=state.kernel.seen(state.kernel.observed.drop([Route(BLOCK)])))
    assert answer_of(gone).absent[BLOCK].code is ObstacleCode.NOT_INSTALLED


def test_nothing_is_answered_before_the_kernel_was_observed_or_where_it_cannot_be_read() -> None:
    def fails(_: Dataplane) -> Kernel:
        raise Unavailable("no netlink here")

    for state, read, words in (
        (begin("a1", 0.0), Kernel, "has not observed its kernel"),
        (converged().state, fails, "cannot be read: no netlink here"),
    ):
        with pytest.raises(BadRequest, match=words):
            answer_of(state, read)


def test_a_kernel_that_is_too_large_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_views, "MOST_OBJECTS", 3)
    with pytest.raises(BadRequest, match="no more than 3 are given"):
        answer_of(converged().state)


def test_an_observation_that_may_be_wrong_by_now_is_said_to_be() -> None:
    play = converged()
    play.give(KernelLost("no buffer space")).expect(WakeAt(play.in_s(1)))
    assert Unread("routes and links", "no buffer space") in answer_of(play.state).snapshot.unread


def test_one_answer_is_for_all_who_ask_within_a_second() -> None:
    now_s, made = [0.0], list[dict[str, Any]]()

    def make() -> dict[str, Any]:
        made.append({"number": len(made)})
        return made[-1]

    recent = Recent(1.0, lambda: now_s[0])
    assert [recent.get(make)["number"] for _ in range(3)] == [0, 0, 0]
    now_s[0] = 1.5
    recent.expire()
    assert recent.get(make) == {"number": 1}


def test_a_failure_is_nobody_elses() -> None:
    def fails() -> dict[str, Any]:
        raise BadRequest("not now")

    recent = Recent(1.0, lambda: 0.0)
    with pytest.raises(BadRequest):
        recent.get(fails)
    assert recent.get(dict) == {}
