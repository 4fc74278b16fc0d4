"""
One node's agent as a value: `step(state, event, at_s) -> (state, commands)`. No I/O, no clock.

Level, not edge: events change what we know and say "look again"; what to do is derived anew from a whole observation.

Refuses to know: processes, pipes, files, netlink.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, assert_never

from bgpctl.core import bgp, policy, rib, tunnels
from bgpctl.core.cluster import Intent, Problem
from bgpctl.core.effects import Failure, Op
from bgpctl.core.fabric import Desired, derive
from bgpctl.core.model import Address, Dataplane, Prefix
from bgpctl.core.plan import Plan, plan
from bgpctl.core.rib import Candidate, Choice, Rib
from bgpctl.core.sessions import RESTART_TIME_S, speaker_config
from bgpctl.core.why import Hold, Missing, Rejected, Withheld

SWEEP_S: Final = 60.0
"""Look at the kernel this often even if nobody says that it changed."""
_BACKOFF_S: Final = (0.1, 0.5, 2.0, 10.0, 30.0)
_REPAIRS_KEPT_S: Final = 3600.0


# Events and commands -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IntentLoaded:
    """The operator's files are good."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentRejected:
    """The operator's files are bad; the last good intent stays in force."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class KernelChanged:
    """Somebody else changed the dataplane, or events were lost."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A whole observation of the dataplane."""

    dataplane: Dataplane


@dataclass(frozen=True, slots=True)
class Applied:
    """The operations were tried; these failed."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Woken:
    """The time asked for by WakeAt has come."""


Event: TypeAlias = IntentLoaded | IntentRejected | KernelChanged | Observed | Applied | Woken | bgp.SpeakerEvent


@dataclass(frozen=True, slots=True)
class Observe:
    """Look at the kernel once all events at hand are taken in; Observed answers."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Carry the operations out in order; Applied answers."""

    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Configure:
    """Run the BGP speaker with this configuration; None: no BGP speaker at all."""

    config: bgp.SpeakerConfig | None


