"""
Proofs beside the loop: a thread that keeps probing the paths to members, and hands in the verdicts that change.

It follows what the loop says of paths, and the loop hears from it only when a verdict changes; neither waits for the
other.

Refuses to know: when a path has its turn, and what a reply means (core/proof/schedule.py).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from typing import Final, NamedTuple

from bgpctl.agent.agreement import Agreement
from bgpctl.core.agent.events import ConfigurationsCompared, ForwardingJudged, PathsJudged
from bgpctl.core.agent.proofs import PathVerdict
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.proof.note import decode, encode
from bgpctl.core.proof.paths import MemberPath, PathKey
from bgpctl.core.proof.schedule import BUSY_PER_S, LOAD_EVERY_S, Request, Schedule
from bgpctl.core.proof.verdict import Proof, Verdict
from bgpctl.core.trace.firewall import Kind, Stop, forwarded, stops
from bgpctl.core.trace.netfilter import Chain
from bgpctl.ports import Clock, Closing, Prober, Unavailable

log = logging.getLogger("bgpctl.agent")

_NOT_NOW: Final = (Unavailable, OSError, MemoryError)
_AGAIN_S: Final = 10.0
"""After an error that no rule here foresaw, unless there are new paths before."""
_FOLLOWED: Final = 4
"""As a rule a firewall does the same to packets to all members."""
_ROUND_S: Final = 0.5
"""A round that takes longer was held up here: a prober waits for replies well under that."""

Verdicts = Mapping[PathKey, tuple[MemberPath, Proof]]


class _Load(NamedTuple):
    """The packets sent by the node when they were last counted, and the probes since."""

    at_s: float
    packets: int
    probes: int


class Prover:
    """
    Its methods are for the loop's thread.

    Args:
        report: called from another thread.
        every_s: the operator's interval between two probes of a path.
    """

    def __init__(
        self,
        prober: Prober,
        clock: Clock,
        report: Callable[[PathsJudged | ConfigurationsCompared | ForwardingJudged], None],
        every_s: float,
    ) -> None:
        self._prober = prober
        self._clock = clock
        self._report = report
        self._schedule = Schedule(every_s=every_s)
        self._agreement = Agreement(clock)
        self._listener: Closing | None = None
        self._intent: Intent | None = None
        self._reported: Verdicts = {}
        self._load = _Load(0.0, 0, 0)
        self._every_s = every_s
        self._chains: tuple[Chain, ...] = ()
        self._chains_due_s = 0.0
        self._stops: tuple[Stop, ...] = ()
        self._chance = secrets.SystemRandom().random
        self._changed = threading.Condition()
        self._paths: Sequence[MemberPath] | None = None
        self._followed: Sequence[MemberPath] = ()
        self._came: set[MemberPath] = set()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def follow(self, intent: Intent, paths: Sequence[MemberPath]) -> None:
        """These are the configuration and the paths from now on."""
        with self._changed:
            self._came |= set(paths).difference(self._followed)
            self._intent, self._paths, self._followed = intent, paths, paths
            self._changed.notify()
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="proofs", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the host, or our limit, has no thread left: the next change tries again
                log.warning("paths cannot be proven", extra={"facts": {"error": str(error)}})
            else:
                self._thread = thread

    def stop(self) -> None:
        """End the thread, after the round in work."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        """No error ends the thread: the node would hold its last verdicts for true for ever."""
        while not self._stopped:
            try:
                self._listen_and_prove()
            except Exception:
                log.exception("paths are not proven for a moment")
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or self._paths is not None, _AGAIN_S)

    def _listen_and_prove(self) -> None:
        try:
            self._listener = self._prober.listen(self._heard)
        except _NOT_NOW as error:
            log.warning("notes of members cannot be received", extra={"facts": {"error": str(error)}})
        try:
            self._prove()
        finally:
            if self._listener:
                self._listener.close()
                self._listener = None

    def _heard(self, source: Address, octets: bytes) -> None:
        """Called by the listener's thread."""
        note = decode(octets)
        if note:
            with self._changed:
                if self._agreement.heard(source, note):
                    self._changed.notify()

    def _prove(self) -> None:
        while self._await_turn():
            self._weigh()
            self._read_chains()
            requests = self._schedule.due(self._clock.now_s())
            if requests:
                self._round(requests)

    def _await_turn(self) -> bool:
        """Until a path is due, or the paths are others; False once stopped."""
        with self._changed:
            if not self._stopped and self._paths is None and not self._agreement.is_changed:
                self._changed.wait(self._wait_s())
            paths, self._paths = self._paths, None
            came, self._came = self._came, set()
            intent, is_stopped = self._intent, self._stopped
        if intent is not None:
            self._compare(intent)
        if paths is not None:
            self._schedule = self._schedule.with_paths(paths, self._clock.now_s())
            self._report_again(came)
            self._judge_forwarding()
        return not is_stopped

    def _compare(self, intent: Intent) -> None:
        """Let probes carry our configuration where it is another one now; report members that have another."""
        own = self._agreement.prepared(intent)
        with self._changed:
            if own:
                self._agreement.take(own)
                self._prober.carry(encode(own.note))
            found = self._agreement.differences() if self._agreement.is_changed else None
        if found is not None:
            self._report(ConfigurationsCompared(found))

    def _wait_s(self) -> float | None:
        next_s = self._schedule.next_s
        if next_s is None:
            return None
        return max(0.0, min(next_s, self._load.at_s + LOAD_EVERY_S) - self._clock.now_s())

    def _weigh(self) -> None:
        """Find out, from time to time, whether this node carries traffic."""
        now_s, before = self._clock.now_s(), self._load
        passed_s = now_s - before.at_s
        if passed_s < LOAD_EVERY_S:
            return
        try:
            sent = self._prober.packets_sent()
        except _NOT_NOW:
            return
        self._load = _Load(now_s, sent, 0)
        others = sent - before.packets - before.probes
        is_busy = others > BUSY_PER_S * passed_s and before.at_s > 0
        self._schedule = self._schedule.with_load(now_s, self._chance, is_busy=is_busy)

    def _read_chains(self) -> None:
        """As often as a quiet path is probed: a firewall may change its rules many times a second."""
        if self._clock.now_s() < self._chains_due_s:
            return
        self._chains_due_s = self._clock.now_s() + self._every_s
        try:
            found = self._prober.chains()
        except _NOT_NOW:  # what is known of them stays
            return
        if found is not None:
            self._chains = found
            self._judge_forwarding()

    def _judge_forwarding(self) -> None:
        """Report the chains that end packets of workloads, where they are others than before."""
        kinds = chain.from_iterable(map(self._packets_to, islice(self._followed, _FOLLOWED)))
        found = tuple(item for item in stops(self._chains, kinds) if item.is_certain)
        if found != self._stops:
            self._stops = found
            self._report(ForwardingJudged(found))

    def _packets_to(self, path: MemberPath) -> Iterable[Kind]:
        intent = self._intent
        owners = (one for one in intent.nodes if path.probe.local in one.addresses) if intent else iter(())
        node, member = next(owners, None), intent.node(path.member) if intent else None
        return forwarded(intent, node, member, path.probe.hop.link) if intent and node and member else ()

    def _round(self, requests: Sequence[Request]) -> None:
        began_s = self._clock.now_s()
        self._load = self._load._replace(probes=self._load.probes + len(requests))
        try:
            replies = self._prober.probe([request.probe for request in requests])
        except _NOT_NOW as error:
            log.warning("probes cannot be sent", extra={"facts": {"error": str(error)}})
            self._schedule = self._schedule.unable(requests, self._clock.now_s())
        else:
            answered = {reply.probe for reply in replies}
            ended_s = self._clock.now_s()
            is_late = ended_s - began_s > _ROUND_S
            silent = self._silent() if any(request.probe not in answered for request in requests) else frozenset()
            self._schedule = self._schedule.after_round(
                requests, answered, ended_s, self._chance, is_late=is_late, silent=silent
            )
        self._report_changes()

    def _silent(self) -> frozenset[Address]:
        """Asked only after a miss: where all answer, no neighbour is silent."""
        try:
            return self._prober.silent()
        except _NOT_NOW:
            return frozenset()

    def _report_again(self, came: AbstractSet[MemberPath]) -> None:
        """
        Also verdicts that were reported, on paths that are new to the loop: one that went and came back in one round
        never went here, but the loop has forgotten its verdict.
        """
        self._reported = {key: item for key, item in self._reported.items() if item[0] not in came}
        self._report_changes()

    def _report_changes(self) -> None:
        now = self._schedule.proofs
        new = [PathVerdict(*item) for key, item in now.items() if item != self._reported.get(key)]
        verdicts = tuple(item for item in new if item.proof.verdict is not Verdict.ASKED)
        self._reported = now
        if verdicts:
            self._report(PathsJudged(verdicts))
