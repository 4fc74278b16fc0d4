"""
Keeps one ExaBGP running with the wanted configuration, attached to us, and alive. One thread, one poll.

What runs is never remembered, it is asked for: the process by its pid file, its settings by its own environment, the
configuration in force and the established sessions by its own listing. So it makes no difference whether this
program was killed a second ago or has been here all the time.

Refuses to know: what events mean for routing, who queues configurations and commands.
"""

from __future__ import annotations

import errno
import logging
import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from bgpctl.core.agent.backoff import Backoff, Cause
from bgpctl.core.bgp.speaker import (
    AskRefresh,
    EndSession,
    SessionOpened,
    SpeakerAttached,
    SpeakerCommand,
    SpeakerConfig,
    SpeakerConfigRejected,
    SpeakerDetached,
    SpeakerEvent,
)
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.speaker import conf, decode, encode, launch, orphans, process, raw
from bgpctl.speaker.channel import Channel, Lost
from bgpctl.speaker.early import EarlyReports
from bgpctl.speaker.joined_lines import joined
from bgpctl.speaker.launch import ConfigRejected, Rendered, RunDir
from bgpctl.speaker.orphaned_routes import OrphanedRoutes
from bgpctl.speaker.pending_config import PendingConfig
from bgpctl.speaker.process import Process

_log = logging.getLogger("bgpctl.speaker")

_CONNECT_EVERY_S: Final = 0.05
_CONNECT_WITHIN_S: Final = 10.0
_CONNECT_DOUBLINGS: Final = 3
_RELIST_AFTER_S: Final = 0.25
_LISTED_WITHIN_S: Final = 30.0
"""A listing takes seconds with hundreds of neighbours; it is lost if one of them is removed in its middle."""
_RELOAD_WITHIN_S: Final = 75.0
"""ExaBGP drops a reload while any peer has unsent changes; a peer that is down keeps them up to its next try to
connect, which comes within 60 s."""
_ANSWER_WITHIN_S: Final = 3.0
_BUSY_TICKS: Final = 10
"""A process that uses no more CPU than that while an answer is due, 0.1 s, waits for something."""
_BUSY_ANSWERS: Final = 10
"""One that computes may take so many times as long: a reflector's whole table is half a million announcements."""
_ADMINISTRATIVE_RESET: Final = (6, 4)
"""RFC 4486: a Cease after which the peer may come back at once."""
_NOTHING_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_QUOTED: Final = 300
"""At most so many characters of a foreign line are logged."""


@dataclass(slots=True)
class _Listing:
    """ExaBGP's answer to ASK_STATE as far as it has come."""

    tags: set[str] = field(default_factory=set)
    advertised: dict[Address, list[Prefix]] = field(default_factory=dict)