@dataclass(frozen=True, slots=True)
class Speak:
    """Hand these to the BGP speaker in order."""

    commands: tuple[bgp.SpeakerCommand, ...]


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send Woken at this time; a later WakeAt replaces an earlier one."""

    at_s: float


Command: TypeAlias = Observe | Apply | Configure | Speak | WakeAt


_NOTHING_TO_DO: Final = Plan(())


# State ---------------------------------------------------------------------------------------------------------


class Phase(enum.Enum):
    """What the agent is busy with; the first that is true counts."""

    STARTING = "starting"
    LEARNING = "learning"
    CONVERGING = "converging"
    DEGRADED = "degraded"
    CONVERGED = "converged"


@dataclass(frozen=True, slots=True)
class State:
    """
    Everything one agent knows.

    Attributes:
        problems: of the last edit, if it was rejected.
        attached: whether the BGP speaker can hear and be heard.
        observed: the last observation; None before the first.
        desired: derived from `observed` and the rest.
        pending: operations that the last observation still called for.
        failures: the last one of each operation that is still called for.
        applying: operations whose outcome is not known yet.
        tried: operations already tried and still called for; they wait until `retry_at_s`.
        retries: how often in a row such operations were tried again.
        repairs: times at which objects had to be put back although nobody had changed what is wanted.
        since_s: when `phase` last changed.
    """

    node: str
    intent: Intent | None = None
    problems: tuple[Problem, ...] = ()
    config: bgp.SpeakerConfig | None = None
    attached: bool = False
    rib: Rib = field(default_factory=dict)
    observed: Dataplane | None = None
    desired: Desired | None = None
    pending: Plan = _NOTHING_TO_DO
    failures: tuple[Failure, ...] = ()
    applying: frozenset[Op] = frozenset()
    looking: bool = False
    tried: frozenset[Op] = frozenset()
    retry_at_s: float = 0.0
    retries: int = 0
    repairs: tuple[float, ...] = ()
    phase: Phase = Phase.STARTING
    since_s: float = 0.0


_PHASES: Final[tuple[tuple[Phase, Callable[[State], bool]], ...]] = (
    (Phase.STARTING, lambda state: state.intent is None or state.desired is None),
    (Phase.LEARNING, lambda state: bool(state.desired and state.desired.withheld)),
    (Phase.CONVERGING, lambda state: bool(state.pending.ops) and not state.failures),
    (Phase.DEGRADED, lambda state: bool(state.failures or missing(state) or peers_down(state))),
    (Phase.CONVERGED, lambda _: True),
)


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
    match event:
        case IntentLoaded():
            return _intent_loaded(state, event.intent, at_s)
        case IntentRejected():
            return replace(state, problems=event.problems), ()
        case KernelChanged():
            return _look(state)
        case Observed():
            return _observed(state, event.dataplane, at_s)
        case Applied():
            # A success is no proof: look again.
            older = tuple(failure for failure in state.failures if failure.op not in state.applying)
            return _look(replace(state, failures=(*older, *event.failures), applying=frozenset()))
        case Woken():
            return _look(replace(state, rib=_expired(state, at_s)))
        case bgp.SpeakerAttached():
            return _attached(state, event, at_s)
        case bgp.SpeakerDetached():
            return _look(replace(state, attached=False, rib=rib.unattached(state.rib, at_s, RESTART_TIME_S)))
        case _:
            return _from_peer(state, event, at_s)


def _look(state: State, *commands: Command) -> Step:
    """Ask for an observation unless one is on its way."""
    if state.intent is None or state.looking:
        return state, commands
    return replace(state, looking=True), (*commands, Observe())


def _intent_loaded(state: State, intent: Intent, at_s: float) -> Step:
    config = speaker_config(intent, state.node)
    peers = [session.peer for session in config.sessions] if config else []
    before = own_blocks(state)
    after = replace(
        state, intent=intent, problems=(), config=config, rib=rib.expect(state.rib, peers, at_s, RESTART_TIME_S)
    )
    commands: list[Command] = []
    if state.intent is None or config != state.config:
        commands.append(Configure(config))
    withdrawn = sorted(before - own_blocks(after))
    announced = sorted(own_blocks(after) - before)
    changes: tuple[bgp.SpeakerCommand, ...] = (*map(bgp.Withdraw, withdrawn), *map(bgp.Announce, announced))
    if state.attached and changes:
        commands.append(Speak(changes))
    return _look(after, *commands)


def own_blocks(state: State) -> frozenset[Prefix]:
    """What this node announces: its own IPv4 blocks and the addresses it borrowed, in pools that may be exported."""
    intent = state.intent
    node = intent.node(state.node) if intent else None
    if intent is None or node is None:
        return frozenset()
    own = [prefix for prefix in (*node.blocks, *tunnels.borrowed(intent, node)) if prefix.version == 4]
    pools = {prefix: intent.pool_of(prefix) for prefix in own}
    return frozenset(prefix for prefix, pool in pools.items() if pool and not pool.disable_bgp_export)


def _attached(state: State, event: bgp.SpeakerAttached, at_s: float) -> Step:
    """Sessions may have been up all along: ask for every table again, and say everything again (repeats are free)."""
    tables = rib.waiting_from(state.rib, at_s, RESTART_TIME_S)
    members = {node.address.address for node in state.intent.nodes} if state.intent else set()
    commands: list[bgp.SpeakerCommand] = []
    for peer, uptime_s in event.established:
        if peer in tables:
            # Its OPEN was before our time; a member of the cluster always offers graceful restart.
            if tables[peer].restart_time_s is None and peer in members:
                tables = rib.opened(tables, peer, RESTART_TIME_S, preserved=True)
            tables = rib.session_up(tables, peer, at_s, uptime_s=uptime_s)
            commands += [bgp.AskRefresh(peer, 4), *_whole_table(state, peer)]
    return _look(replace(state, attached=True, rib=tables), *([Speak(tuple(commands))] if commands else []))


def _whole_table(state: State, peer: Address) -> list[bgp.SpeakerCommand]:
    """All we announce, then End-of-RIB: not before, or a peer that kept our stale routes would drop them."""
    return [*(bgp.Announce(block, peer) for block in sorted(own_blocks(state))), bgp.SendEndOfRib(peer, 4)]


def _from_peer(
    state: State,
    event: bgp.SessionOpened
    | bgp.SessionUp
    | bgp.SessionDown
    | bgp.Update
    | bgp.EndOfRib
    | bgp.RefreshBegun
    | bgp.RefreshEnded,
    at_s: float,
) -> Step:
    if event.peer not in state.rib:
        return state, ()
    tables, peer = state.rib, event.peer
    commands: tuple[Command, ...] = ()
    match event:
        case bgp.SessionOpened():
            tables = rib.opened(tables, peer, event.restart_time_s, preserved=event.forwarding_preserved)
        case bgp.SessionUp():
            tables = rib.session_up(tables, peer, at_s)
            commands = (Speak(tuple(_whole_table(state, peer))),)
        case bgp.SessionDown():
            tables = rib.session_down(tables, peer, at_s, reason=event.reason, notified=event.notified)
        case bgp.Update():
            tables = rib.updated(tables, event, at_s)
        case bgp.RefreshBegun():
            tables = rib.refresh_begun(tables, peer, at_s)
        case bgp.EndOfRib() | bgp.RefreshEnded():
            tables = rib.complete(tables, peer, at_s)
        case _:
            assert_never(event)
    return _look(replace(state, rib=tables), *commands)


def _observed(state: State, dataplane: Dataplane, at_s: float) -> Step:
    """The one place where we decide: derive everything, and close the difference."""
    tables = _expired(state, at_s)
    state = replace(state, observed=dataplane, looking=False, rib=tables)
    node = state.intent.node(state.node) if state.intent else None
    if state.intent is None or node is None:
        return state, ()
    chosen, _ = selection(state)
    desired = derive(state.intent, node, _names(state), chosen.values(), dataplane, _withheld(state))
    todo = plan(desired, dataplane)
    drifted = bool(todo.ops) and not state.pending.ops and state.desired is not None
    if drifted and state.desired and state.desired.dataplane == desired.dataplane:
        recent = (at for at in state.repairs if at > at_s - _REPAIRS_KEPT_S)
        state = replace(state, repairs=(*recent, at_s))
    called_for = frozenset(todo.ops)
    failures = tuple(failure for failure in state.failures if failure.op in called_for)
    state = replace(state, desired=desired, pending=todo, failures=failures)
    if todo.ops:
        return _close_difference(state, at_s)
    quiet = replace(state, tried=frozenset(), retries=0, retry_at_s=0.0)
    return quiet, (WakeAt(_next_wake_s(quiet, at_s)),)


def _close_difference(state: State, at_s: float) -> Step:
    """New operations at once; those tried before, which failed or did not take, ever more slowly."""
    stuck = state.tried.intersection(state.pending.ops)
    due = at_s >= state.retry_at_s
    ops = tuple(op for op in state.pending.ops if due or op not in stuck)
    if not ops:
        return replace(state, tried=stuck), (WakeAt(min(state.retry_at_s, _next_wake_s(state, at_s))),)
    retries = state.retries + 1 if due and stuck else state.retries
    pause_s = _BACKOFF_S[min(retries, len(_BACKOFF_S) - 1)]
    retry_at_s = at_s + pause_s if due else state.retry_at_s
    state = replace(state, tried=stuck.union(ops), retries=retries, retry_at_s=retry_at_s)
    return replace(state, applying=frozenset(ops)), (Apply(ops),)


def _next_wake_s(state: State, at_s: float) -> float:
    expiry_s = rib.next_expiry_s(state.rib) if _can_hear(state) else None
    return at_s + SWEEP_S if expiry_s is None else min(at_s + SWEEP_S, expiry_s)


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


# What was received ---------------------------------------------------------------------------------------------


def selection(state: State) -> tuple[Mapping[Prefix, Choice], tuple[Rejected, ...]]:
    """The best path of each prefix that policy lets in, and the paths it does not, with the rule."""
    node = state.intent.node(state.node) if state.intent else None
    if state.intent is None or node is None or state.config is None:
        return {}, ()
    candidates: dict[Prefix, list[Candidate]] = {}
    rejected: list[Rejected] = []
    for session in state.config.sessions:
        table = state.rib.get(session.peer)
        internal = session.peer_asn == session.local_asn
        for prefix, received in table.paths.items() if table else ():
            verdict = policy.verdict(state.intent, node, session, received.path)
            if verdict:
                rejected.append(Rejected(prefix, session.peer, verdict.value))
            else:
                candidate = Candidate(session.peer, session.peer_asn, internal, received)
                candidates.setdefault(prefix, []).append(candidate)
    return {prefix: rib.choose(paths) for prefix, paths in candidates.items()}, tuple(rejected)
