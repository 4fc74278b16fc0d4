"""
One node's agent as a value: `step(state, event, at_s) -> (state, commands)`. No I/O, no clock.

Level, not edge: events change what we know and say "look again"; what to do is derived anew from a whole observation.

Refuses to know: processes, pipes, files, netlink.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, assert_never

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Configure,
    DrainRequested,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    Observe,
    Observed,
    PeerRequested,
    Probed,
    RefreshRequested,
    SendProbes,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.bgp import adj_rib_in, adj_rib_out, encap_community, session_handover, speaker
from bgpctl.core.bgp.adj_rib_in import PREFIX_LIMIT, AdjRibIn
from bgpctl.core.bgp.adj_rib_out import AdjRibOut
from bgpctl.core.bgp.export_policy import ExportInput
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.bgp.loc_rib import LocRib, select
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.peer_table import TableState
from bgpctl.core.bgp.session_handover import Handover
from bgpctl.core.bgp.sessions import RESTART_TIME_S, speaker_config
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode, Unmet
from bgpctl.core.dataplane import drift
from bgpctl.core.dataplane.drift import Conflicts
from bgpctl.core.dataplane.effects import Failure, Op
from bgpctl.core.dataplane.plan import Plan, plan
from bgpctl.core.fabric import Desired, derive
from bgpctl.core.fabric.desired import link_of
from bgpctl.core.migration.next_step import next_step
from bgpctl.core.migration.probes import NO_RESULTS, PROBE_EVERY_S, Probe, ProbeResults, with_replies
from bgpctl.core.migration.situation import PendingMember
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Dataplane

SWEEP_S: Final = 60.0
"""Look at the kernel this often even if nobody says that it changed."""
_BACKOFF_S: Final = (0.1, 0.5, 2.0, 10.0, 30.0)
_REPAIRS_KEPT_S: Final = 3600.0
_REOPEN_S: Final = 1.0
"""Try to see a lost kernel again this often."""
_NOTHING_TO_DO: Final = Plan(())


# State ---------------------------------------------------------------------------------------------------------


class Phase(enum.Enum):
    """What the agent is busy with; the first that is true counts."""

    STARTING = "starting"
    LEARNING = "learning"
    CONVERGING = "converging"
    SWITCHING = "switching"
    DEGRADED = "degraded"
    CONVERGED = "converged"


@dataclass(frozen=True, slots=True)
class State:
    """
    Everything one agent knows.

    Attributes:
        problems: of the last edit, if it was rejected.
        attached: whether the BGP speaker can hear and be heard.
        policy: what `intent` says about the routes of `config`; None where there is no BGP.
        refused: why the BGP speaker does not take `config`; empty when it does.
        loc_rib: what was made of the received paths at the last observation.
        adj_rib_out: what each peer has been told.
        draining: whether peers are told that this node is about to go.
        shut_down_peers: peers whose session the operator wants down.
        handover: sessions in `config` that the intent does not ask for any more.
        adj_rib_in_before: `adj_rib_in` at the last observation.
        withdrawn: prefixes that were taken back while somebody has not spoken.
        observed: the last observation; None before the first.
        kernel_error: why the kernel cannot be seen now; empty when it can.
        desired: derived from `observed` and the rest.
        pending: operations that the last observation still called for.
        failures: the last one of each operation that is still called for.
        applying: operations whose outcome is not known yet.
        tried: operations already tried and still called for; they wait until `retry_at_s`.
        retries: how often in a row such operations were tried again.
        probe_results: what probes of new ways have shown.
        cutovers, drains: members that a change of encapsulation waits for.
        waiting: since when each of these is waited for.
        probing: probes are on their way; the next ones are due at `next_probe_s`.
        speaker_stopped: the speaker was told that there is no BGP any more.
        repairs: times at which objects had to be put back although nobody had changed what is wanted.
        conflicts: repairs that had to be repeated, or may have to be.
        since_s: when `phase` last changed.
    """

    node: str
    intent: Intent | None = None
    problems: tuple[Problem, ...] = ()
    config: speaker.SpeakerConfig | None = None
    policy: Policy | None = field(default=None, compare=False)
    attached: bool = False
    refused: str = ""
    adj_rib_in: AdjRibIn = field(default_factory=dict)
    loc_rib: LocRib = field(default_factory=LocRib)
    adj_rib_out: AdjRibOut = field(default_factory=AdjRibOut)
    draining: bool = False
    shut_down_peers: frozenset[Address] = frozenset()
    handover: Handover = field(default_factory=Handover)
    adj_rib_in_before: AdjRibIn = field(default_factory=dict)
    withdrawn: frozenset[Prefix] = frozenset()
    observed: Dataplane | None = None
    kernel_error: str = ""
    desired: Desired | None = None
    pending: Plan = _NOTHING_TO_DO
    failures: tuple[Failure, ...] = ()
    applying: frozenset[Op] = frozenset()
    observing: bool = False
    tried: frozenset[Op] = frozenset()
    retry_at_s: float = 0.0
    retries: int = 0
    probe_results: ProbeResults = NO_RESULTS
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()
    waiting: Mapping[PendingMember, float] = field(default_factory=dict)
    probing: bool = False
    next_probe_s: float = 0.0
    speaker_stopped: bool = False
    repairs: tuple[float, ...] = ()
    conflicts: Conflicts = field(default_factory=dict)
    phase: Phase = Phase.STARTING
    since_s: float = 0.0


_PHASES: Final[tuple[tuple[Phase, Callable[[State], bool]], ...]] = (
    (Phase.DEGRADED, lambda state: bool(state.kernel_error)),
    (Phase.STARTING, lambda state: state.intent is None or state.desired is None),
    (Phase.DEGRADED, lambda state: bool(state.failures or _is_lost(state) or drift.persistent(state.conflicts))),
    (Phase.LEARNING, lambda state: bool(state.desired and state.desired.prune_holds)),
    (Phase.CONVERGING, lambda state: bool(state.pending.ops)),
    (Phase.SWITCHING, lambda state: bool(state.cutovers or state.drains)),
    (Phase.DEGRADED, lambda state: bool(unmet(state) or peers_down(state) or state.refused)),
    (Phase.CONVERGED, lambda _: True),
)


def _is_lost(state: State) -> bool:
    """Whether somebody who had spoken is gone, or the link with our address: that is more than not to know yet."""
    withheld = state.desired.prune_holds if state.desired else ()
    stale = any(table.state is TableState.STALE for table in state.adj_rib_in.values())
    return stale or any(item.code is PruneHoldCode.FACTS_UNKNOWN for item in withheld)


def unmet(state: State) -> tuple[Unmet, ...]:
    """What is wanted and cannot be had."""
    return (*(state.desired.unmet if state.desired else ()), *state.pending.blocked)


def peers_down(state: State) -> tuple[Address, ...]:
    """Peers whose session is owed and not established."""
    return tuple(peer for peer, table in sorted(state.adj_rib_in.items()) if not table.established)


def begin(node: str, at_s: float) -> State:
    """Nothing is known yet."""
    return State(node, since_s=at_s)


# The step ------------------------------------------------------------------------------------------------------

Step: TypeAlias = tuple[State, tuple[Command, ...]]


def step(state: State, event: Event, at_s: float) -> Step:
    """
    The state after `event` at `at_s` (seconds of a clock that never goes back), and what to do about it.

    Every event is answered in every phase.
    """
    after, commands = _dispatch(state, event, at_s)
    phase = next(phase for phase, holds in _PHASES if holds(after))
    if phase is not after.phase:
        after = replace(after, phase=phase, since_s=at_s)
    return after, commands


def _dispatch(state: State, event: Event, at_s: float) -> Step:
    if isinstance(event, speaker.PeerEvent):
        return _from_peer(state, event, at_s)
    match event:
        case IntentLoaded():
            return _intent_loaded(state, event.intent, at_s)
        case IntentRejected():
            return replace(state, problems=event.problems), ()
        case KernelChanged() | Observed() | KernelLost() | Applied():
            return _from_kernel(state, event, at_s)
        case Probed():
            known = with_replies(state.probe_results, event.answers, state.observed or Dataplane(), at_s)
            return _observe(replace(state, probe_results=known, probing=False, next_probe_s=at_s + PROBE_EVERY_S))
        case Woken():
            return _observe(replace(state, adj_rib_in=_expired(state, at_s)), anyway=True)
        case DrainRequested() | PeerRequested() | RefreshRequested():
            return _operator_request(state, event, at_s)
        case speaker.SpeakerAttached():
            return _attached(state, event, at_s)
        case speaker.SpeakerDetached():
            return _observe(
                replace(state, attached=False, adj_rib_in=adj_rib_in.all_stale(state.adj_rib_in, at_s, RESTART_TIME_S))
            )
        case speaker.SpeakerConfigRejected():
            return replace(state, refused=event.reason), ()
        case _:
            assert_never(event)


def _from_kernel(state: State, event: KernelChanged | Observed | KernelLost | Applied, at_s: float) -> Step:
    match event:
        case KernelChanged():
            return _observe(state)
        case Observed():
            return _observed(state, event.dataplane, at_s)
        case KernelLost():
            lost = replace(state, kernel_error=event.reason, observing=False, applying=frozenset())
            return lost, (WakeAt(at_s + _REOPEN_S),)
        case Applied():
            # A success is no proof: look again.
            older = tuple(failure for failure in state.failures if failure.op not in state.applying)
            return _observe(replace(state, failures=(*older, *event.failures), applying=frozenset()))
        case _:
            assert_never(event)


def _operator_request(state: State, event: DrainRequested | PeerRequested | RefreshRequested, at_s: float) -> Step:
    match event:
        case DrainRequested():
            return _observe(replace(state, draining=event.on))
        case PeerRequested():
            shut = state.shut_down_peers - {event.peer} if event.up else state.shut_down_peers | {event.peer}
            after, commands = _with_sessions(replace(state, shut_down_peers=shut), at_s)
            return _observe(after, *commands)
        case RefreshRequested():
            after, asked = _ask_refresh(state, [event.peer], at_s)
            return _observe(after, *_speak(asked))
        case _:
            assert_never(event)


def _observe(state: State, *commands: Command, anyway: bool = False) -> Step:
    """Ask for an observation unless one is on its way. A lost kernel is asked for when it is time to, or `anyway`."""
    if state.intent is None or state.observing or (state.kernel_error and not anyway):
        return state, commands
    return replace(state, observing=True), (*commands, Observe())


def _intent_loaded(state: State, intent: Intent, at_s: float) -> Step:
    # What trials have shown counts for one intent: others may know of the next one already.
    evidence = state.probe_results if intent == state.intent else NO_RESULTS
    told = replace(state, intent=intent, problems=(), probe_results=evidence)
    after, commands = _with_sessions(told, at_s, first=state.intent is None)
    return _observe(after, *commands)


def _with_sessions(state: State, at_s: float, *, first: bool = False, going: bool = True) -> Step:
    """Owe the sessions that follow from the intent, and for a while those that did before, unless not `going`."""
    if state.intent is None:
        return state, ()
    node = state.intent.node(state.node)
    owed = session_handover.without_peers(speaker_config(state.intent, state.node), state.shut_down_peers)
    before = session_handover.without_peers(state.config, state.shut_down_peers) if going else None
    role = session_handover.former_reflector(
        state.handover, state.policy.cluster_id if state.policy else None, node, at_s
    )
    stays = replace(session_handover.begin(before, owed, state.handover, state.intent, at_s), role=role)
    config = session_handover.merged(owed, stays)
    peers = [session.peer for session in config.sessions] if config else []
    after = replace(
        state,
        config=config,
        handover=stays,
        policy=_policy(state.intent, node, config, stays),
        adj_rib_in=adj_rib_in.expect(state.adj_rib_in, peers, at_s, RESTART_TIME_S),
    )
    if config and (first or config != state.config):
        return replace(after, refused="", speaker_stopped=False), (Configure(config),)
    return after, ()


def _policy(
    intent: Intent, node: Node | None, config: speaker.SpeakerConfig | None, handover: Handover
) -> Policy | None:
    former = handover.role.cluster_id if handover.role else None
    return Policy.of(intent, node, config, former) if node and config else None


def with_policy(state: State) -> State:
    """The state with the policy that follows from the rest of it."""
    node = state.intent.node(state.node) if state.intent else None
    policy = _policy(state.intent, node, state.config, state.handover) if state.intent else None
    return replace(state, policy=policy)


def _end_handover(state: State, at_s: float) -> Step:
    """Sessions that are leaving go once the rest tells all that they told, and a role after its time."""
    state = replace(state, handover=session_handover.with_coverage(state.handover, state.adj_rib_in, at_s))
    if at_s < state.handover.due_s:
        return state, ()
    return _with_sessions(state, at_s, going=at_s < state.handover.sessions_due_s)


def _attached(state: State, event: speaker.SpeakerAttached, at_s: float) -> Step:
    """Sessions may have been up all along: ask for every table again, and say everything again (repeats are free)."""
    tables = adj_rib_in.restart_waits(state.adj_rib_in, at_s, RESTART_TIME_S)
    members = {peer for peer, terms in state.policy.session_policies.items() if terms.member} if state.policy else set()
    known = [peer for peer, _ in event.established if peer in tables]
    for peer, uptime_s in event.established:
        # A member of the cluster always offers graceful restart.
        restart_time_s = RESTART_TIME_S if peer in members else None
        tables = adj_rib_in.session_found_up(tables, peer, at_s, uptime_s=uptime_s, restart_time_s=restart_time_s)
    state = replace(state, attached=True, refused="", adj_rib_in=tables, adj_rib_out=AdjRibOut())
    asked = tuple(speaker.AskRefresh(peer, peer.version) for peer in known)
    state, told = _advertise(state, at_s, anew=known)
    return _observe(state, *_speak((*asked, *told)))


def _advertise(
    state: State, at_s: float, anew: Iterable[Address] | None = None
) -> tuple[State, adj_rib_out.SpeakerCommands]:
    """Bring what peers were told up to date; those in `anew` are told everything, and nobody else anything."""
    if state.policy is None or not state.attached:
        return state, ()
    chosen = state.loc_rib.best.values()
    accepts = encap_community.accepted_by_kernel(state.observed) if state.observed else {}
    offer = ExportInput(state.policy, chosen, link_of(state.desired), draining=state.draining, accepts=accepts)
    if anew is None:
        told, commands = adj_rib_out.update(state.adj_rib_out, offer, state.adj_rib_in, at_s)
    else:
        told, commands = adj_rib_out.full_table(state.adj_rib_out, offer, state.adj_rib_in, anew, at_s)
    return replace(state, adj_rib_out=told), commands


def _speak(commands: adj_rib_out.SpeakerCommands) -> tuple[Command, ...]:
    return (Speak(commands),) if commands else ()


def _ask_refresh(state: State, peers: Iterable[Address], at_s: float) -> tuple[State, adj_rib_out.SpeakerCommands]:
    """Ask peers for their whole tables. One without enhanced refresh (RFC 7313) never says when it is through."""
    tables = state.adj_rib_in
    asked = [peer for peer in peers if peer in tables and tables[peer].established]
    for peer in asked:
        tables = adj_rib_in.refresh_begun(tables, peer, at_s)
    return replace(state, adj_rib_in=tables), tuple(speaker.AskRefresh(peer, peer.version) for peer in asked)


def _from_peer(state: State, event: speaker.PeerEvent, at_s: float) -> Step:
    if event.peer not in state.adj_rib_in:
        return state, ()
    tables, peer = state.adj_rib_in, event.peer
    commands: tuple[Command, ...] = ()
    match event:
        case speaker.SessionOpened():
            tables = adj_rib_in.open_received(tables, event)
        case speaker.SessionUp():
            tables = adj_rib_in.session_up(tables, peer, at_s)
            state, told = _advertise(replace(state, adj_rib_in=tables), at_s, anew=[peer])
            commands = _speak(told)
        case speaker.SessionDown():
            tables = adj_rib_in.session_down(tables, event, at_s)
        case speaker.Update():
            tables = adj_rib_in.updated(tables, event, at_s, state.policy.limit if state.policy else PREFIX_LIMIT)
        case speaker.RefreshBegun():
            tables = adj_rib_in.refresh_begun(tables, peer, at_s)
        case speaker.EndOfRib():
            tables = adj_rib_in.end_of_rib(tables, peer, at_s)
        case speaker.RefreshEnded():
            tables = adj_rib_in.complete(tables, peer, at_s)
        case _:
            assert_never(event)
    return _observe(replace(state, adj_rib_in=tables), *commands)


def _observed(state: State, dataplane: Dataplane, at_s: float) -> Step:
    """Derive everything from an observation, close the difference, and advertise what is installed."""
    again = adj_rib_in.refresh_due(state.adj_rib_in, at_s) if state.attached else ()
    state = replace(state, observed=dataplane, kernel_error="", observing=False, adj_rib_in=_expired(state, at_s))
    state, asked = _ask_refresh(state, again, at_s)
    state, configure = _end_handover(state, at_s)
    state = _with_withdrawals(state)
    node = state.intent.node(state.node) if state.intent else None
    if state.intent is None or node is None:
        return state, _speak(asked)
    distances = NextHopCosts(dataplane)
    selected = select(state.policy, state.adj_rib_in, distances, state.loc_rib) if state.policy else LocRib()
    wanted = derive(state.intent, node, _names(state), selected.best.values(), dataplane, _prune_holds(state))
    wanted = replace(wanted, withdrawn=state.withdrawn)
    switch = next_step(
        wanted, dataplane, state.intent, node, state.probe_results, at_s, _advertised(state, state.intent)
    )
    waiting = {item: state.waiting.get(item, at_s) for item in (*switch.cutovers, *switch.drains)}
    state = replace(state, loc_rib=selected, cutovers=switch.cutovers, drains=switch.drains, waiting=waiting)
    state = _with_plan(state, switch.desired, plan(switch.desired, dataplane), at_s)
    # Told after it is installed: who hears of a route may use it at once.
    state, told = _advertise(state, at_s)
    state, trials = _send_probes(state, switch.probes, at_s)
    state, closing = _close_difference(state, at_s)
    state, silence = _stop_speaker(state)
    return state, (*trials, *closing, *_speak((*asked, *told)), *configure, *silence)


def _advertised(state: State, intent: Intent) -> encap_community.AdvertisedTunnels:
    terms = state.policy.session_policies if state.policy else {}
    internal = {peer for peer, item in terms.items() if item.internal}
    return encap_community.advertised_tunnels(state.adj_rib_in, internal, intent)


def _with_withdrawals(state: State) -> State:
    """With what was taken back since the last observation. While all have spoken there is nothing to remember."""
    gone = adj_rib_in.without_path(state.adj_rib_in, state.withdrawn) | adj_rib_in.withdrawn(
        state.adj_rib_in_before, state.adj_rib_in
    )
    return replace(state, adj_rib_in_before=state.adj_rib_in, withdrawn=gone if _prune_holds(state) else frozenset())


def _with_plan(state: State, desired: Desired, todo: Plan, at_s: float) -> State:
    """With what is wanted now, and what it calls for; a difference that nobody's wish explains is a repair."""
    mended = drift.repairs_in(state.desired, state.pending.ops, todo.ops)
    if mended:
        recent = (at for at in state.repairs if at > at_s - _REPAIRS_KEPT_S)
        state = replace(state, repairs=(*recent, at_s))
    contests = drift.tracked(state.conflicts, mended, desired, at_s)
    called_for = frozenset(todo.ops)
    failures = tuple(failure for failure in state.failures if failure.op in called_for)
    return replace(state, desired=desired, pending=todo, failures=failures, conflicts=contests)