class Supervisor:
    """
    Args:
        run_dir: the files of this ExaBGP.
        prefix: put before ExaBGP's command: `ip netns exec NAME` or nothing. It must exec, not fork.
        deliver: called with every event.
        patched: run ExaBGP with patches.py.
        alone: no other agent has this network namespace, so every ExaBGP of bgpctl in it is ours.
    """

    def __init__(
        self,
        run_dir: RunDir,
        prefix: Sequence[str],
        deliver: Callable[[SpeakerEvent], None],
        *,
        patched: bool = True,
        alone: bool = False,
    ) -> None:
        self._alone = alone
        self._run_dir = run_dir
        self._patched = patched
        self._command = (*prefix, *launch.server(run_dir, patched=patched))
        self._deliver = deliver
        self._pending = PendingConfig(run_dir, patched=patched)
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._attached = False
        self._restarts = Backoff(Cause.SPEAKER_ENDED)
        self._act_at_s = 0.0
        self._connect_by_s = 0.0
        self._begin_talk()

    @property
    def _wanted(self) -> Rendered | None:
        return self._pending.in_place

    @property
    def _connect_within_s(self) -> float:
        """Longer after each vain start: on a slow or busy host ExaBGP may need more than the usual time to begin."""
        return _CONNECT_WITHIN_S * 2.0 ** min(self._restarts.attempts, _CONNECT_DOUBLINGS)

    def _begin_talk(self) -> None:
        """Forget the state of an earlier channel."""
        self._met = False
        self._listing: _Listing | None = None
        self._relist_at_s: float | None = None
        self._reload_by_s: float | None = None
        self._drained: frozenset[Address] = frozenset()
        self._orphaned = OrphanedRoutes({})
        self._counters: dict[Address, int] = {}
        self._without_refresh: set[Address] = set()
        self._raw = raw.Reader()
        self._early = EarlyReports()
        self._last_line_at_s = time.monotonic()
        self._pinged_at_s: float | None = None
        self._ping_at_s = self._last_line_at_s
        self._ticks = 0

    # Orders of the owner ----------------------------------------------------------------------------------------

    def configure(self, config: SpeakerConfig) -> None:
        """
        Make ExaBGP run with `config`, from the next turn on, which bears a host without descriptors or memory. What
        cannot be put in force is tried again, and nothing changes until then.
        """
        self._pending.ask(config, time.monotonic())

    def _settle(self) -> None:
        match self._pending.settle(time.monotonic(), self._runs):
            case ConfigRejected() as refused:
                self._reject(refused)
            case Rendered() as rendered if self._process is not None and not _may_stay(rendered, self._process):
                self._restart("a changed listen address or port needs a restart of ExaBGP")
            case Rendered():
                # An answer under way will not match; without one, ask at the next turn.
                self._reload_by_s = None
                self._relist_at_s = self._relist_at_s or time.monotonic()
            case None:
                pass

    def _reject(self, refused: ConfigRejected) -> None:
        _log.error("configuration refused, the one before stays", extra=_facts(reason=refused))
        self._deliver(SpeakerConfigRejected(str(refused)))

    def _runs(self) -> bool:
        """False only if it is certain."""
        try:
            return self._process is not None or process.runs(self._run_dir.pid)
        except OSError:
            return True

    def speak(self, commands: Iterable[SpeakerCommand]) -> None:
        """Send the commands in order; dropped while detached."""
        if self._channel is None or not self._attached:
            return
        orders = (order for command in map(self._possible, commands) for order in self._orphaned.orders(command))
        try:
            self._channel.write(joined(orders))
        except Lost as lost:
            self._detach(str(lost))

    def _possible(self, command: SpeakerCommand) -> SpeakerCommand:
        """
        The command, but for a refresh from a peer that has not offered one: ExaBGP as it is would ask all the same, and
        keeps no table. Another session brings the table; the peer may end this one for the question.
        """
        if self._patched or not isinstance(command, AskRefresh) or command.peer not in self._without_refresh:
            return command
        return EndSession(command.peer, *_ADMINISTRATIVE_RESET)

    def end(self) -> None:
        """
        End ExaBGP and remove its files, until the next configuration.

        Raises:
            OSError: it could not be ended, or not be found out whether it runs.
        """
        self._pending.drop()
        running = self._process or process.find(self._run_dir.pid)
        if running is not None:
            orphans.end("ExaBGP", running)
            self._forget(running, "ExaBGP was ended")
        if self._alone:
            orphans.end_all()
        self._run_dir.clean()

    def release(self) -> None:
        """Let go of everything; ExaBGP runs on."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.close()

    def turn(self, wake: int) -> None:
        """Wait until something happens, `wake` becomes readable or a timer is due; then do what is to be done."""
        ready = self._wait(wake)
        try:
            if self._process is not None and self._process.fileno() in ready:
                self._bury(self._process)
            if self._channel is not None and self._channel.fileno() in ready:
                self._channel.flush()
                self._read(self._channel)
            self._settle()
            if self._wanted is not None:
                self._keep(self._wanted, time.monotonic())
        except Lost as lost:
            self._detach(str(lost))
        except OSError as error:  # no descriptor or no memory is left: nothing is known, so nothing changes
            _log.warning("ExaBGP cannot be looked after now", extra=_facts(reason=error.strerror or error))
            self._postpone()

    # Waiting ---------------------------------------------------------------------------------------------------

    def _wait(self, wake: int) -> frozenset[int]:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if self._process is not None:
            poll.register(self._process, select.POLLIN)
        if self._channel is not None:
            poll.register(self._channel, self._channel.interest())
        due_s = self._due_s()
        wait_ms = None if due_s is None else max(0.0, due_s - time.monotonic()) * 1000 + 1
        return frozenset(fd for fd, _ in poll.poll(wait_ms))

    def _due_s(self) -> float | None:
        """When the next timer is due, on the monotonic clock."""
        timers = (self._pending.due_s, *self._exabgp_timers(self._wanted))
        return min((at_s for at_s in timers if at_s is not None), default=None)

    def _exabgp_timers(self, wanted: Rendered | None) -> tuple[float | None, ...]:
        if wanted is None:
            return ()
        if self._channel is None:
            return (self._act_at_s,)
        silence_s = self._ping_at_s if self._pinged_at_s is None else self._hung_at_s(wanted, self._pinged_at_s)
        return (silence_s, self._relist_at_s)

    # Process and channel ---------------------------------------------------------------------------------------

    def _keep(self, wanted: Rendered, now_s: float) -> None:
        if self._channel is not None:
            self._ask(self._channel, wanted, now_s)
        elif now_s >= self._act_at_s:
            if self._process is None:
                self._acquire(wanted, now_s)
            elif now_s >= self._connect_by_s:
                self._restart(f"ExaBGP's bridge did not answer within {self._connect_within_s:g} s")
                self._restarts = self._restarts.after_attempt(now_s)
            else:
                self._connect(now_s)

    def _acquire(self, wanted: Rendered, now_s: float) -> None:
        found = process.find(self._run_dir.pid) or (orphans.reclaim(self._run_dir) if self._alone else None)
        if found is not None and not wanted.is_of(found.environment()):
            _log.warning("restarting ExaBGP, it runs with other settings", extra=_facts(exabgp_pid=found.pid))
            found.end()
            found.close()
            found = None
        self._process = found or self._start(wanted)
        self._connect_by_s = now_s + self._connect_within_s

    def _start(self, wanted: Rendered) -> Process | None:
        try:
            self._run_dir.make_room()
            launch.install(wanted, self._run_dir, wanted)  # its directory may have been removed
            started = process.start(self._command, wanted.environment, self._run_dir.pid, self._run_dir.log)
        except (OSError, ConfigRejected) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            _log.error("ExaBGP cannot be started", extra=_facts(program=self._command[0], reason=reason))
            self._postpone()
            return None
        _log.info("ExaBGP started", extra=_facts(exabgp_pid=started.pid))
        return started

    def _connect(self, now_s: float) -> None:
        self._act_at_s = now_s + _CONNECT_EVERY_S
        try:
            self._channel = Channel(self._run_dir.socket)
        except OSError as error:
            if error.errno in _NOTHING_LEFT:
                self._connect_by_s = now_s + self._connect_within_s  # ExaBGP is not to blame
            return  # not there yet; the deadline is in _keep
        self._begin_talk()

    def _detach(self, reason: str) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            if self._met:
                self._connect_by_s = time.monotonic() + self._connect_within_s
        if self._attached:
            _log.warning("detached from ExaBGP", extra=_facts(reason=reason))
            self._attached = False
            self._deliver(SpeakerDetached(reason))

    def _bury(self, ended: Process) -> None:
        """ExaBGP has ended: forget it, and start another after a while, unless it could not load its configuration."""
        if not ended.ended():
            return
        last_words = self._last_words()
        self._forget(ended, "ExaBGP has ended")
        refused = self._pending.not_loaded(time.monotonic())
        if isinstance(refused, ConfigRejected):
            self._reject(refused)
            return
        _log.error("ExaBGP has ended", extra=_facts(exabgp_pid=ended.pid, last_words=last_words))
        self._postpone()

    def _restart(self, reason: str, *, hung: bool = False) -> None:
        if self._process is None:
            return
        _log.warning("restarting ExaBGP", extra=_facts(exabgp_pid=self._process.pid, reason=reason))
        if hung:
            self._process.kill()
        self._process.end()
        self._forget(self._process, reason)

    def _forget(self, ended: Process, reason: str) -> None:
        ended.close()
        self._process = None
        self._detach(reason)

    def _postpone(self) -> None:
        self._restarts = self._restarts.after_attempt(time.monotonic())
        self._act_at_s = self._restarts.due_s

    def _last_words(self) -> str:
        return conf.redacted(self._run_dir.log_tail(), self._wanted.secrets if self._wanted else {})

    # Questions to ExaBGP ---------------------------------------------------------------------------------------

    def _ask(self, channel: Channel, wanted: Rendered, now_s: float) -> None:
        if self._relist_at_s is not None and now_s >= self._relist_at_s:
            self._listing = None
            self._list()
        if self._pinged_at_s is not None:
            if now_s >= self._hung_at_s(wanted, self._pinged_at_s) and not self._computes(wanted, now_s):
                self._restart("ExaBGP does not answer", hung=True)
        elif now_s >= self._ping_at_s:
            self._run_dir.turn_log()
            self._pinged_at_s = now_s
            self._ticks = self._cpu_ticks()
            channel.write(encode.PING)

    def _hung_at_s(self, wanted: Rendered, pinged_at_s: float) -> float:
        """When silence is taken for a hang. Any line is a sign of life: the answer may wait behind many."""
        return max(pinged_at_s, self._last_line_at_s) + _answer_within_s(wanted)

    def _computes(self, wanted: Rendered, now_s: float) -> bool:
        """A sign of life, too: the ping waits behind commands that ExaBGP takes one by one."""
        before, self._ticks = self._ticks, self._cpu_ticks()
        since_s = now_s if self._pinged_at_s is None else self._pinged_at_s
        if self._ticks - before < _BUSY_TICKS or now_s - since_s > _BUSY_ANSWERS * _answer_within_s(wanted):
            return False
        self._last_line_at_s = now_s
        return True

    def _cpu_ticks(self) -> int:
        return self._process.cpu_ticks() if self._process else 0

    def _list(self) -> None:
        """Ask for the state unless an answer is under way, which will do."""
        if self._listing is None and self._channel is not None:
            self._listing = _Listing()
            self._relist_at_s = time.monotonic() + _LISTED_WITHIN_S
            # An attached agent has the OPENs.
            asks_opens = self._patched and not self._attached
            self._channel.write(encode.ASK_OPENS + encode.ASK_STATE if asks_opens else encode.ASK_STATE)

    # Lines from ExaBGP ----------------------------------------------------------------------------------------

    def _read(self, channel: Channel) -> None:
        events: list[SpeakerEvent] = []
        for line in channel.read():
            match decode.decode(line):
                case raw.Batch() as batch:
                    events += self._updates(channel, batch)
                case decode.Received() as report:
                    events += self._noted(report)
                case decode.Connects(event):
                    events.append(event)
                case decode.Neighbors(states):
                    self._pass_on(events)
                    events = []
                    self._listed(states)
                case decode.Hello() as hello:
                    self._greeted(hello)
                case decode.Description(text):
                    self._take_tag(text)
                case decode.Advertised(peer, prefixes):
                    self._take_advertised(peer, prefixes)
                case decode.Pong():
                    self._answered()
                case decode.Unrecognised(text):
                    _log.warning("ExaBGP wrote a line that bgpctl cannot parse", extra=_facts(line=text[:_QUOTED]))
                case decode.Noise():
                    pass
                case other:
                    assert_never(other)
            self._last_line_at_s = time.monotonic()
        self._pass_on(events)

    def _greeted(self, hello: decode.Hello) -> None:
        if self._process is None or hello.exabgp_pid != self._process.pid:
            raise Lost(f"the bridge belongs to another ExaBGP, pid {hello.exabgp_pid}")
        self._met = True
        self._pending.loaded()
        self._list()

    def _answered(self) -> None:
        self._pinged_at_s = None
        if self._wanted is not None:
            self._ping_at_s = time.monotonic() + _answer_within_s(self._wanted)

    def _noted(self, report: decode.Received) -> Sequence[SpeakerEvent]:
        self._count(report)
        if report.event is None:
            return ()
        self._raw.note(report.event)
        if isinstance(report.event, SessionOpened):
            self._note_refresh(report.event.peer, refreshes=report.event.route_refresh)
        return (report.event,)

    def _note_refresh(self, peer: Address, *, refreshes: bool) -> None:
        if refreshes:
            self._without_refresh.discard(peer)
        else:
            self._without_refresh.add(peer)

    def _updates(self, channel: Channel, batch: raw.Batch) -> Sequence[SpeakerEvent]:
        self._count(batch)
        if not self._attached:
            return ()  # they would be dropped: everything is asked for again
        events, reset = self._raw.read(batch)
        if reset is not None:
            facts = _facts(peer=batch.peer, error=reset.reason, code=reset.code, subcode=reset.subcode)
            _log.error("an UPDATE ends its session", extra=facts)
            channel.write(encode.notify(batch.peer, reset.code, reset.subcode, reset.data))
        return events

    def _count(self, line: decode.Received | raw.Batch) -> None:
        before = self._counters.get(line.peer)
        self._counters[line.peer] = line.counter
        # A smaller number: ExaBGP counts anew for a neighbour that was configured again.
        if before is not None and line.counter > before + 1:
            raise Lost(f"{line.counter - before - 1} lines about {line.peer} were lost")

    def _pass_on(self, events: Iterable[SpeakerEvent]) -> None:
        """
        Deliver. What comes before SpeakerAttached is dropped, because everything is asked for again after it, but for
        what cannot be (early.py).
        """
        if self._attached:
            for event in decode.joined(events):
                self._deliver(event)
        else:
            for event in events:
                self._early.note(event)

    def _take_tag(self, text: str) -> None:
        if self._listing is not None and conf.is_tag(text):
            self._listing.tags.add(text)

    def _take_advertised(self, peer: Address, prefixes: tuple[Prefix, ...]) -> None:
        if self._listing is not None:
            self._listing.advertised.setdefault(peer, []).extend(prefixes)

    def _listed(self, states: tuple[decode.NeighborState, ...]) -> None:
        """The whole answer is here: attach if the wanted configuration is in force, else work towards that."""
        listing, self._listing = self._listing, None
        if listing is None or self._wanted is None or self._process is None:
            return
        peers = {state.peer for state in states}
        if listing.tags != self._wanted.tags or not self._wanted.peers <= peers:
            self._reload(frozenset(peers - self._wanted.peers))
            return
        self._reload_by_s = None
        self._relist_at_s = None
        self._orphaned = OrphanedRoutes(listing.advertised, patched=self._patched)
        for state in states:
            if state.up_s is not None:
                self._note_refresh(state.peer, refreshes=state.refreshes)
        up = ((state.peer, float(state.up_s)) for state in states if state.up_s is not None)
        self._attach(self._process, tuple(sorted(up)))

    def _attach(self, exabgp: Process, established: tuple[tuple[Address, float], ...]) -> None:
        self._attached = True
        self._restarts = Backoff(Cause.SPEAKER_ENDED)
        _log.info("attached to ExaBGP", extra=_facts(exabgp_pid=exabgp.pid, established=len(established)))
        self._deliver(SpeakerAttached(exabgp.pid, established))
        if self._channel is not None and self._patched:
            self._channel.write(encode.listen_ranges(self._wanted.ranges if self._wanted else ()))
        for event in self._early.take(dict(established)):
            self._deliver(event)

    def _reload(self, surplus: frozenset[Address]) -> None:
        """Have the file loaded, and list again: a reload can be dropped silently."""
        if self._channel is None:
            return
        now_s = time.monotonic()
        self._reload_by_s = self._reload_by_s or now_s + _RELOAD_WITHIN_S
        if now_s > self._reload_by_s:
            self._restart(f"it did not take its configuration within {_RELOAD_WITHIN_S:g} s")
            return
        self._relist_at_s = now_s + _RELIST_AFTER_S
        if surplus <= self._drained:
            self._channel.write(encode.RELOAD)
        else:
            self._drained |= surplus
            self._channel.write("".join(encode.withdraw_all(peer) for peer in sorted(surplus)))


def _may_stay(wanted: Rendered, running: Process) -> bool:
    """False if it is known to run with settings that a reload cannot change."""
    try:
        return wanted.is_of(running.environment())
    except OSError:
        return True


def _facts(**facts: object) -> dict[str, object]:
    """For `extra`: a log line's facts, beside its words."""
    return {"facts": facts}


def _answer_within_s(wanted: Rendered) -> float:
    """A hang must be found before the peers' hold timers run out, and load must not be taken for one."""
    return max(_ANSWER_WITHIN_S, wanted.hold_time_s / 3)
