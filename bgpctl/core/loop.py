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

from bgpctl.core import accepting, bgp, leaving, repairs, rib, telling
from bgpctl.core.cluster import Intent, Problem
from bgpctl.core.effects import Failure, Op
from bgpctl.core.events import (
    Applied,
    Apply,
    Command,
    Configure,
    DrainAsked,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    Observe,
    Observed,
    PeerAsked,
    RefreshAsked,
    Speak,
    Tried,
    Try,
    WakeAt,
    Woken,
)
from bgpctl.core.exports import Offer
from bgpctl.core.fabric import Desired, derive
from bgpctl.core.leaving import Leaving
from bgpctl.core.model import Address, Dataplane, Prefix
from bgpctl.core.nexthops import Distances
from bgpctl.core.plan import Plan, plan
from bgpctl.core.policy import Policy
from bgpctl.core.repairs import Contests
from bgpctl.core.rib import PREFIX_LIMIT, Rib
from bgpctl.core.selection import Selection, select
from bgpctl.core.sessions import RESTART_TIME_S, speaker_config
from bgpctl.core.switch import NO_EVIDENCE, TRY_EVERY_S, Evidence, Trial, Waiting, hold, learned
from bgpctl.core.telling import Told
from bgpctl.core.why import Hold, Missing, Withheld

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
        selected: what was made of the received paths at the last observation.
        told: what each peer has been told.
        draining: whether peers are told that this node is about to go.
        shut: peers whose session the operator wants down.
        leaving: sessions in `config` that the intent does not ask for any more.
        counted: `rib` at the last observation.
        released: prefixes that were taken back while somebody has not spoken.
        observed: the last observation; None before the first.
        kernel_error: why the kernel cannot be seen now; empty when it can.
        desired: derived from `observed` and the rest.
        pending: operations that the last observation still called for.
        failures: the last one of each operation that is still called for.
        applying: operations whose outcome is not known yet.
        tried: operations already tried and still called for; they wait until `retry_at_s`.
        retries: how often in a row such operations were tried again.
        evidence: what trials of new ways have shown.
        flips, drains: members that a change of encapsulation waits for.
        waiting: since when each of these is waited for.
        trying: a trial is on its way; the next one is due at `next_try_s`.
        silenced: the speaker was told that there is no BGP any more.
        repairs: times at which objects had to be put back although nobody had changed what is wanted.
        contests: repairs that had to be repeated, or may have to be.
        since_s: when `phase` last changed.
    """

    node: str
    intent: Intent | None = None
    problems: tuple[Problem, ...] = ()
    config: bgp.SpeakerConfig | None = None
    policy: Policy | None = field(default=None, compare=False)
    attached: bool = False
    refused: str = ""
    rib: Rib = field(default_factory=dict)
    selected: Selection = field(default_factory=Selection)
    told: Told = field(default_factory=Told)
    draining: bool = False
    shut: frozenset[Address] = frozenset()
    leaving: Leaving = field(default_factory=Leaving)
    counted: Rib = field(default_factory=dict)
    released: frozenset[Prefix] = frozenset()
    observed: Dataplane | None = None
    kernel_error: str = ""
    desired: Desired | None = None
    pending: Plan = _NOTHING_TO_DO
    failures: tuple[Failure, ...] = ()
    applying: frozenset[Op] = frozenset()
    looking: bool = False
    tried: frozenset[Op] = frozenset()
    retry_at_s: float = 0.0
    retries: int = 0
    evidence: Evidence = NO_EVIDENCE
    flips: tuple[Waiting, ...] = ()
    drains: tuple[Waiting, ...] = ()
    waiting: Mapping[Waiting, float] = field(default_factory=dict)
    trying: bool = False
    next_try_s: float = 0.0
    silenced: bool = False
    repairs: tuple[float, ...] = ()
    contests: Contests = field(default_factory=dict)
    phase: Phase = Phase.STARTING
    since_s: float = 0.0


_PHASES: Final[tuple[tuple[Phase, Callable[[State], bool]], ...]] = (
    (Phase.DEGRADED, lambda state: bool(state.kernel_error)),
    (Phase.STARTING, lambda state: state.intent is None or state.desired is None),
    (Phase.DEGRADED, lambda state: bool(state.failures or _is_lost(state) or repairs.fought(state.contests))),
    (Phase.LEARNING, lambda state: bool(state.desired and state.desired.withheld)),
    (Phase.CONVERGING, lambda state: bool(state.pending.ops)),
    (Phase.SWITCHING, lambda state: bool(state.flips or state.drains)),
    (Phase.DEGRADED, lambda state: bool(missing(state) or peers_down(state) or state.refused)),
    (Phase.CONVERGED, lambda _: True),
)


def _is_lost(state: State) -> bool:
    """Whether somebody who had spoken is gone, or the link with our address: that is more than not to know yet."""
    withheld = state.desired.withheld if state.desired else ()
    stale = any(table.heard is rib.Heard.STALE for table in state.rib.values())
    return stale or any(item.hold is Hold.FACTS_UNKNOWN for item in withheld)


def missing(state: State) -> tuple[Missing, ...]:
    """What is wanted and cannot be had."""
    return (*(state.desired.missing if state.desired else ()), *state.pending.blocked)


def peers_down(state: State) -> tuple[Address, ...]:
    """Peers whose session is owed and not established."""
    return tuple(peer for peer, table in sorted(state.rib.items()) if not table.established)


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
    after, commands = _take(state, event, at_s)
    phase = next(phase for phase, holds in _PHASES if holds(after))
    if phase is not after.phase:
        after = replace(after, phase=phase, since_s=at_s)
    return after, commands


def _take(state: State, event: Event, at_s: float) -> Step:
    if isinstance(event, bgp.PeerEvent):
        return _from_peer(state, event, at_s)
    match event:
        case IntentLoaded():
            return _intent_loaded(state, event.intent, at_s)
        case IntentRejected():
            return replace(state, problems=event.problems), ()
        case KernelChanged() | Observed() | KernelLost() | Applied():
            return _from_kernel(state, event, at_s)
        case Tried():
            known = learned(state.evidence, event.answers, state.observed or Dataplane(), at_s)
            return _look(replace(state, evidence=known, trying=False, next_try_s=at_s + TRY_EVERY_S))
        case Woken():
            return _look(replace(state, rib=_expired(state, at_s)), anyway=True)
        case DrainAsked() | PeerAsked() | RefreshAsked():
            return _asked(state, event, at_s)
        case bgp.SpeakerAttached():
            return _attached(state, event, at_s)
        case bgp.SpeakerDetached():
            return _look(replace(state, attached=False, rib=rib.unattached(state.rib, at_s, RESTART_TIME_S)))
        case bgp.SpeakerRefused():
            return replace(state, refused=event.reason), ()
        case _:
            assert_never(event)


def _from_kernel(state: State, event: KernelChanged | Observed | KernelLost | Applied, at_s: float) -> Step:
    match event:
        case KernelChanged():
            return _look(state)
        case Observed():
            return _observed(state, event.dataplane, at_s)
        case KernelLost():
            lost = replace(state, kernel_error=event.reason, looking=False, applying=frozenset())
            return lost, (WakeAt(at_s + _REOPEN_S),)
        case Applied():
            # A success is no proof: look again.
            older = tuple(failure for failure in state.failures if failure.op not in state.applying)
            return _look(replace(state, failures=(*older, *event.failures), applying=frozenset()))
        case _:
            assert_never(event)


def _asked(state: State, event: DrainAsked | PeerAsked | RefreshAsked, at_s: float) -> Step:
    match event:
        case DrainAsked():
            return _look(replace(state, draining=event.on))
        case PeerAsked():
            shut = state.shut - {event.peer} if event.up else state.shut | {event.peer}
            after, commands = _owing(replace(state, shut=shut), at_s)
            return _look(after, *commands)
        case RefreshAsked():
            after, asked = _ask_refresh(state, [event.peer], at_s)
            return _look(after, *_speech(asked))
        case _:
            assert_never(event)


def _look(state: State, *commands: Command, anyway: bool = False) -> Step:
    """Ask for an observation unless one is on its way. A lost kernel is asked for when it is time to, or `anyway`."""
    if state.intent is None or state.looking or (state.kernel_error and not anyway):
        return state, commands
    return replace(state, looking=True), (*commands, Observe())


def _intent_loaded(state: State, intent: Intent, at_s: float) -> Step:
    # What trials have shown counts for one intent: others may know of the next one already.
    evidence = state.evidence if intent == state.intent else NO_EVIDENCE
    told = replace(state, intent=intent, problems=(), evidence=evidence)
    after, commands = _owing(told, at_s, first=state.intent is None)
    return _look(after, *commands)


def _owing(state: State, at_s: float, *, first: bool = False, going: bool = True) -> Step:
    """Owe the sessions that follow from the intent, and for a while those that did before, unless not `going`."""
    if state.intent is None:
        return state, ()
    node = state.intent.node(state.node)
    owed = leaving.without(speaker_config(state.intent, state.node), state.shut)
    before = leaving.without(state.config, state.shut) if going else None
    role = leaving.played(state.leaving, state.policy.cluster_id if state.policy else None, node, at_s)
    stays = replace(leaving.begun(before, owed, state.leaving, state.intent, at_s), role=role)
    config = leaving.together(owed, stays)
    peers = [session.peer for session in config.sessions] if config else []
    after = replace(
        state,
        config=config,
        leaving=stays,
        policy=Policy.of(state.intent, node, config, role.cluster_id if role else None) if node and config else None,
        rib=rib.expect(state.rib, peers, at_s, RESTART_TIME_S),
    )
    if config and (first or config != state.config):
        return replace(after, refused="", silenced=False), (Configure(config),)
    return after, ()


def _let_go(state: State, at_s: float) -> Step:
    """Sessions that are leaving go once the rest tells all that they told, and a role after its time."""
    state = replace(state, leaving=leaving.watched(state.leaving, state.rib, at_s))
    if at_s < state.leaving.due_s:
        return state, ()
    return _owing(state, at_s, going=at_s < state.leaving.sessions_due_s)


def _attached(state: State, event: bgp.SpeakerAttached, at_s: float) -> Step:
    """Sessions may have been up all along: ask for every table again, and say everything again (repeats are free)."""
    tables = rib.waiting_from(state.rib, at_s, RESTART_TIME_S)
    members = {peer for peer, terms in state.policy.terms.items() if terms.member} if state.policy else set()
    known = [peer for peer, _ in event.established if peer in tables]
    for peer, uptime_s in event.established:
        # A member of the cluster always offers graceful restart.
        restart_time_s = RESTART_TIME_S if peer in members else None
        tables = rib.found_up(tables, peer, at_s, uptime_s=uptime_s, restart_time_s=restart_time_s)
    state = replace(state, attached=True, refused="", rib=tables, told=Told())
    asked = tuple(bgp.AskRefresh(peer, peer.version) for peer in known)
    state, told = _tell(state, at_s, anew=known)
    return _look(state, *_speech((*asked, *told)))


def _tell(state: State, at_s: float, anew: Iterable[Address] | None = None) -> tuple[State, telling.Commands]:
    """Bring what peers were told up to date; those in `anew` are told everything, and nobody else anything."""
    if state.policy is None or not state.attached:
        return state, ()
    chosen = state.selected.chosen.values()
    accepts = accepting.received_now(state.observed) if state.observed else {}
    link_of = telling.link_of(state.desired)
    offer = Offer(state.policy, chosen, link_of, draining=state.draining, accepts=accepts)
    if anew is None:
        told, commands = telling.difference(state.told, offer, state.rib, at_s)
    else:
        told, commands = telling.everything(state.told, offer, state.rib, anew, at_s)
    return replace(state, told=told), commands


def _speech(commands: telling.Commands) -> tuple[Command, ...]:
    return (Speak(commands),) if commands else ()


def _ask_refresh(state: State, peers: Iterable[Address], at_s: float) -> tuple[State, telling.Commands]:
    """Ask peers for their whole tables. One without enhanced refresh (RFC 7313) never says when it is through."""
    tables = state.rib
    asked = [peer for peer in peers if peer in tables and tables[peer].established]
    for peer in asked:
        tables = rib.refresh_begun(tables, peer, at_s)
    return replace(state, rib=tables), tuple(bgp.AskRefresh(peer, peer.version) for peer in asked)


def _from_peer(state: State, event: bgp.PeerEvent, at_s: float) -> Step:
    if event.peer not in state.rib:
        return state, ()
    tables, peer = state.rib, event.peer
    commands: tuple[Command, ...] = ()
    match event:
        case bgp.SessionOpened():
            tables = rib.opened(tables, event)
        case bgp.SessionUp():
            tables = rib.session_up(tables, peer, at_s)
            state, told = _tell(replace(state, rib=tables), at_s, anew=[peer])
            commands = _speech(told)
        case bgp.SessionDown():
            tables = rib.session_down(tables, event, at_s)
        case bgp.Update():
            tables = rib.updated(tables, event, at_s, state.policy.limit if state.policy else PREFIX_LIMIT)
        case bgp.RefreshBegun():
            tables = rib.refresh_begun(tables, peer, at_s)
        case bgp.EndOfRib():
            tables = rib.end_of_rib(tables, peer, at_s)
        case bgp.RefreshEnded():
            tables = rib.complete(tables, peer, at_s)
        case _:
            assert_never(event)
    return _look(replace(state, rib=tables), *commands)


def _observed(state: State, dataplane: Dataplane, at_s: float) -> Step:
    """The one place where we decide: derive everything, close the difference, and tell it."""
    again = rib.to_ask_again(state.rib, at_s) if state.attached else ()
    state = replace(state, observed=dataplane, kernel_error="", looking=False, rib=_expired(state, at_s))
    state, asked = _ask_refresh(state, again, at_s)
    state, configure = _let_go(state, at_s)
    state = _counted(state)
    node = state.intent.node(state.node) if state.intent else None
    if state.intent is None or node is None:
        return state, _speech(asked)
    distances = Distances(dataplane)
    selected = select(state.policy, state.rib, distances, state.selected) if state.policy else Selection()
    wanted = derive(state.intent, node, _names(state), selected.chosen.values(), dataplane, _withheld(state))
    wanted = replace(wanted, released=state.released)
    switch = hold(wanted, dataplane, state.intent, node, state.evidence, at_s, _said(state))
    waiting = {item: state.waiting.get(item, at_s) for item in (*switch.flips, *switch.drains)}
    state = replace(state, selected=selected, flips=switch.flips, drains=switch.drains, waiting=waiting)
    state = _judged(state, switch.desired, plan(switch.desired, dataplane), at_s)
    # Told after it is installed: who hears of a route may use it at once.
    state, told = _tell(state, at_s)
    state, trials = _try(state, switch.trials, at_s)
    state, closing = _close_difference(state, at_s)
    state, silence = _silence(state)
    return state, (*trials, *closing, *_speech((*asked, *told)), *configure, *silence)


def _said(state: State) -> accepting.Said:
    terms = state.policy.terms if state.policy else {}
    return accepting.said_in(state.rib, {peer for peer, item in terms.items() if item.internal})


def _counted(state: State) -> State:
    """With what was taken back since the last observation. While all have spoken there is nothing to remember."""
    gone = rib.untold(state.rib, state.released) | rib.taken_back(state.counted, state.rib)
    return replace(state, counted=state.rib, released=gone if _withheld(state) else frozenset())


def _judged(state: State, desired: Desired, todo: Plan, at_s: float) -> State:
    """With what is wanted now, and what it calls for; a difference that nobody's wish explains is a repair."""
    mended = repairs.found(state.desired, state.pending.ops, todo.ops)
    if mended:
        recent = (at for at in state.repairs if at > at_s - _REPAIRS_KEPT_S)
        state = replace(state, repairs=(*recent, at_s))
    contests = repairs.remembered(state.contests, mended, desired, at_s)
    called_for = frozenset(todo.ops)
    failures = tuple(failure for failure in state.failures if failure.op in called_for)
    return replace(state, desired=desired, pending=todo, failures=failures, contests=contests)