def _send_probes(state: State, trials: tuple[Probe, ...], at_s: float) -> Step:
    if state.probing or not trials or at_s < state.next_probe_s:
        return state, ()
    return replace(state, probing=True), (SendProbes(trials),)


def _stop_speaker(state: State) -> Step:
    """Without BGP the speaker ends, but only once nobody needs what it told: until then others forward by it."""
    if state.config or state.speaker_stopped or state.pending.ops or state.cutovers or state.drains:
        return state, ()
    return replace(state, speaker_stopped=True), (Configure(None),)


def _close_difference(state: State, at_s: float) -> Step:
    """New operations at once; those tried before, which failed or did not take, ever more slowly."""
    if not state.pending.ops:
        quiet = replace(state, tried=frozenset(), retries=0, retry_at_s=0.0)
        return quiet, (WakeAt(_next_wake_s(quiet, at_s)),)
    stuck = state.tried.intersection(state.pending.ops)
    due = at_s >= state.retry_at_s
    resting = drift.backing_off(state.conflicts, state.pending.ops, at_s)
    ops = tuple(op for op in state.pending.ops if (due or op not in stuck) and op not in resting)
    if not ops:
        return replace(state, tried=stuck), (WakeAt(_next_attempt_s(state, stuck, resting, at_s)),)
    retries = state.retries + 1 if due and stuck else state.retries
    pause_s = _BACKOFF_S[min(retries, len(_BACKOFF_S) - 1)]
    retry_at_s = at_s + pause_s if due else state.retry_at_s
    contests = drift.applied(state.conflicts, ops, at_s)
    state = replace(state, tried=stuck.union(ops), retries=retries, retry_at_s=retry_at_s, conflicts=contests)
    return replace(state, applying=frozenset(ops)), (Apply(ops),)


