"""
One BFD session in asynchronous mode (RFC 5880, section 6.8) as a value, and its one step.

    step(session, event, now_s, chance) -> (session, packets to send now)

Both ends send packets at an interval that they have agreed on. An end that has received none for the detection time is
Down, and says so. Two rules make that safe while intervals change (section 6.8.3): packets are not sent less often, and
not expected more often, before the other end has answered a packet with the P bit by one with the F bit. So each
interval is there twice: as it is sent, and as it is used until then.

Until a session is Up it sends a packet a second. A change of state is sent at once, since the other end waits for it.

`begin` makes the first packet say AdminDown: if an earlier process of ours had this session Up, the other end ends it
by that without a failure, and nothing that follows BFD there is disturbed (RFC 5882, section 3.2).

Refuses to know: sockets, clocks, what a session is for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from bgpctl.core.bfd.packet import Diagnostic, Packet, SessionState

SLOW_US: Final = 1_000_000
"""The least interval of a session that is not Up (section 6.8.3)."""
_MICRO: Final = 1e-6
_LIVE: Final = frozenset({SessionState.INIT, SessionState.UP})


@dataclass(frozen=True, slots=True)
class Intervals:
    """Configuration of one session, in microseconds; `multiplier` packets of ours may be lost in a row."""

    tx_us: int
    rx_us: int
    multiplier: int


@dataclass(frozen=True, slots=True)
class Session:
    """
    The variables of section 6.8.1. Intervals in microseconds, times in seconds.

    Attributes:
        mine, yours: the discriminators; `yours` is 0 until a packet was received.
        diagnostic: why the session was last left.
        sent_tx_us, sent_rx_us: our intervals as our packets have them.
        used_tx_us, used_rx_us: the same as they count, until the other end has answered our Poll.
        polling: our packets have the P bit, until one with the F bit comes.
        remote_*: what the other end's last packet has.
        send_at_s: when the next packet is due.
        expires_s: when the detection time is over; None while nothing is expected.
        since_s: when `state` last changed.
    """

    intervals: Intervals
    mine: int
    state: SessionState = SessionState.DOWN
    diagnostic: Diagnostic = Diagnostic.NONE
    yours: int = 0
    sent_tx_us: int = SLOW_US
    sent_rx_us: int = SLOW_US
    used_tx_us: int = SLOW_US
    used_rx_us: int = SLOW_US
    polling: bool = False
    remote_state: SessionState = SessionState.DOWN
    remote_diagnostic: Diagnostic = Diagnostic.NONE
    remote_tx_us: int = 0
    remote_rx_us: int = 1
    remote_multiplier: int = 0
    remote_independent: bool = False
    remote_demand: bool = False
    send_at_s: float = 0.0
    expires_s: float | None = None
    since_s: float = 0.0

    @property
    def detection_us(self) -> int:
        """Section 6.8.4: so long after a packet the session is down; 0 before the first one."""
        return self.remote_multiplier * max(self.used_rx_us, self.remote_tx_us)

    @property
    def interval_us(self) -> int:
        """Section 6.8.7: between two packets of ours, before jitter; 0: none are to be sent."""
        is_quiet = self.remote_demand and self.state is self.remote_state is SessionState.UP
        if not self.remote_rx_us or (is_quiet and not self.polling):
            return 0
        return max(self.used_tx_us, self.remote_rx_us)

    @property
    def due_s(self) -> float:
        """When the next `Time` has something to do."""
        send_at_s = self.send_at_s if self.interval_us else float("inf")
        return send_at_s if self.expires_s is None else min(send_at_s, self.expires_s)


# Events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A packet for this session."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class Time:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The operator wants other intervals."""

    intervals: Intervals


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The session is not wanted any more: AdminDown is sent until the session is forgotten."""


Event: TypeAlias = Received | Time | Configured | ShutDown
Step: TypeAlias = tuple[Session, tuple[Packet, ...]]


def begin(intervals: Intervals, mine: int, now_s: float) -> Step:
    """A new session that waits for the other end, and its first packet. `mine` is unique on this host, and not 0."""
    session = Session(
        intervals,
        mine,
        sent_tx_us=_slow(intervals),
        used_tx_us=_slow(intervals),
        sent_rx_us=intervals.rx_us,
        used_rx_us=intervals.rx_us,
        send_at_s=now_s,
        since_s=now_s,
    )
    return session, (replace(_packet(session), state=SessionState.ADMIN_DOWN),)


def step(session: Session, event: Event, now_s: float, chance: float) -> Step:
    """
    The session after `event`, and the packets to send now.

    `chance`, from 0 to 1, is the jitter of the next packet: at most a quarter of the interval is taken off, and with a
    detect multiplier of 1 at least a tenth (section 6.8.7).
    """
    match event:
        case Received(packet):
            return _received(session, packet, now_s, chance)
        case Time():
            return _timed(session, now_s, chance)
        case Configured(intervals):
            # An answer to a Poll may announce a shorter interval before the next packet is due.
            return _sooner(_configured(session, intervals), session.interval_us, now_s, chance), ()
        case ShutDown():
            down = replace(session, state=SessionState.ADMIN_DOWN, diagnostic=Diagnostic.ADMIN_DOWN, since_s=now_s)
            return _sent(_slowed(replace(down, expires_s=None)), now_s, chance)


# Packets received ----------------------------------------------------------------------------------------------


def _received(session: Session, packet: Packet, now_s: float, chance: float) -> Step:
    """Section 6.8.6, from where the session is known."""
    if session.state is SessionState.ADMIN_DOWN:
        return session, ()
    before = session.interval_us
    heard = _answered(_remembered(session, packet)) if packet.final else _remembered(session, packet)
    moved = _moved(heard, packet.state, now_s)
    expected = replace(moved, expires_s=now_s + moved.detection_us * _MICRO)
    answer = (replace(_packet(expected), poll=False, final=True),) if packet.poll else ()
    if expected.state is not session.state:
        after, packets = _sent(expected, now_s, chance)
        return after, (*answer, *packets)
    return _sooner(expected, before, now_s, chance), answer


def _remembered(session: Session, packet: Packet) -> Session:
    return replace(
        session,
        yours=packet.mine,
        remote_state=packet.state,
        remote_diagnostic=packet.diagnostic,
        remote_tx_us=packet.tx_us,
        remote_rx_us=packet.rx_us,
        remote_multiplier=packet.multiplier,
        remote_independent=packet.independent,
        remote_demand=packet.demand,
    )


def _answered(session: Session) -> Session:
    """The other end knows our intervals."""
    if not session.polling:
        return session
    return replace(session, polling=False, used_tx_us=session.sent_tx_us, used_rx_us=session.sent_rx_us)


def _moved(session: Session, remote: SessionState, now_s: float) -> Session:
    """The state machine of section 6.2."""
    state = session.state
    if remote is SessionState.ADMIN_DOWN or (state is SessionState.UP and remote is SessionState.DOWN):
        return _left(session, Diagnostic.NEIGHBOR_DOWN, now_s) if state in _LIVE else session
    if state is SessionState.DOWN and remote is SessionState.DOWN:
        return replace(session, state=SessionState.INIT, since_s=now_s)
    if (state is SessionState.DOWN and remote is SessionState.INIT) or (state is SessionState.INIT and remote in _LIVE):
        return _risen(session, now_s)
    return session


def _risen(session: Session, now_s: float) -> Session:
    """Up: the intervals that were configured, first as a proposal (Poll)."""
    up = replace(session, state=SessionState.UP, diagnostic=Diagnostic.NONE, since_s=now_s)
    return _configured(up, up.intervals)


def _left(session: Session, diagnostic: Diagnostic, now_s: float) -> Session:
    return _slowed(replace(session, state=SessionState.DOWN, diagnostic=diagnostic, since_s=now_s))


def _slowed(session: Session) -> Session:
    slow_us = _slow(session.intervals)
    return replace(session, sent_tx_us=slow_us, used_tx_us=slow_us, used_rx_us=session.sent_rx_us, polling=False)


def _slow(intervals: Intervals) -> int:
    return max(SLOW_US, intervals.tx_us)


# Time ----------------------------------------------------------------------------------------------------------


def _timed(session: Session, now_s: float, chance: float) -> Step:
    if session.expires_s is not None and now_s >= session.expires_s:
        return _expired(session, now_s, chance)
    if session.interval_us and now_s >= session.send_at_s:
        return _sent(session, now_s, chance)
    return session, ()


def _expired(session: Session, now_s: float, chance: float) -> Step:
    """The other end is silent: nothing of what it said counts any more (section 6.8.1)."""
    silent = replace(
        session,
        expires_s=None,
        yours=0,
        remote_state=SessionState.DOWN,
        remote_rx_us=1,
        remote_demand=False,
    )
    if session.state not in _LIVE:
        return silent, ()
    return _sent(_left(silent, Diagnostic.TIME_EXPIRED, now_s), now_s, chance)


# Packets sent --------------------------------------------------------------------------------------------------


def _sent(session: Session, now_s: float, chance: float) -> Step:
    """One packet now, the next one an interval later."""
    interval_s = _jittered(session, chance)
    return replace(session, send_at_s=now_s + interval_s), (_packet(session),)


def _sooner(session: Session, before_us: int, now_s: float, chance: float) -> Session:
    """The next packet is not later than a new, shorter interval asks for."""
    if not session.interval_us or session.interval_us == before_us:
        return session
    at_s = now_s + _jittered(session, chance)
    return replace(session, send_at_s=min(session.send_at_s, at_s) if before_us else at_s)


def _jittered(session: Session, chance: float) -> float:
    least, most = (0.75, 0.9) if session.intervals.multiplier == 1 else (0.75, 1.0)
    return (session.interval_us or SLOW_US) * _MICRO * (least + chance * (most - least))


def _packet(session: Session) -> Packet:
    return Packet(
        session.state,
        session.diagnostic,
        session.intervals.multiplier,
        session.mine,
        session.yours,
        session.sent_tx_us,
        session.sent_rx_us,
        poll=session.polling,
        independent=True,
    )


# Intervals -----------------------------------------------------------------------------------------------------


def _configured(session: Session, intervals: Intervals) -> Session:
    """Section 6.8.3: what makes packets rarer, or expects them sooner, waits for the end of the Poll sequence."""
    if session.state is not SessionState.UP:
        rx_us = intervals.rx_us
        return _slowed(replace(session, intervals=intervals, sent_rx_us=rx_us, used_rx_us=rx_us))
    changed = replace(session, intervals=intervals, sent_tx_us=intervals.tx_us, sent_rx_us=intervals.rx_us)
    if (changed.sent_tx_us, changed.sent_rx_us) == (session.sent_tx_us, session.sent_rx_us):
        return changed
    return replace(
        changed,
        polling=True,
        used_tx_us=min(session.used_tx_us, intervals.tx_us),
        used_rx_us=max(session.used_rx_us, intervals.rx_us),
    )
