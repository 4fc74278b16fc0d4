"""Proven paths as a part of the agent's state: which paths there are, and what a verdict changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.agent import proof_views, proof_words
from bgpctl.agent.snapshot import Cluster, Snapshot
from bgpctl.core.agent.events import ConfigurationsCompared, ForwardingJudged, Observe, Observed, PathsJudged
from bgpctl.core.agent.proofs import KnownPath, PathVerdict
from bgpctl.core.agent.state import Phase, State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.adj_rib_in import PROVEN_S
from bgpctl.core.bgp.speaker import SessionDown, SessionUp
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, Mode
from bgpctl.core.fabric import Desired
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.proof.note import Difference
from bgpctl.core.proof.paths import MemberPath, member_paths
from bgpctl.core.proof.verdict import Proof, Verdict
from bgpctl.core.trace.firewall import Stop
from tests.cluster import bare_kernel, derived, member, two_racks
from tests.stories.mesh import B1, converged

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)


def kernel_of(desired: Desired) -> Dataplane:
    """All that is wanted, beside the underlay."""
    return bare_kernel(member(INTENT, "a1")).put(desired.dataplane)


def proving() -> State:
    """A converged node of a mesh whose paths are to be proven."""
    play = converged()
    state = replace(play.state, proofs=begin("a1", 0.0, proving=True).proofs)
    assert state.kernel.observed
    after, _ = step(replace(state, kernel=state.kernel.observation_requested()), Observed(state.kernel.observed), 50.0)
    return after


def given(state: State, verdict: Verdict, *names: str, at_s: float = 51.0, answers_bare: bool = False) -> State:
    verdicts = tuple(
        PathVerdict(path, Proof(verdict, at_s, answers_bare=answers_bare))
        for path in state.proofs.paths
        if not names or path.member in names
    )
    after, _ = step(state, PathsJudged(verdicts), at_s)
    return after


def test_each_member_has_one_path_by_the_link_that_its_routes_use() -> None:
    desired = derived(INTENT)
    paths = member_paths(desired, kernel_of(desired), INTENT, member(INTENT, "a1"))
    shown = [(path.member, path.probe.hop.link, path.full_bytes, path.overhead_bytes) for path in paths]
    assert shown == [("a2", "eth0", 1500, 0), ("b1", "tunl0", 1480, 20), ("b2", "tunl0", 1480, 20)]
    assert [path.probe.encapsulation for path in paths] == [DIRECT, IPIP, IPIP]
    assert all(path.probe.target == path.probe.remote for path in paths)


def test_no_more_members_of_the_own_network_are_probed_than_the_neighbour_table_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bgpctl.core.proof.paths.MOST_NEIGHBOURS", 0)
    desired = derived(INTENT)
    found = member_paths(desired, kernel_of(desired), INTENT, member(INTENT, "a1"))
    assert [path.member for path in found] == ["b1", "b2"]


def test_a_next_hop_that_is_not_in_the_kernel_yet_has_no_path() -> None:
    desired = derived(INTENT)
    observed = replace(kernel_of(desired), next_hops=frozenset())
    assert member_paths(desired, observed, INTENT, member(INTENT, "a1")) == ()


def test_a_node_has_converged_once_every_path_is_proven() -> None:
    state = proving()
    assert state.phase is Phase.CONVERGING
    state = given(state, Verdict.PROVEN, "a2", "b1")
    assert state.phase is Phase.CONVERGING
    assert given(state, Verdict.PROVEN, "b2").phase is Phase.CONVERGED


def test_a_member_that_never_answers_is_named_and_keeps_nothing_from_converging() -> None:
    state = given(given(proving(), Verdict.PROVEN, "a2", "b1"), Verdict.UNPROVEN, "b2")
    assert state.phase is Phase.CONVERGED
    assert state.intent.in_force
    (problem,) = proof_words.problems(state.proofs.known.values(), state.intent.in_force)
    assert problem == "b2 by tunl0: unproven, no probe was ever answered"


@pytest.mark.parametrize("verdict", [Verdict.UNREACHABLE, Verdict.NARROW])
def test_a_path_on_which_packets_are_lost_degrades_the_node_until_it_is_proven_again(verdict: Verdict) -> None:
    state = given(proving(), Verdict.PROVEN)
    lost = given(state, verdict, "b1")
    assert lost.phase is Phase.DEGRADED
    assert given(lost, Verdict.PROVEN, "b1").phase is Phase.CONVERGED


def narrow(state: State, passes_bytes: int, *names: str) -> State:
    verdicts = tuple(
        PathVerdict(path, Proof(Verdict.NARROW, 51.0, passes_bytes=passes_bytes))
        for path in state.proofs.paths
        if path.member in names
    )
    after, _ = step(state, PathsJudged(verdicts), 51.0)
    return after


def mtus(state: State) -> dict[str, int]:
    """Of the routes that are wanted after an observation, where they have one."""
    assert state.kernel.observed
    asked = replace(state, kernel=state.kernel.observation_requested())
    after, _ = step(asked, Observed(state.kernel.observed), 52.0)
    assert after.kernel.desired
    return {str(route.prefix): route.mtu_bytes for route in after.kernel.desired.dataplane.routes if route.mtu_bytes}


def discovering(state: State) -> State:
    assert state.intent.in_force
    return replace(state, intent=replace(state.intent, in_force=replace(state.intent.in_force, mtu_discovery=True)))


def test_the_routes_of_a_narrow_path_get_its_mtu_and_lose_it_once_it_is_proven() -> None:
    state = discovering(given(proving(), Verdict.PROVEN))
    before = mtus(state)
    searched = given(state, Verdict.NARROW, "b1")
    found = narrow(searched, 1380, "b1")
    assert (before, mtus(searched)) == ({}, {})
    assert searched.phase is Phase.DEGRADED
    assert mtus(found) == {"10.244.3.0/26": 1380}
    assert found.phase is Phase.CONVERGED
    assert mtus(given(found, Verdict.NARROW, "b1")) == mtus(given(found, Verdict.UNREACHABLE, "b1")) == mtus(found)
    assert mtus(narrow(found, 1280, "b1")) == {"10.244.3.0/26": 1280}
    assert mtus(given(found, Verdict.PROVEN, "b1")) == {}


def test_without_the_key_a_narrow_path_changes_no_route_and_is_a_fault() -> None:
    state = narrow(given(proving(), Verdict.PROVEN), 1380, "b1")
    assert mtus(state) == {}
    assert state.phase is Phase.DEGRADED


def test_an_agent_that_starts_keeps_the_mtu_of_routes_until_their_path_is_judged() -> None:
    state = discovering(proving())
    assert state.kernel.observed
    (route,) = (item for item in state.kernel.observed.routes if str(item.prefix) == "10.244.3.0/26")
    found = state.kernel.observed.put([route._replace(mtu_bytes=1380)])
    fresh = replace(state, kernel=replace(state.kernel, observed=None).observation_requested())
    after, _ = step(fresh, Observed(found), 50.0)
    assert mtus(after) == {"10.244.3.0/26": 1380}
    assert mtus(given(after, Verdict.UNPROVEN)) == {"10.244.3.0/26": 1380}
    assert mtus(given(after, Verdict.PROVEN)) == {}


def test_an_unreachable_member_without_another_path_keeps_its_routes() -> None:
    state = given(proving(), Verdict.UNREACHABLE, "b1")
    assert state.kernel.observed
    assert state.kernel.desired
    after, _ = step(state, Observed(state.kernel.observed), 52.0)
    assert after.kernel.desired
    assert after.kernel.desired.dataplane == state.kernel.desired.dataplane
    assert not after.kernel.pending.ops


def test_only_a_member_that_becomes_or_ceases_to_be_unreachable_lets_routes_be_decided_anew() -> None:
    state = given(proving(), Verdict.PROVEN)
    verdicts = tuple(PathVerdict(path, Proof(Verdict.NARROW, 60.0)) for path in state.proofs.paths)
    assert Observe() not in step(state, PathsJudged(verdicts), 60.0)[1]
    verdicts = tuple(PathVerdict(path, Proof(Verdict.UNREACHABLE, 60.0)) for path in state.proofs.paths)
    assert Observe() in step(state, PathsJudged(verdicts), 60.0)[1]


def test_a_verdict_on_a_path_that_is_another_by_now_counts_for_nothing() -> None:
    state = proving()
    old = state.proofs.paths[1]._replace(full_bytes=1)
    after, _ = step(state, PathsJudged((PathVerdict(old, Proof(Verdict.UNREACHABLE, 51.0)),)), 51.0)
    assert after.proofs is state.proofs


def test_the_path_of_an_unreachable_member_that_no_route_uses_is_followed_until_it_is_proven() -> None:
    proofs = given(proving(), Verdict.UNREACHABLE, "b1").proofs
    path: MemberPath = next(path for path in proofs.paths if path.member == "b1")
    others = [path for path in proofs.paths if path.member != "b1"]
    unused = proofs.with_paths(others, has_any)
    assert path in unused.paths
    assert path.probe.remote in unused.unreachable
    assert not unused.is_broken
    back = unused.with_verdicts([PathVerdict(path, Proof(Verdict.PROVEN, 60.0))])
    assert path not in back.paths
    assert not back.unreachable
    assert path not in proofs.with_paths(others, lambda name, _: name != "b1").paths


def has_any(_name: str, _address: Address) -> bool:
    return True


def test_an_unreachable_path_is_forgotten_once_another_one_to_the_same_address_is_used() -> None:
    proofs = given(proving(), Verdict.UNREACHABLE, "b1").proofs
    by_tunnel = next(path for path in proofs.paths if path.member == "b1")
    other = by_tunnel._replace(probe=replace(by_tunnel.probe, hop=by_tunnel.probe.hop._replace(link="eth0")))
    moved = proofs.with_paths([other], has_any).with_verdicts([PathVerdict(other, Proof(Verdict.PROVEN, 60.0))])
    assert moved.of_member("b1") == (KnownPath(other, Proof(Verdict.PROVEN, 60.0)),)
    assert moved.is_proven(other.probe.remote)


def test_an_unreachable_path_is_forgotten_once_its_member_has_another_address() -> None:
    proofs = given(proving(), Verdict.UNREACHABLE, "b1", "b2").proofs
    (path,) = (path for path in proofs.paths if path.member == "b1")
    kept = proofs.with_paths((), lambda _, address: address != path.probe.remote)
    assert [path.member for path in kept.paths] == ["b2"]


def test_a_path_that_is_not_used_does_not_count_beside_one_that_is() -> None:
    state = given(proving(), Verdict.UNREACHABLE, "b1")
    (dead,) = (path for path in state.proofs.paths if path.member == "b1")
    other = dead._replace(probe=replace(dead.probe, remote=Address.parse("10.0.1.77")))
    proofs = state.proofs.with_paths([other], has_any)
    proofs = proofs.with_verdicts([PathVerdict(other, Proof(Verdict.PROVEN, 60.0))])
    assert dead in proofs.paths
    assert proof_views.to_member(Snapshot(replace(state, proofs=proofs), 60.0, {}), "b1") == "proven"
    unused = state.proofs.with_paths((), has_any)
    assert proof_views.to_member(Snapshot(replace(state, proofs=unused), 60.0, {}), "b1") == "unreachable"


def silent_until(state: State, at_s: float) -> State:
    """b1's session is lost at 60 s, without a NOTIFICATION, and never comes back."""
    state, _ = step(state, SessionDown(B1, "hold timer expired", notified=False), 60.0)
    while (due_s := min(time_s for time_s in state.bgp.timers_s if time_s > state.since_s)) and due_s < at_s:
        state = replace(state, bgp=state.bgp.expired(due_s, state.proofs.is_proven), since_s=due_s)
    return state