def _next_attempt_s(state: State, stuck: Collection[Op], resting: Iterable[Op], at_s: float) -> float:
    retry_s = state.retry_at_s if stuck else None
    waits_s = (retry_s, drift.next_due_s(state.conflicts, resting), _next_wake_s(state, at_s))
    return min(wait_s for wait_s in waits_s if wait_s is not None and wait_s > at_s)


def _next_wake_s(state: State, at_s: float) -> float:
    waits_s: list[float | None] = [state.handover.due_s]
    if _can_hear(state):
        waits_s += [adj_rib_in.next_expiry_s(state.adj_rib_in), adj_rib_out.next_due_s(state.adj_rib_out)]
    if (state.cutovers or state.drains) and not state.probing:
        waits_s.append(state.next_probe_s)
    return min([at_s + SWEEP_S, *(wait_s for wait_s in waits_s if wait_s is not None)])


def _can_hear(state: State) -> bool:
    """While the speaker is away no peer's time runs: its silence is ours."""
    return state.attached or state.config is None


def _expired(state: State, at_s: float) -> AdjRibIn:
    return adj_rib_in.expired(state.adj_rib_in, at_s) if _can_hear(state) else state.adj_rib_in


def _prune_holds(state: State) -> tuple[PruneHold, ...]:
    if state.config is None:
        return ()
    if not state.attached:
        return (PruneHold(PruneHoldCode.SPEAKER_AWAY, "exabgp"),)
    names = _names(state)
    return tuple(
        PruneHold(PruneHoldCode.PEER_TABLE_INCOMPLETE, names[peer])
        for peer, table in sorted(state.adj_rib_in.items())
        if not table.certain and peer in names
    )


def _names(state: State) -> Mapping[Address, str]:
    return {session.peer: session.name for session in state.config.sessions} if state.config else {}