def _try(state: State, trials: tuple[Trial, ...], at_s: float) -> Step:
    if state.trying or not trials or at_s < state.next_try_s:
        return state, ()
    return replace(state, trying=True), (Try(trials),)


def _silence(state: State) -> Step:
    """Without BGP the speaker ends, but only once nobody needs what it told: until then others forward by it."""
    if state.config or state.silenced or state.pending.ops or state.flips or state.drains:
        return state, ()
    return replace(state, silenced=True), (Configure(None),)


def _close_difference(state: State, at_s: float) -> Step:
    """New operations at once; those tried before, which failed or did not take, ever more slowly."""
    if not state.pending.ops:
        quiet = replace(state, tried=frozenset(), retries=0, retry_at_s=0.0)
        return quiet, (WakeAt(_next_wake_s(quiet, at_s)),)
    stuck = state.tried.intersection(state.pending.ops)
    due = at_s >= state.retry_at_s
    resting = repairs.resting(state.contests, state.pending.ops, at_s)
    ops = tuple(op for op in state.pending.ops if (due or op not in stuck) and op not in resting)
    if not ops:
        return replace(state, tried=stuck), (WakeAt(_next_attempt_s(state, stuck, resting, at_s)),)
    retries = state.retries + 1 if due and stuck else state.retries
    pause_s = _BACKOFF_S[min(retries, len(_BACKOFF_S) - 1)]
    retry_at_s = at_s + pause_s if due else state.retry_at_s
    contests = repairs.repeated(state.contests, ops, at_s)
    state = replace(state, tried=stuck.union(ops), retries=retries, retry_at_s=retry_at_s, contests=contests)
    return replace(state, applying=frozenset(ops)), (Apply(ops),)