def test_the_routes_of_a_proven_member_outlive_the_restart_time_of_its_lost_session() -> None:
    state = silent_until(given(proving(), Verdict.PROVEN), 3000.0)
    assert state.bgp.adj_rib_in[B1].paths
    broken = given(state, Verdict.UNREACHABLE, "b1", at_s=3000.0)
    later = broken.bgp.expired(3000.0 + 2 * PROVEN_S, broken.proofs.is_proven)
    assert not later.adj_rib_in[B1].paths


def test_without_proof_they_end_with_the_restart_time() -> None:
    state = silent_until(given(proving(), Verdict.UNPROVEN), 3000.0)
    assert not state.bgp.adj_rib_in[B1].paths


def test_a_session_that_comes_back_ends_the_wait() -> None:
    state = silent_until(given(proving(), Verdict.PROVEN), 3000.0)
    after, _ = step(state, SessionUp(B1), 3001.0)
    assert after.bgp.adj_rib_in[B1].established


def test_causes_are_named_with_all_their_members() -> None:
    state = given(proving(), Verdict.UNREACHABLE, "b1", "b2", answers_bare=True)
    state = given(state, Verdict.UNREACHABLE, "a2")
    four, check = "IP protocol 4", "check that its firewall and the underlay"
    assert state.intent.in_force
    assert list(proof_words.problems(state.proofs.known.values(), state.intent.in_force)) == [
        "no probe reply from a2 by eth0: check `ping 10.0.0.2`",
        f"no probe reply from b1, b2 by tunl0 ({four}), but without encapsulation: {check} pass {four}",
    ]


