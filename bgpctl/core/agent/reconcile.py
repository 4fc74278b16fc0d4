"""
The one decision: from a whole observation, and all other known facts, to the next commands.

Announcements follow the operations, because a peer may use a route as soon as it is announced. The address of a
service is withdrawn before them, because others have it too. Sessions that are not needed any more, and the speaker
itself, go last.

Refuses to know: why the observation was requested.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.agent.events import Apply, Command, Configure, SendProbes, WakeAt
from bgpctl.core.agent.sessions import advertise, end_handover, forget_gone_peers, speak
from bgpctl.core.agent.state import State
from bgpctl.core.bgp import encap_community
from bgpctl.core.bgp.adj_rib_out import SpeakerCommands
from bgpctl.core.bgp.loc_rib import LocRib, select
from bgpctl.core.bgp.possible_sources import PossibleSources
from bgpctl.core.bgp.speaker import Withdraw
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane import drift
from bgpctl.core.dataplane.plan import planned
from bgpctl.core.fabric import Desired
from bgpctl.core.fabric.derive import Question, derived
from bgpctl.core.fabric.path_mtu import NO_PATH_MTUS, PathMtus, found_in
from bgpctl.core.migration.next_step import MigrationStep, next_step
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane, surroundings
from bgpctl.core.net.replacing import replace
from bgpctl.core.proof.paths import member_paths, paths_input
from bgpctl.core.trace.shadows import Suspects, shadows, suspects

RESYNC_S: Final = 60.0
"""The kernel is observed this often even if nothing reports a change: a notification may be lost."""


def reconcile(state: State, observed: Dataplane, at_s: float) -> tuple[State, tuple[Command, ...]]:
    """Derive all that should be, close the difference to `observed`, and advertise it."""
    observed = observed.sharing(state.kernel.observed) if state.kernel.observed else observed
    state, requests = _with_observation(state, observed, at_s)
    state, configure = end_handover(state, at_s)
    state, forget = forget_gone_peers(state, at_s)
    configure = forget or configure
    state = replace(state, bgp=state.bgp.with_ignorance(at_s).with_withdrawals())
    intent = state.intent.in_force
    node = intent.node(state.node) if intent else None
    if intent is None or node is None:
        return state, speak(requests)
    state = _with_best_paths(state, observed)
    state, desired = _with_desired(state, intent, node)
    migration_step = _migration_step(state, desired, intent, node, observed, at_s)
    state = _with_plan(state, migration_step, intent, node, observed, at_s)
    state = _with_paths(state, intent, node, observed)
    had = _service_prefixes(state)
    state, announcements = advertise(state, at_s)
    state, send_probes = _send_probes(state, migration_step.probes, at_s)
    state, apply = _close_difference(state, at_s)
    state, stop = _stop_speaker(state)
    first = tuple(item for item in announcements if isinstance(item, Withdraw) and item.prefix in had)
    rest = tuple(item for item in announcements if item not in first) if first else announcements
    return state, (*speak(first), *send_probes, *apply, *speak((*requests, *rest)), *configure, *stop)


def _service_prefixes(state: State) -> frozenset[Prefix]:
    """The addresses of services as they were last advertised."""
    return frozenset(
        service.prefix for item in state.memo.advertised.values() for service in item.wanted.made_from.services
    )


# Known facts ---------------------------------------------------------------------------------------------------


def _with_observation(state: State, observed: Dataplane, at_s: float) -> tuple[State, SpeakerCommands]:
    due = state.bgp.refreshes_due(at_s)
    bgp, ends = state.bgp.expired(at_s, state.proofs.is_proven).failures_detected(at_s)
    bgp, refreshes = bgp.refresh_requested(due, at_s)
    if state.kernel.observed is None and state.proofs.is_on:
        state = replace(state, proofs=replace(state.proofs, found_mtus=found_in(observed.routes)))
    return replace(state, kernel=state.kernel.seen(observed), bgp=bgp), (*ends, *refreshes)


def _with_best_paths(state: State, observed: Dataplane) -> State:
    memo, policy = state.memo, state.intent.policy
    seen = surroundings(observed, memo.surroundings)
    costs = memo.costs.of(seen.foreign, state.proofs.unreachable)
    decision = select(policy, state.bgp.adj_rib_in, costs, memo.decision) if policy else None
    bgp = state.bgp.with_best_paths(decision.loc_rib if decision else LocRib())
    return replace(state, bgp=bgp, memo=replace(memo, surroundings=seen, costs=costs, decision=decision))


# Desired state -------------------------------------------------------------------------------------------------


def _with_desired(state: State, intent: Intent, node: Node) -> tuple[State, Desired]:
    """The end of the way, without regard to who still uses what is there."""
    bgp, seen = state.bgp, state.memo.surroundings
    foreign = seen.foreign if seen else Dataplane()
    before = state.memo.derivation
    question = Question(
        intent,
        node,
        bgp.session_names,
        bgp.loc_rib.best,
        foreign,
        bgp.prune_holds,
        bgp.withdrawn,
        _possible_sources(state, before.desired.sources if before else None),
        _path_mtus(state, before.made_from.path_mtus if before else NO_PATH_MTUS),
    )
    derivation = derived(question, before)
    return replace(state, memo=replace(state.memo, derivation=derivation)), derivation.desired


def _path_mtus(state: State, before: PathMtus) -> PathMtus:
    """The same object as before if nothing changed."""
    proofs = state.proofs
    now = PathMtus(True, proofs.path_mtus, proofs.found_mtus) if state.intent.discovers_mtu else NO_PATH_MTUS
    return before if now == before else now


def _possible_sources(state: State, before: PossibleSources | None) -> PossibleSources | None:
    """The same object as before for the same peers and the same policy: it remembers its answers."""
    policy, bgp = state.intent.policy, state.bgp
    if policy is None or not bgp.attached or not bgp.prune_holds:
        return None
    now = PossibleSources.of(policy, bgp.awaited)
    return before if before == now and before.ownership is now.ownership else now


def _migration_step(
    state: State, desired: Desired, intent: Intent, node: Node, observed: Dataplane, at_s: float
) -> MigrationStep:
    """The next step on the way to what is desired."""
    advertised = encap_community.advertised_tunnels(state.bgp.adj_rib_in, state.intent.internal_peers, intent)
    return next_step(desired, observed, intent, node, state.migration.probe_results, at_s, advertised)


def _with_plan(
    state: State, step: MigrationStep, intent: Intent, node: Node, observed: Dataplane, at_s: float
) -> State:
    """The state with what is wanted next and the plan for it; a difference that no event explains is a repair."""
    pending, comparison = planned(step.desired, observed, state.memo.comparison)
    among = _suspects(state, intent, node)
    repairs = drift.repairs_in(state.kernel.desired, state.kernel.pending.ops, pending.ops)
    return replace(
        state,
        kernel=state.kernel.planned(step.desired, pending, shadows(among, step.desired.dataplane)),
        migration=state.migration.waiting_for(step, at_s),
        attempts=state.attempts.called_for(pending.ops).repaired(repairs, step.desired, at_s),
        memo=replace(state.memo, comparison=comparison, suspects=among),
    )


def _suspects(state: State, intent: Intent, node: Node) -> Suspects:
    seen = state.memo.surroundings
    pools = tuple(pool.cidr for pool in intent.pools)
    return suspects(seen.foreign if seen else Dataplane(), pools, intent.blocks_of(node), state.memo.suspects)


def _with_paths(state: State, intent: Intent, node: Node, observed: Dataplane) -> State:
    """The paths to be proven. During a migration they stay as they are: its own probes decide."""
    desired = state.kernel.desired
    if not state.proofs.is_on or desired is None or state.migration.in_progress:
        return state
    read = paths_input(desired, observed, intent, node)
    if read.equals(state.memo.paths):
        return state
    found = member_paths(desired, observed, intent, node)
    proofs = state.proofs.with_paths(found, lambda name, address: _has_address(intent.node(name), address))
    return replace(state, proofs=proofs, memo=replace(state.memo, paths=read))


def _has_address(node: Node | None, address: Address) -> bool:
    return node is not None and address in node.addresses


# Commands ------------------------------------------------------------------------------------------------------


def _send_probes(state: State, probes: tuple[Probe, ...], at_s: float) -> tuple[State, tuple[Command, ...]]:
    due = state.migration.due_probes(probes, at_s)
    if not due:
        return state, ()
    return replace(state, migration=state.migration.probes_sent()), (SendProbes(due),)


def _close_difference(state: State, at_s: float) -> tuple[State, tuple[Command, ...]]:
    """Apply what need not wait; with nothing to apply, sleep until something is due."""
    ready = state.attempts.ready(state.kernel.pending.ops, at_s)
    if not ready:
        return state, (WakeAt(_next_due_s(state, at_s)),)
    return replace(state, attempts=state.attempts.begun(ready, at_s)), (Apply(ready),)


def _next_due_s(state: State, at_s: float) -> float:
    """The first timer ahead. Those that are over were handled just now, and to observe again would handle no more."""
    retries_s = state.attempts.timers_s(state.kernel.pending.ops)
    timers_s = (at_s + RESYNC_S, *state.bgp.timers_s, *state.migration.timers_s, *retries_s)
    return min(timer_s for timer_s in timers_s if timer_s > at_s)


def _stop_speaker(state: State) -> tuple[State, tuple[Command, ...]]:
    """Without BGP the speaker ends, but only once no member needs its announcements: until then others use them."""
    unneeded = state.bgp.config is None and not state.kernel.pending.ops and not state.migration.in_progress
    if not unneeded or state.bgp.stopped:
        return state, ()
    return replace(state, bgp=state.bgp.speaker_stopped()), (Configure(None),)
