"""
The agent's loop: a queue of events in, commands out to the ports, one state after the other.

Refuses to know: the meaning of an event (core/agent/step.py), the implementation of a port (ports.py).
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from bgpctl.agent import bgp_words, words
from bgpctl.agent.checks import Checks
from bgpctl.agent.journal import Entry, Journal
from bgpctl.agent.observe_throttle import ObserveThrottle
from bgpctl.agent.prover import Prover
from bgpctl.agent.recheck_throttle import RecheckThrottle
from bgpctl.agent.selfcheck import SelfCheck
from bgpctl.agent.service_memory import ServiceMemory
from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Configure,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    MirrorMismatch,
    Observe,
    Observed,
    Probed,
    SelfCheckMismatch,
    SendProbes,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.selfcheck import Decision
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp import speaker
from bgpctl.core.cluster.problems import Place, Problem, Severity
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.services.health import Health
from bgpctl.ports import Checker, Clock, Kernel, Loaded, Prober, Speaker, Store, Unavailable

log = logging.getLogger("bgpctl.agent")

_NOT_NOW: Final = (Unavailable, OSError, MemoryError)
"""A kernel that cannot be reached now, or nothing left to reach it with: EMFILE, ENFILE, ENOMEM, ENOSPC."""
_RESYNC_PAUSE: Final = 500
"""Of one CPU, 0.2 %, however large the kernel's tables are."""
_PROOF_WAITS_S: Final = 0.02
"""
Before the observation that shows whether operations worked. The same path from another reflector, or the next one of
many, mostly comes in that time, and both need one observation only.
"""


_REPAIR_WAITS_S: Final = 0.05
"""For the rest of a burst of events; the step in work comes on top."""


@dataclass(frozen=True, slots=True)
class Ports:
    """
    The ports of the loop. The kernel is opened by the runner, and again whenever its socket is gone. `prove_every_s`:
    each path to a member is probed at least so often; None: not at all. Without a `checker` no service is checked.
    """

    open_kernel: Callable[[], Kernel]
    speaker: Speaker
    store: Store
    clock: Clock
    prober: Prober
    prove_every_s: float | None = None
    checker: Checker | None = None


