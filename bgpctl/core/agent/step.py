"""
One node's agent as a value: `step(state, event, at_s) -> (state, commands)`.

The problem. An agent has four sources that know nothing of each other: the operator's files, BGP peers, the kernel,
and time. What it has to do to the kernel depends on all four at once. A program that acts on each event by itself
("peer down: delete its routes") is right only while no event is lost, repeated or late, and the kernel guarantees none
of that: it removes IPv4 routes without a notification when a link goes down.

The idea is level, not edge. An event changes what is known and requests an observation. An observation, and nothing
else, decides (reconcile.py): all that should be is derived from all that is known, compared with the whole kernel, and
the difference is applied. Whether an operation worked is not believed of the reply but seen in the next observation.
So any order of the same events leads to the same kernel, and a restarted agent is one that has seen nothing yet.

Cases that break a simpler design:

- An observation older than the last Apply would call for the same operations again. Commands are carried out one after
  the other and an Apply is followed by a request of its own, so an observation is at most once under way (`observing`)
  and always newer than what was applied before it.
- A reply to an old question. Probe replies count for the intent under which they were sent (migration.py), verdicts of
  the import policy for the policy that gave them (core/bgp/loc_rib.py), and an event of a peer that has no session any
  more is ignored.
- A speaker that is away. Its sessions may well be up and forwarding goes on, so nothing received is dropped and no
  peer's time runs until it is back; then every table is requested again, and every announcement repeated.
- Ignorance is a type, not an empty table: `Desired.prune_holds` names each source that is incomplete, and while there
  is one nothing is removed but what its own source withdrew (docs/decisions/0005). If every peer is gone the fault is
  likelier ours, and what they announced is used on (docs/decisions/0010).
- A kernel that refuses, or another program that undoes: both would turn the loop into a busy one. What was attempted
  and is still called for waits (attempts.py, backoff.py) and delays nothing else.

The choice of level over edge, and what it costs: docs/decisions/0001.

Refuses to know: processes, pipes, files, netlink, and how time is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from bgpctl.core.agent.backoff import Backoff, Cause
from bgpctl.core.agent.events import (
    Applied,
    Command,
    ConfigurationsCompared,
    DrainRequested,
    Event,
    ForwardingJudged,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelEvent,
    KernelLost,
    MemberEvent,
    MirrorMismatch,
    Observe,
    Observed,
    OperatorEvent,
    PathsJudged,
    PeerRequested,
    Probed,
    RefreshRequested,
    SelfCheckMismatch,
    ServicesJudged,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.proofs import PathVerdict
from bgpctl.core.agent.reconcile import reconcile
from bgpctl.core.agent.sessions import advertise, speak, with_sessions
from bgpctl.core.agent.state import State, with_phase
from bgpctl.core.bgp import speaker
from bgpctl.core.bgp.bfd import BfdChanged
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.replacing import replace

Step: TypeAlias = tuple[State, tuple[Command, ...]]


def step(state: State, event: Event, at_s: float) -> Step:
    """
    The state after `event` at `at_s` (seconds of a clock that never goes back), and the commands that follow.

    Every event is answered in every phase.
    """
    after, commands = _dispatched(state, event, at_s)
    return with_phase(after, at_s), commands


def _dispatched(state: State, event: Event, at_s: float) -> Step:
    if isinstance(event, speaker.PeerEvent):
        return _from_peer(state, event, at_s)
    match event:
        case IntentLoaded() | IntentRejected() | DrainRequested() | PeerRequested() | RefreshRequested():
            return _from_operator(state, event, at_s)
        case KernelChanged() | Observed() | MirrorMismatch() | KernelLost() | Applied():
            return _from_kernel(state, event, at_s)
        case Probed() | PathsJudged() | ConfigurationsCompared() | ForwardingJudged():
            return _from_members(state, event, at_s)
        case (
            speaker.SpeakerAttached()
            | speaker.SpeakerDetached()
            | speaker.SpeakerConfigRejected()
            | speaker.PeerConnecting()
        ):
            return _from_speaker(state, event, at_s)
        case Woken():
            bgp, ends = state.bgp.expired(at_s, state.proofs.is_proven).failures_detected(at_s)
            return _observe(replace(state, bgp=bgp), *speak(ends), anyway=True)
        case ServicesJudged():
            # At once, whatever the kernel is busy with: packets go to an instance that does not answer.
            after, announcements = advertise(
                replace(state, services=state.services.with_verdicts(event.verdicts)), at_s
            )
            return after, speak(announcements)
        case SelfCheckMismatch():
            # The next observation takes nothing over, and its plan is the repair.
            mismatches = state.selfcheck_mismatches + 1
            return _observe(replace(state, memo=Memo(), selfcheck_mismatches=mismatches))
        case _:
            assert_never(event)


def _observe(state: State, *commands: Command, anyway: bool = False) -> Step:
    """Request an observation unless one is under way. A lost kernel is tried again by time alone (`anyway`)."""
    if state.intent.in_force is None or state.kernel.observing or (state.kernel.error and not anyway):
        return state, commands
    return replace(state, kernel=state.kernel.observation_requested()), (*commands, Observe())


# The operator --------------------------------------------------------------------------------------------------


def _from_operator(state: State, event: OperatorEvent, at_s: float) -> Step:
    match event:
        case IntentLoaded():
            return _intent_loaded(state, event.intent, at_s)
        case IntentRejected():
            return replace(state, intent=state.intent.rejected(event.problems)), ()
        case DrainRequested():
            return _observe(replace(state, bgp=state.bgp.with_draining(on=event.on)))
        case PeerRequested():
            bgp = state.bgp.with_peer_shut_down(event.peer, up=event.up)
            after, configure = with_sessions(replace(state, bgp=bgp), at_s)
            return _observe(after, *configure)
        case RefreshRequested():
            bgp, commands = state.bgp.refresh_requested([event.peer], at_s)
            return _observe(replace(state, bgp=bgp), *speak(commands))
        case _:
            assert_never(event)


def _intent_loaded(state: State, intent: Intent, at_s: float) -> Step:
    before = state.intent.in_force
    migration = state.migration if intent == before else state.migration.without_results()
    loaded = replace(state, intent=state.intent.accepted(intent), migration=migration)
    after, configure = with_sessions(loaded, at_s, first=before is None)
    return _observe(after, *configure)


# The kernel ----------------------------------------------------------------------------------------------------


def _from_kernel(state: State, event: KernelEvent, at_s: float) -> Step:
    match event:
        case KernelChanged():
            return _observe(state)
        case Observed():
            return reconcile(state, event.dataplane, at_s)
        case MirrorMismatch():
            return _observe(replace(state, kernel=state.kernel.mismatched()))
        case KernelLost():
            return _kernel_lost(state, event.reason, at_s)
        case Applied():
            # A success is no proof: the observation shows it.
            return _observe(replace(state, attempts=state.attempts.applied(event.failures)))
        case _:
            assert_never(event)


# Members -------------------------------------------------------------------------------------------------------


def _from_members(state: State, event: MemberEvent, at_s: float) -> Step:
    match event:
        case Probed():
            observed = state.kernel.observed or Dataplane()
            return _observe(replace(state, migration=state.migration.probed(event.answers, observed, at_s)))
        case PathsJudged():
            return _judged(state, event.verdicts)
        case ConfigurationsCompared():
            return replace(state, proofs=replace(state.proofs, differences=event.differences)), ()
        case ForwardingJudged():
            return replace(state, proofs=replace(state.proofs, stops=event.stops)), ()
        case _:
            assert_never(event)


def _judged(state: State, verdicts: Sequence[PathVerdict]) -> Step:
    """Routes follow only from which members are unreachable, and, where that is wanted, from the MTUs of paths."""
    after = replace(state, proofs=state.proofs.with_verdicts(verdicts))
    is_same = after.proofs.unreachable is state.proofs.unreachable
    has_sizes = after.proofs.path_mtus is state.proofs.path_mtus or not state.intent.discovers_mtu
    return (after, ()) if is_same and has_sizes else _observe(after)


def _kernel_lost(state: State, reason: str, at_s: float) -> Step:
    after = replace(state, kernel=state.kernel.lost(reason), attempts=state.attempts.interrupted())
    return after, (WakeAt(Backoff(Cause.KERNEL_LOST).after_attempt(at_s).due_s),)


# BGP -----------------------------------------------------------------------------------------------------------


def _from_speaker(
    state: State,
    event: speaker.SpeakerAttached | speaker.SpeakerDetached | speaker.SpeakerConfigRejected | speaker.PeerConnecting,
    at_s: float,
) -> Step:
    match event:
        case speaker.SpeakerAttached():
            return _speaker_attached(state, event.established, at_s)
        case speaker.SpeakerDetached():
            return _observe(replace(state, bgp=state.bgp.speaker_detached(at_s)))
        case speaker.SpeakerConfigRejected():
            return replace(state, bgp=state.bgp.config_rejected(event.reason)), ()
        case speaker.PeerConnecting():
            return with_sessions(replace(state, bgp=state.bgp.peer_connecting(event)), at_s)
        case _:
            assert_never(event)


def _speaker_attached(state: State, established: Sequence[tuple[Address, float]], at_s: float) -> Step:
    """Sessions may have been up all along: request every table, and repeat every announcement (repeats are free)."""
    bgp = state.bgp.speaker_attached(established, state.intent.member_peers, at_s)
    bgp, ends = bgp.failures_detected(at_s)
    peers = [peer for peer, _ in established if peer in bgp.adj_rib_in and bgp.adj_rib_in[peer].established]
    refreshes = tuple(speaker.AskRefresh(peer, peer.version) for peer in peers)
    after, announcements = advertise(replace(state, bgp=bgp), at_s, full_tables_to=peers)
    return _observe(after, *speak((*ends, *refreshes, *announcements)))


def _from_peer(state: State, event: speaker.PeerEvent, at_s: float) -> Step:
    """One event of a peer; none of a peer that has no session any more."""
    if event.peer not in state.bgp.adj_rib_in:
        return state, ()
    after = replace(state, bgp=state.bgp.received(event, state.intent.prefix_limit, at_s))
    if isinstance(event, speaker.Malformed):
        return after, ()
    if isinstance(event, BfdChanged):
        bgp, ends = after.bgp.failures_detected(at_s)
        return _observe(replace(after, bgp=bgp), *speak(ends))
    if not isinstance(event, speaker.SessionUp):
        return _observe(after)
    after, announcements = advertise(after, at_s, full_tables_to=[event.peer])
    return _observe(after, *speak(announcements))
