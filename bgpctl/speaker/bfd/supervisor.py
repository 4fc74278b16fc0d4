"""
Keeps the BFD process of a node: started when a session has BFD, ended when none has, configured and listened to.

The process outlives the agent, as ExaBGP does (decision 2), so that an agent that is killed or upgraded disturbs no
session. One that runs already is adopted; one of another version is ended first, which the other ends do not take
for a failure. While it is away nothing is known, and nothing follows from that.

Refuses to know: the protocol, and what a state means for BGP.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import bgpctl
from bgpctl.core.agent.backoff import Backoff, Cause
from bgpctl.core.bgp.bfd import BfdChanged, BfdReport
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.net.addresses import Address
from bgpctl.ports import Unavailable
from bgpctl.speaker import orphans, process
from bgpctl.speaker.bfd import __main__ as program
from bgpctl.speaker.bfd import lines
from bgpctl.speaker.bfd.lines import Hello, NotReceiving, Report, Wanted
from bgpctl.speaker.orders import Orders
from bgpctl.speaker.process import Process

_log = logging.getLogger("bgpctl.bfd")

_CONNECT_EVERY_S: Final = 0.02
_CONNECT_WITHIN_S: Final = 10.0
_CHUNK_BYTES: Final = 1 << 16

_Order: TypeAlias = tuple[Wanted, ...] | threading.Event | None
"""Sessions; an event is the order to end the process, and is set when that is done; None is the order to let go."""


def wanted_of(sessions: Iterable[Session]) -> tuple[Wanted, ...]:
    """The BFD sessions beside these sessions of BGP."""
    return tuple(
        Wanted(
            str(session.peer),
            str(session.local) if session.bound else "",
            session.bfd.intervals.tx_us,
            session.bfd.intervals.rx_us,
            session.bfd.intervals.multiplier,
            session.bfd.multihop,
        )
        for session in sessions
        if session.bfd is not None
    )


class BfdSupervisor:
    """
    At most one BFD process per run directory.

    Args:
        run_dir: gets bfd.pid, bfd.sock and bfd.log, readable by their owner only.
        prefix: put before its command: `ip netns exec NAME` or nothing. It must exec, not fork.
        alone: no other agent has this network namespace, so every BFD process of bgpctl in it is ours.
    """

    def __init__(self, run_dir: Path, prefix: Sequence[str] = (), *, alone: bool = False) -> None:
        self._alone = self._may_be_lost = alone
        place = run_dir.absolute()
        self._pid_file, self._socket_file, self._log_file = place / "bfd.pid", place / "bfd.sock", place / "bfd.log"
        package = str(Path(bgpctl.__file__).resolve().parents[1])
        start = (sys.executable, "-I", "-S", str(Path(program.__file__).resolve()))
        self._command = (*prefix, *start, package, str(self._socket_file))
        self._deliver: Callable[[BfdChanged], None] = lambda _: None
        self._wanted: tuple[Wanted, ...] | None = None
        self._orders: Orders[_Order] = Orders()
        self._thread: threading.Thread | None = None
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._half_line = b""
        self._restarts = Backoff(Cause.SPEAKER_ENDED)
        self._act_at_s = 0.0
        self._connect_by_s = 0.0

    # Any thread ------------------------------------------------------------------------------------------------

    def start(self, deliver: Callable[[BfdChanged], None]) -> None:
        """Call `deliver` with every change, from a thread of its own."""
        self._deliver = deliver
        self._thread = threading.Thread(target=self._run, name="bfd", daemon=True)
        self._thread.start()

    def configure(self, sessions: Iterable[Session]) -> None:
        """Have BFD beside exactly those of the sessions that ask for it. Returns at once."""
        self._orders.put(wanted_of(sessions))

    def shutdown(self) -> None:
        """
        End the process, and return when it has ended: its sessions are shut down.

        Raises:
            Unavailable: `start` was not called, and it could not be ended.
        """
        if self._thread is None:
            try:
                self._end()
            except OSError as error:
                raise Unavailable(f"BFD may still run for this node: {error.strerror or error}") from error
            return
        ended = threading.Event()
        self._orders.put(ended)
        while self._thread.is_alive() and not ended.wait(timeout=1.0):
            pass

    def close(self) -> None:
        """Let go of the process, which keeps its sessions."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None
        self._orders.close()

    # Its own thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._obey():
            try:
                self._turn()
            except OSError as error:  # no descriptor or no memory is left
                _log.warning("BFD cannot be looked after now", extra=_facts(reason=error.strerror or error))
                self._postpone()
        self._disconnect()
        if self._process is not None:
            self._process.close()

    def _obey(self) -> bool:
        """Take all orders there are; False at the order to let go."""
        for order in self._orders.taken():
            match order:
                case None:
                    return False
                case threading.Event() as ended:
                    self._wanted = ()
                    with suppress(OSError):
                        self._end()
                    ended.set()
                case wanted:
                    self._wanted = wanted
                    self._send()
        return True

    def _turn(self) -> None:
        if self._wanted:
            self._keep(time.monotonic())
        elif self._wanted is not None and (self._process or self._may_be_lost or self._pid_file.exists()):
            self._end()
        ready = self._wait()
        if self._process is not None and self._process.fileno() in ready and self._process.ended():
            _log.error("the BFD process has ended", extra=_facts(bfd_pid=self._process.pid))
            self._forget()
            self._postpone()
        elif self._channel is not None and self._channel.fileno() in ready:
            self._read(self._channel)

    def _wait(self) -> frozenset[int]:
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        if self._process is not None:
            poll.register(self._process, select.POLLIN)
        if self._channel is not None:
            poll.register(self._channel, select.POLLIN)
        is_due = bool(self._wanted) and self._channel is None
        wait_ms = max(0.0, self._act_at_s - time.monotonic()) * 1000 + 1 if is_due else None
        return frozenset(fd for fd, _ in poll.poll(wait_ms))

    def _keep(self, now_s: float) -> None:
        if self._channel is not None or now_s < self._act_at_s:
            return
        if self._process is None:
            self._process = process.find(self._pid_file) or self._reclaimed() or self._start()
            self._connect_by_s = now_s + _CONNECT_WITHIN_S
        elif now_s >= self._connect_by_s:
            _log.warning("restarting BFD, it does not answer", extra=_facts(bfd_pid=self._process.pid))
            self._end()
            self._postpone()
        else:
            self._connect(now_s)

    def _reclaimed(self) -> Process | None:
        return orphans.reclaim_bfd(self._socket_file, self._pid_file) if self._alone else None

    def _start(self) -> Process:
        self._pid_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._socket_file.unlink(missing_ok=True)
        started = process.start(self._command, {"PATH": os.defpath}, self._pid_file, self._log_file)
        _log.info("BFD started", extra=_facts(bfd_pid=started.pid))
        return started

    def _connect(self, now_s: float) -> None:
        self._act_at_s = now_s + _CONNECT_EVERY_S
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(str(self._socket_file))
        except (FileNotFoundError, ConnectionRefusedError):
            channel.close()
            return  # not there yet; the deadline is in _keep
        except OSError:
            channel.close()
            raise
        channel.setblocking(False)
        self._channel, self._half_line = channel, b""
        self._send()

    def _send(self) -> None:
        if self._channel is None or self._wanted is None:
            return
        try:
            self._channel.sendall(lines.wanted_line(self._wanted))
        except OSError:
            self._disconnect()

    def _read(self, channel: socket.socket) -> None:
        try:
            chunk = channel.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        *whole, self._half_line = (self._half_line + chunk).split(b"\n")
        for line in whole:
            try:
                self._take(lines.read(line))
            except (ValueError, TypeError, LookupError) as error:
                _log.warning("BFD wrote a line that cannot be parsed", extra=_facts(reason=error))
                self._disconnect()
            if self._channel is None:
                return
        if not chunk:
            self._disconnect()

    def _take(self, line: Hello | Report | NotReceiving) -> None:
        match line:
            case Hello(version, pid, scheduling):
                _log.info("attached to BFD", extra=_facts(bfd_pid=pid, scheduling=scheduling))
                self._restarts = Backoff(Cause.SPEAKER_ENDED)
                if version != lines.VERSION:
                    self._end()
            case NotReceiving(reason):
                _log.error("BFD receives no packets", extra=_facts(reason=reason))
            case Report():
                self._deliver(_event(line))

    def _disconnect(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self._connect_by_s = time.monotonic() + _CONNECT_WITHIN_S

    def _forget(self) -> None:
        self._disconnect()
        if self._process is not None:
            self._process.close()
            self._process = None
        for one in self._wanted or ():
            self._deliver(BfdChanged(Address.parse(one.peer), None))

    def _end(self) -> None:
        """Raises OSError: it could not be found out whether it runs."""
        running = self._process or process.find(self._pid_file)
        if running is not None:
            running.end()
            _log.info("BFD ended", extra=_facts(bfd_pid=running.pid))
            self._process = running
        if self._alone:
            orphans.end_all_bfd()
            self._may_be_lost = False
        self._forget()
        for file in (self._pid_file, self._socket_file):
            file.unlink(missing_ok=True)

    def _postpone(self) -> None:
        self._restarts = self._restarts.after_attempt(time.monotonic())
        self._act_at_s = self._restarts.due_s


def _event(report: Report) -> BfdChanged:
    return BfdChanged(
        Address.parse(report.peer),
        BfdReport(
            report.state,
            report.diagnostic,
            report.remote_state,
            report.remote_diagnostic,
            report.independent,
            report.since_s,
            report.failed_at_s,
            report.tx_us,
            report.detection_us,
        ),
    )


def _facts(**facts: object) -> dict[str, object]:
    """For `extra`: a log line's facts, beside its words."""
    return {"facts": facts}