def _next_attempt_s(state: State, stuck: Collection[Op], resting: Iterable[Op], at_s: float) -> float:
    retry_s = state.retry_at_s if stuck else None
    waits_s = (retry_s, repairs.next_due_s(state.contests, resting), _next_wake_s(state, at_s))
    return min(wait_s for wait_s in waits_s if wait_s is not None and wait_s > at_s)


def _next_wake_s(state: State, at_s: float) -> float:
    waits_s: list[float | None] = [state.leaving.due_s]
    if _can_hear(state):
        waits_s += [rib.next_expiry_s(state.rib), telling.next_due_s(state.told)]
    if (state.flips or state.drains) and not state.trying:
        waits_s.append(state.next_try_s)
    return min([at_s + SWEEP_S, *(wait_s for wait_s in waits_s if wait_s is not None)])


def _can_hear(state: State) -> bool:
    """While the speaker is away no peer's time runs: its silence is ours."""
    return state.attached or state.config is None


def _expired(state: State, at_s: float) -> Rib:
    return rib.expired(state.rib, at_s) if _can_hear(state) else state.rib


def _withheld(state: State) -> tuple[Withheld, ...]:
    if state.config is None:
        return ()
    if not state.attached:
        return (Withheld(Hold.SPEAKER_AWAY, "exabgp"),)
    names = _names(state)
    return tuple(
        Withheld(Hold.PEER_UNHEARD, names[peer])
        for peer, table in sorted(state.rib.items())
        if not table.certain and peer in names
    )


def _names(state: State) -> Mapping[Address, str]:
    return {session.peer: session.name for session in state.config.sessions} if state.config else {}