class _Stop:
    """Ends the loop, in its turn."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """The configuration, read once more."""

    generation: int
    event: Event


class Runner:
    """
    One node's agent. `state` may be read from any thread: it is replaced, never edited.

    Args:
        beat: called by the loop again and again while it is alive, at least every `beat_every_s`.
        memory: keeps the verdicts on services for the next agent.

    Attributes:
        beat_s: when the loop was last seen alive, by the clock.
        generation: how often the configuration was read; `settled`: the one of these with which the kernel was last
            compared. Both are to be read before `state`, which then is at least as new.
    """

    def __init__(
        self,
        node: str,
        ports: Ports,
        beat: Callable[[State], None] = lambda _: None,
        beat_every_s: float = 5.0,
        memory: ServiceMemory | None = None,
    ) -> None:
        self.beat_s = ports.clock.now_s()
        self._beat = beat
        self._beat_every_s = beat_every_s
        every_s = ports.prove_every_s
        self._prover = Prover(ports.prober, ports.clock, self.post, every_s) if every_s else None
        self._memory = memory
        verdicts = memory.recall() if memory else ()
        known = {verdict.name: verdict for verdict in verdicts}
        self._checks = Checks(ports.checker, ports.clock, self.post, known) if ports.checker else None
        self.state: State = begin(node, ports.clock.now_s(), proving=self._prover is not None, verdicts=verdicts)
        self.generation = 0
        self.settled = 0
        self._loaded_generation = 0
        self._edits = threading.Lock()
        self._ports = ports
        self._kernel: Kernel | None = None
        self._queue: queue.SimpleQueue[Event | _Edit | _Stop] = queue.SimpleQueue()
        self.journal = Journal(self.state)
        self._throttle = ObserveThrottle()
        self._resync_throttle = RecheckThrottle(ports.clock.now_s(), _RESYNC_PAUSE)
        self._selfcheck = SelfCheck(ports.clock, self.post)
        self._applied: deque[Event] = deque()  # before the queue: until then nothing more is applied
        self._observe_next = False
        self._observe_after_s = 0.0
        self._observation_began_s = 0.0
        self._observed_s = 0.0  # when the last one was there
        self._change_queued = False  # KernelChanged is in the queue, or was and has to wait
        self._changed_s = 0.0  # when it was put there
        self._change_waits = False
        self._by_another = False  # the next observation is due to a change by another program
        self._wake_at_s: float | None = None

    def post(self, event: Event) -> None:
        """Hand in an event, from any thread."""
        self._queue.put(event)

    def edited(self, loaded: Loaded) -> int:
        """Hand in the configuration as it was just read, from any thread. Its generation."""
        with self._edits:
            self.generation += 1
            self._queue.put(_Edit(self.generation, self._read(loaded)))
            return self.generation

    def _noticed(self, loaded: Loaded) -> None:
        self.edited(loaded)

    @property
    def waiting(self) -> int:
        """The number of events that wait."""
        return self._queue.qsize()

    def health(self) -> Mapping[str, Health]:
        """How the checks of this node's services went, by name; from any thread."""
        return self._checks.health() if self._checks else {}

    def stop(self) -> None:
        """Make `run` return once the event in work is done; safe in a signal handler."""
        self._queue.put(_Stop())

    def run(self) -> None:
        """Serve until stopped. The kernel and the BGP speaker keep what they have."""
        ports = self._ports
        ports.speaker.start(self.post)
        self.edited(ports.store.load())
        ports.store.watch(self._noticed)
        try:
            while not isinstance(event := self._next(), _Stop):
                if isinstance(event, _Edit):
                    self._take(event)
                else:
                    self._advance(event)
        finally:
            if self._prover:
                self._prover.stop()
            if self._checks:
                self._checks.stop()
            ports.store.close()
            ports.speaker.close()
            if self._kernel:
                self._kernel.close()

    def _read(self, loaded: Loaded) -> Event:
        if isinstance(loaded, tuple):
            return IntentRejected(tuple(problem for problem in loaded if problem.severity is Severity.ERROR))
        if loaded.node(self.state.node) is None:
            names = ", ".join(node.name for node in loaded.nodes) or "none"
            message = f"this agent's node {self.state.node} is not among the nodes ({names})"
            # A node that an edit left as it was has the line of before; its file is the same.
            file = next((node.place.file for node in loaded.nodes if node.place), "cluster file")
            return IntentRejected((Problem(Place(file, 1, 1), "nodes", message, "agent-node-missing"),))
        return IntentLoaded(loaded)

    def _take(self, edit: _Edit) -> None:
        """One that is rejected calls for no comparison with the kernel, if the one before it has had its own."""
        was_settled = 0 < self.settled == self._loaded_generation
        self._loaded_generation = edit.generation
        self._advance(edit.event)
        if was_settled and isinstance(edit.event, IntentRejected):
            self.settled = edit.generation

    def _next(self) -> Event | _Edit | _Stop:
        """
        The next event; an observation only when no event waits, so that a whole burst comes before a decision. A change
        of the kernel waits for a part of a burst only: one that never ends would leave the damage as it is.
        """
        while True:
            self._live()
            if self._applied:
                return self._applied.popleft()
            if self._is_overdue():
                return self._observe() if self._observe_next else KernelChanged()
            event = self._at_hand() or (self._observe() if self._observe_next else self._wait())
            if isinstance(event, KernelChanged) and self._throttle.wait_s(self._now_s()):
                self._change_waits = True
            elif event:
                return event

    def _at_hand(self) -> Event | _Edit | _Stop | None:
        """An event of the queue; where the next observation can wait, so long."""
        try:
            if self._observe_next and self._observe_after_s:
                return self._queue.get(timeout=self._observe_after_s)
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def _is_overdue(self) -> bool:
        now_s = self._now_s()
        # Since the last observation too: where repairs take long, other events have their time between two.
        since_s = max(self._changed_s, self._observed_s)
        is_late = self._change_queued and now_s - since_s >= _REPAIR_WAITS_S
        # Without a cluster file or a kernel no step asks for an observation: the change has its turn in the queue.
        can_be_repaired = bool(self.state.intent.in_force) and not self.state.kernel.error
        return is_late and can_be_repaired and not self._throttle.wait_s(now_s)

    def _live(self) -> None:
        self.beat_s = self._now_s()
        self._beat(self.state)

    def _wait(self) -> Event | _Edit | _Stop | None:
        """The next event; None if none came before the next beat is due."""
        self._selfcheck.spare_moment()
        now_s = self._now_s()
        waits_s = [self._beat_every_s]
        waits_s += [] if self._wake_at_s is None else [self._wake_at_s - now_s]
        waits_s += [self._throttle.wait_s(now_s)] if self._change_waits else []
        try:
            return self._queue.get(timeout=max(0.0, min(waits_s)))
        except queue.Empty:
            return self._awaited()

    def _awaited(self) -> Event | None:
        now_s = self._now_s()
        if self._change_waits and not self._throttle.wait_s(now_s):
            self._change_waits = False
            return KernelChanged()
        if self._wake_at_s is not None and now_s >= self._wake_at_s:
            self._wake_at_s = None
            return Woken()
        return None

    def _now_s(self) -> float:
        return self._ports.clock.now_s()

    def _observe(self) -> Event:
        """An observation; before it, if it is time for a dump of everything, the difference that this found."""
        self._change_waits = self._change_queued = False
        try:
            kernel = self._open_kernel()
            if self._resync_throttle.is_due(self._now_s()) and (mismatch := self._resync(kernel)):
                return MirrorMismatch(mismatch)
            self._observe_next = False
            self._observation_began_s = self._now_s()
            observed = Observed(kernel.observe())
            self._observed_s = self._now_s()
        except _NOT_NOW as error:
            self._observe_next = False
            return self._lost_kernel(error)
        return observed

    def _resync(self, kernel: Kernel) -> Mismatch | None:
        began_s = self._now_s()
        mismatch = kernel.resync()
        self._resync_throttle.rechecked(ended_s := self._now_s(), ended_s - began_s)
        return mismatch

    def _kernel_changed(self) -> None:
        """Called by the kernel's thread: one event until the next observation, however many changes there are."""
        if not self._change_queued:
            self._changed_s = self._now_s()
            self._change_queued = True
            self.post(KernelChanged())

    def _open_kernel(self) -> Kernel:
        if self._kernel is None:
            self._kernel = self._ports.open_kernel()
            self._resync_throttle = RecheckThrottle(self._now_s(), _RESYNC_PAUSE)
            self._kernel.watch(self._kernel_changed)
        return self._kernel

    def _lost_kernel(self, error: Exception) -> KernelLost:
        """Close the kernel; the next observation opens it again."""
        if self._kernel:
            self._kernel.close()
        self._kernel = None
        return KernelLost(str(error) or type(error).__name__)

    def _advance(self, event: Event) -> None:
        before = self.state
        self._by_another = self._by_another or isinstance(event, KernelChanged)
        if not isinstance(event, KernelChanged):  # of our own operations, most likely
            self._observe_after_s = _PROOF_WAITS_S if isinstance(event, Applied) and not event.failures else 0.0
        at_s = self._now_s()
        self.state, commands = step(before, event, at_s)
        self.journal.write(before, Entry(at_s, event, commands))
        _report(before, self.state, event)
        self._follow(before)
        for command in commands:
            self._do(command)
        if isinstance(event, Observed):
            self.settled = self._loaded_generation
            self._selfcheck.decided(Decision(before, event, at_s, self.state, commands))
            self._rest(commands)

    def _follow(self, before: State) -> None:
        """Let the prover have paths that changed, and the configuration, the checks too; keep new verdicts."""
        now, intent = self.state, self.state.intent.in_force
        is_other = now.proofs.paths is not before.proofs.paths or intent is not before.intent.in_force
        if self._prover and intent and is_other:
            self._prover.follow(intent, now.proofs.paths)
        node = intent.node(now.node) if intent else None
        if self._checks and intent and node and intent is not before.intent.in_force:
            self._checks.follow(intent, node)
        if self._memory and now.services is not before.services:
            self._memory.keep(now.services.verdicts.values())

    def _rest(self, commands: Iterable[Command]) -> None:
        """Throttle observations after changes by other programs that called for no operation."""
        if self._by_another and not any(isinstance(command, Apply) for command in commands):
            self._throttle.observed_in_vain(self._observation_began_s, self._now_s())
        self._by_another = False

    def _do(self, command: Command) -> None:
        match command:
            case Observe():
                self._observe_next = True
            case Apply():
                self._apply(command)
            case Configure():
                self._configure(command.config)
            case Speak():
                self._ports.speaker.send(command.commands)
            case SendProbes():
                self._send_probes(command)
            case WakeAt():
                self._wake_at_s = command.at_s
            case _:
                assert_never(command)

    def _configure(self, config: speaker.SpeakerConfig | None) -> None:
        if config is None:
            self._ports.speaker.shutdown()
        else:
            self._ports.speaker.configure(config)

    def _send_probes(self, command: SendProbes) -> None:
        try:
            threading.Thread(target=self._probe, args=(command,), name="probes", daemon=True).start()
        except RuntimeError as error:  # the host, or our limit, has no thread left
            log.warning("probes cannot be sent", extra={"facts": {"error": str(error)}})
            self.post(Probed(()))

    def _probe(self, command: SendProbes) -> None:
        try:
            replies = self._ports.prober.probe(command.probes)
        except _NOT_NOW as error:
            log.warning("probes cannot be sent", extra={"facts": {"error": str(error)}})
            replies = ()
        self.post(Probed(replies))

    def _apply(self, command: Apply) -> None:
        try:
            failures = self._open_kernel().apply(command.ops)
        except _NOT_NOW as error:
            self._applied.append(self._lost_kernel(error))
            return
        log.info("applied", extra={"facts": {"operations": len(command.ops), "failed": len(failures)}})
        self._applied.append(Applied(failures))