def test_a_node_has_not_converged_while_a_member_has_another_configuration() -> None:
    state = given(proving(), Verdict.PROVEN)
    assert state.phase is Phase.CONVERGED
    differing, _ = step(state, ConfigurationsCompared((Difference("b1", members=False),)), 60.0)
    assert differing.phase is Phase.DEGRADED
    again, _ = step(differing, ConfigurationsCompared(()), 61.0)
    assert again.phase is Phase.CONVERGED


def test_a_node_has_not_converged_while_a_chain_ends_packets_of_workloads() -> None:
    state, stop = given(proving(), Verdict.PROVEN), Stop("chain f has a drop", "nft list chain f", is_certain=True)
    walled, _ = step(state, ForwardingJudged((stop,)), 60.0)
    assert walled.phase is Phase.DEGRADED
    assert proof_views.problems(Snapshot(walled, 61.0, {})) == ["chain f has a drop: nft list chain f"]
    again, _ = step(walled, ForwardingJudged(()), 61.0)
    assert again.phase is Phase.CONVERGED


def test_a_member_whose_differences_are_explained_is_named_once() -> None:
    state, _ = step(
        given(proving(), Verdict.PROVEN),
        ConfigurationsCompared((Difference("b1", members=False), Difference("b2", members=False))),
        60.0,
    )
    assert proof_views.problems(Snapshot(state, 61.0, {}, cluster=Cluster(explained=lambda: {"b1"}))) == [
        "b2 has another configuration than this node: compare the cluster files"
    ]
