"""Invariants of the loop and the RIB, whatever is received and in whatever order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import assume, given
from hypothesis import strategies as st

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Event,
    IntentLoaded,
    Observed,
)
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp import speaker
from bgpctl.core.bgp.loc_rib import LocRib, select
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.speaker import (
    EndOfRib,
    SessionDown,
    SessionUp,
    Update,
)
from bgpctl.core.dataplane.effects import KernelError, Remove, after
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route
from tests.cluster import path
from tests.kernel_text import assert_has
from tests.laws.events import BLOCKS, INTENT, KERNEL, PEERS, events, from_peers, updates


def play(state: State, events_: Sequence[Event], *, start_s: float = 1.0) -> tuple[State, list[tuple[Command, ...]]]:
    all_commands = []
    for number, event in enumerate(events_):
        state, commands = step(state, event, start_s + number)
        all_commands.append(commands)
    return state, all_commands


def started() -> State:
    return play(begin("a1", 0.0), [IntentLoaded(INTENT), speaker.SpeakerAttached(1, ())])[0]


def settle(state: State, kernel: Dataplane, at_s: float) -> tuple[State, Dataplane]:
    """Let the loop observe and change a fake kernel until it rests."""
    for _ in range(5):
        state, commands = step(state, Observed(kernel), at_s)
        ops = [op for command in commands if isinstance(command, Apply) for op in command.ops]
        for op in ops:
            kernel = after(kernel, op)
        if not ops:
            return state, kernel
        state, _ = step(state, Applied(()), at_s)
    raise AssertionError("the loop did not come to rest")


@given(st.lists(events, max_size=30))
def test_the_same_story_gives_the_same_commands(story: list[Event]) -> None:
    assert play(begin("a1", 0.0), story) == play(begin("a1", 0.0), story)


OLD_BLOCKS = [Prefix.parse(f"10.244.{index}.0/26") for index in range(20, 24)]


def _left_by_an_agent_before() -> Dataplane:
    """The kernel of a converged node, with routes to blocks that no peer in these stories announces."""
    state, _ = play(started(), [e for peer in PEERS.values() for e in (SessionUp(peer), EndOfRib(peer, 4))])
    announced = [Update(peer, (path(block, peer),)) for peer, block in zip(PEERS.values(), BLOCKS, strict=False)]
    _, kernel = settle(play(state, announced)[0], KERNEL, 60.0)
    hop = min(kernel.next_hops)
    return kernel.put(Route(block, next_hop=hop.id) for block in OLD_BLOCKS)


LITTERED = _left_by_an_agent_before()


@given(st.lists(st.one_of(events, st.just(Observed(LITTERED))), max_size=30))
def test_before_every_end_of_rib_only_routes_are_removed_that_wait_for_no_source(
    story: list[Event],
) -> None:
    state, announced = begin("a1", 0.0), set[Prefix]()
    for number, event in enumerate(story):
        announced |= _announced(state)
        state, commands = step(state, event, float(number))
        desired = state.kernel.desired
        if desired and desired.prune_holds:
            removed = [op.object for c in commands if isinstance(c, Apply) for op in c.ops if isinstance(op, Remove)]
            routes = [obj for obj in removed if isinstance(obj, Route)]
            assert routes == removed
            sources, prefixes = desired.sources, {route.prefix for route in routes}
            waited_for = {prefix for prefix in prefixes if sources is None or sources.may_have(prefix)}
            assert waited_for <= announced - _announced(state)


def _announced(state: State) -> set[Prefix]:
    return {prefix for table in state.bgp.adj_rib_in.values() for prefix in table.paths}


def test_a_littered_kernel_is_cleared_after_the_last_end_of_rib() -> None:
    """The invariant above would be true of a loop that never removes anything."""
    state, _ = play(started(), [e for peer in PEERS.values() for e in (SessionUp(peer), EndOfRib(peer, 4))])
    _, kernel = settle(state, LITTERED, 60.0)
    assert not any(route.next_hop for route in kernel.routes)


@given(st.lists(from_peers, max_size=12), st.lists(from_peers, max_size=12))
def test_events_of_different_peers_commute(one: list[Event], two: list[Event]) -> None:
    assume({e.peer for e in one}.isdisjoint(e.peer for e in two))  # type: ignore[union-attr]
    plain = [*one, *two]
    mixed = [e for pair in itertools.zip_longest(one, two) for e in pair if e is not None]
    straight, interleaved = selected(_take_all(plain)), selected(_take_all(mixed))
    assert straight == interleaved


def selected(state: State) -> LocRib:
    return (
        select(state.intent.policy, state.bgp.adj_rib_in, NextHopCosts(state.kernel.observed)).loc_rib
        if state.intent.policy
        else LocRib()
    )


def _take_all(story: Sequence[Event]) -> State:
    state = started()
    for event in story:
        state, _ = step(state, event, 5.0)
    return state


@given(st.lists(events, max_size=25))
def test_cached_verdicts_are_those_of_a_fresh_evaluation(story: list[Event]) -> None:
    state, _ = play(begin("a1", 0.0), story)
    state, _ = play(state, [IntentLoaded(INTENT), Observed(KERNEL)], start_s=100.0)
    assert state.bgp.loc_rib == selected(state)


@given(st.lists(updates, max_size=10))
def test_a_peer_that_closed_its_session_is_as_if_never_known(story: list[Update]) -> None:
    peer = PEERS["b1"]
    others = [SessionUp(other) for other in PEERS.values()] + [
        EndOfRib(other, 4) for other in PEERS.values() if other != peer
    ]
    mine: list[Event] = [update for update in story if update.peer == peer]
    rest: list[Event] = [update for update in story if update.peer != peer]
    with_it = _take_all([*others, *rest, *mine, SessionDown(peer, "notification received (6,2)", notified=True)])
    never = _take_all([*others, *rest, SessionDown(peer, "notification received (6,2)", notified=True)])
    assert selected(with_it) == selected(never)
    one, _ = settle(with_it, KERNEL, 200.0)
    other, _ = settle(never, KERNEL, 200.0)
    assert one.kernel.desired == other.kernel.desired


@given(st.lists(events, max_size=25))
def test_after_any_story_the_loop_comes_to_rest_in_the_desired_state(story: list[Event]) -> None:
    state, _ = play(begin("a1", 0.0), story)
    state, _ = play(state, [IntentLoaded(INTENT)], start_s=100.0)
    try:
        state, kernel = settle(state, KERNEL, 1000.0)
    except KernelError as refused:
        raise AssertionError(f"planned what the kernel refuses: {refused}") from refused
    assert state.kernel.desired is not None
    assert_has(kernel, state.kernel.desired.dataplane)
    assert state.kernel.pending.ops == ()