def _report(before: State, after: State, event: Event) -> None:
    """Log for operators: edits, sessions, phases, errors."""
    match event:
        case IntentLoaded():
            log.info(
                "intent loaded", extra={"facts": {"nodes": len(event.intent.nodes), "pools": len(event.intent.pools)}}
            )
            for problem in event.intent.remarks:
                if problem.severity is Severity.WARNING:
                    log.warning("%s", problem)
        case IntentRejected():
            for problem in event.problems:
                log.error("cluster file rejected, the previous one stays in force: %s", problem)
        case MirrorMismatch() | KernelLost() | Observed() | Applied():
            _report_kernel(before, event)
        case SelfCheckMismatch(parts):
            log.error("%s", words.selfcheck(parts))
        case speaker.SessionUp() | speaker.SessionDown() | speaker.Malformed():
            _report_session(event)
        case _:
            pass
    if before.phase is not after.phase:
        log.info(after.phase.value, extra={"facts": {"was": before.phase.value}})


def _report_kernel(before: State, event: MirrorMismatch | KernelLost | Observed | Applied) -> None:
    match event:
        case MirrorMismatch(mismatch):
            log.warning("%s", words.mismatch(mismatch))
        case KernelLost() if not before.kernel.error:
            log.error("%s", words.kernel_lost(event.reason))
        case Observed() if before.kernel.error:
            log.info("kernel state can be read again")
        case Applied():
            for failure in event.failures:
                log.error("%s", words.failure(failure))
        case _:
            pass


def _report_session(event: speaker.SessionUp | speaker.SessionDown | speaker.Malformed) -> None:
    match event:
        case speaker.SessionUp():
            log.info("session up", extra={"facts": {"peer": event.peer}})
        case speaker.SessionDown():
            log.warning("session down", extra={"facts": {"peer": event.peer, "reason": event.reason}})
        case speaker.Malformed():
            log.warning("%s", bgp_words.malformed(event), extra={"facts": {"peer": event.peer}})
        case _:
            assert_never(event)
