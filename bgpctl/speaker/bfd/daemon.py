"""
The BFD process of a node, which __main__.py starts.

It keeps time while the agent works, and outlives it: the agent connects to its unix socket, writes which sessions it
wants, and reads how they are. Without an agent everything goes on. SIGTERM ends all sessions as shut down
(AdminDown), which the other ends do not take for a failure.

It asks for the real-time scheduler, and for a better place in the usual one where that is refused: at 50 ms a delay of
150 ms is a failure. What waits in the sockets is read before anything is called silent, so a delay of this process
itself does not end a session here.

Refuses to know: BGP, and what follows from a session's state.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time

from bgpctl.core.bfd import packet
from bgpctl.core.bfd.packet import Packet, SessionState
from bgpctl.core.bfd.session import Configured, Event, Received, Session, ShutDown, Time, begin, step
from bgpctl.speaker.bfd import lines, sockets
from bgpctl.speaker.bfd.lines import Hello, NotReceiving, Report, Wanted

TYPE_CHECKING = False  # as typing has it, without the module
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_LARGEST_BYTES: Final = 1 << 16
_SEND_BUFFER_BYTES: Final = 4 << 20
_SO_SNDBUFFORCE: Final = 32
"""Of asm-generic/socket.h; Python has no name for it."""
_PACKETS_AT_ONCE: Final = 512
"""More than the kernel keeps for a socket: after so many, it has been emptied."""
_FAREWELLS: Final = 3
"""AdminDown is sent so often at once, as one packet may be lost."""
_RETRY_S: Final = 1.0
_REALTIME_PRIORITY: Final = 1
_NICE: Final = -15


class Neighbor:
    """One session with its socket, and what has become of it."""

    def __init__(self, wanted: Wanted, mine: int, now_s: float) -> None:
        self.wanted = wanted
        self.failed_at_s: float | None = None
        self._port = 0
        self._socket: socket.socket | None = None
        self.session, packets = begin(wanted.intervals, mine, now_s)
        self._send(packets)

    def happen(self, event: Event, now_s: float) -> bool:
        """Take one step; True if there is news."""
        before = self.session
        self.session, packets = step(before, event, now_s, _chance())
        self._send(packets)
        if before.state is SessionState.UP and self.session.state is SessionState.DOWN:
            self.failed_at_s = None if self.session.remote_state is SessionState.ADMIN_DOWN else now_s
        elif self.session.state is SessionState.UP:
            self.failed_at_s = None
        return _facts(before) != _facts(self.session)

    def leave(self, now_s: float) -> None:
        """Shut the session down and close its socket."""
        self.session, packets = step(self.session, ShutDown(), now_s, _chance())
        self._send(packets * _FAREWELLS)
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def report(self) -> Report:
        session = self.session
        return Report(
            self.wanted.peer,
            session.state,
            session.diagnostic,
            session.remote_state,
            session.remote_diagnostic,
            session.remote_independent,
            session.since_s,
            self.failed_at_s,
            session.interval_us,
            session.detection_us,
        )

    def _send(self, packets: Iterable[Packet]) -> None:
        """Send now; a packet that cannot be sent is as good as lost on the way."""
        for sent in packets:
            try:
                self._sender().send(packet.encode(sent))
            except ConnectionRefusedError:
                pass  # no BFD runs there: an ICMP error of an earlier packet
            except OSError:
                self.close()  # the address or the link is gone: a new socket finds it when it is back

    def _sender(self) -> socket.socket:
        """Always from the same port (RFC 5881, section 4), while nothing else takes it."""
        while self._socket is None:
            first, last = sockets.SOURCE_PORTS
            port = self._port or first + _random() % (last - first + 1)
            try:
                wanted = self.wanted
                self._socket = sockets.sender(wanted.local, wanted.peer, port, multihop=wanted.multihop)
                self._port = port
            except OSError as error:
                if not sockets.port_is_taken(error):
                    raise
                self._port = 0
        return self._socket


class Daemon:
    """All sessions of a node, and at most one agent."""

    def __init__(self, listener: socket.socket, wake: int, scheduling: str) -> None:
        self._listener = listener
        self._wake = wake
        self._hello = Hello(lines.VERSION, os.getpid(), scheduling)
        self._agent: socket.socket | None = None
        self._half_line = b""
        self._neighbors: dict[tuple[str, bool], Neighbor] = {}
        self._by_number: dict[int, Neighbor] = {}
        self._receivers: dict[tuple[int, bool], socket.socket] = {}
        self._retry_at_s: float | None = None

    def run(self) -> None:
        """Serve until SIGTERM."""
        while self._turn():
            pass
        for neighbor in self._neighbors.values():
            neighbor.leave(time.monotonic())

    def _turn(self) -> bool:
        """One wait and what it brought; False once the process is to end."""
        ready = self._wait()
        if self._wake in ready:
            return False
        for (_, multihop), receiving in self._receivers.items():
            self._receive(receiving, multihop=multihop)
        self._pass_time(time.monotonic())
        if self._agent is not None and self._agent.fileno() in ready:
            self._hear(self._agent)
        if self._listener.fileno() in ready:
            self._accept()
        return True

    def _wait(self) -> frozenset[int]:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        for receiving in self._receivers.values():
            poll.register(receiving, select.POLLIN)
        if self._agent is not None:
            poll.register(self._agent, select.POLLIN)
        dues_s = [neighbor.session.due_s for neighbor in self._neighbors.values()]
        dues_s += [] if self._retry_at_s is None else [self._retry_at_s]
        if not dues_s:
            return frozenset(fd for fd, _ in poll.poll())
        wait_ms = max(0.0, (min(dues_s) - time.monotonic()) * 1000)
        return frozenset(fd for fd, _ in poll.poll(wait_ms))

    # Packets ---------------------------------------------------------------------------------------------------

    def _receive(self, receiving: socket.socket, *, multihop: bool) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                octets, source = receiving.recvfrom(_LARGEST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue
            try:
                received = packet.decode(octets)
            except packet.Malformed:
                continue
            self._take(received, source[0], multihop=multihop)

    def _take(self, received: Packet, source: str, *, multihop: bool) -> None:
        """Section 6.8.6: the discriminator selects the session, before it is known the source address."""
        neighbor = self._neighbors.get((source, multihop))
        if received.yours and self._by_number.get(received.yours) is not neighbor:
            return
        if neighbor is not None and neighbor.happen(Received(received), time.monotonic()):
            self._tell(lines.report_line(neighbor.report()))

    def _pass_time(self, now_s: float) -> None:
        for neighbor in self._neighbors.values():
            if neighbor.session.due_s <= now_s and neighbor.happen(Time(), now_s):
                self._tell(lines.report_line(neighbor.report()))
        if self._retry_at_s is not None and self._retry_at_s <= now_s:
            self._open_receivers(now_s)

    # What the agent wants --------------------------------------------------------------------------------------

    def configure(self, wanted: tuple[Wanted, ...], now_s: float) -> None:
        """Have exactly these sessions; those that stay the same are not disturbed."""
        ends = {one.ends for one in wanted}
        for key, neighbor in list(self._neighbors.items()):
            if neighbor.wanted.ends not in ends:
                del self._neighbors[key], self._by_number[neighbor.session.mine]
                neighbor.leave(now_s)
        for one in wanted:
            known = self._neighbors.get((one.peer, one.multihop))
            if known is None:
                self._add(one, now_s)
            elif known.wanted != one:
                known.wanted = one
                known.happen(Configured(one.intervals), now_s)
        self._open_receivers(now_s)
        for neighbor in self._neighbors.values():
            self._tell(lines.report_line(neighbor.report()))

    def _add(self, wanted: Wanted, now_s: float) -> None:
        mine = 0
        while not mine or mine in self._by_number:
            mine = _random()
        neighbor = Neighbor(wanted, mine, now_s)
        self._neighbors[wanted.peer, wanted.multihop] = self._by_number[mine] = neighbor

    def _open_receivers(self, now_s: float) -> None:
        """The sockets that the sessions need; one that cannot be had is tried again."""
        needed = {(sockets.family_of(peer), multihop) for peer, multihop in self._neighbors}
        for kind in self._receivers.keys() - needed:
            self._receivers.pop(kind).close()
        self._retry_at_s = None
        for family, multihop in needed - self._receivers.keys():
            try:
                self._receivers[family, multihop] = sockets.receiver(family, multihop=multihop)
            except OSError as error:
                self._retry_at_s = now_s + _RETRY_S
                port = sockets.MULTIHOP_PORT if multihop else sockets.SINGLE_HOP_PORT
                self._tell(lines.not_receiving_line(NotReceiving(f"UDP port {port}: {error.strerror}")))

    # The agent -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """The newest agent is the one."""
        try:
            agent, _ = self._listener.accept()
        except OSError:
            return  # it hung up before we came to it
        self._drop_agent()
        agent.setblocking(False)
        # Each report is a message of its own, and they come in bursts: as many as there are sessions.
        with contextlib.suppress(OSError):
            agent.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
        self._agent = agent
        reports = (lines.report_line(neighbor.report()) for neighbor in self._neighbors.values())
        self._tell(b"".join((lines.hello_line(self._hello), *reports)))

    def _hear(self, agent: socket.socket) -> None:
        try:
            chunk = agent.recv(_LARGEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        *whole, self._half_line = (self._half_line + chunk).split(b"\n")
        for line in whole[-1:]:  # each is the whole configuration
            try:
                self.configure(lines.wanted_of(line), time.monotonic())
            except (ValueError, TypeError, LookupError):
                self._drop_agent()
        if not chunk:
            self._drop_agent()

    def _tell(self, line: bytes) -> None:
        """An agent that does not read is dropped: it connects again, and then gets everything."""
        if self._agent is None:
            return
        try:
            sent = self._agent.send(line)
        except OSError:
            sent = 0
        if sent < len(line):
            self._drop_agent()

    def _drop_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
        self._agent, self._half_line = None, b""


def _facts(session: Session) -> tuple[object, ...]:
    """A change of these is news."""
    return session.state, session.diagnostic, session.remote_state, session.remote_independent, session.detection_us


def _random() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _chance() -> float:
    return _random() / (1 << 32)


def _at_once() -> str:
    """Ask to be run as soon as a packet or a timer is due."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_REALTIME_PRIORITY))
    except OSError:
        return _in_front()
    return "realtime"


def _in_front() -> str:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except OSError:
        return "usual"
    return f"nice {_NICE}"


def _listen(path: str) -> socket.socket:
    """A socket at `path` for its owner only; takes the place of one that an earlier process left behind."""
    temporary = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o177)
    listener.bind(temporary)
    listener.listen()
    listener.setblocking(False)
    os.replace(temporary, path)  # noqa: PTH105 (no pathlib, for its memory)
    return listener


def main() -> None:
    """Run until SIGTERM; the argument is the place of the unix socket."""
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the agent
    gc.freeze()
    gc.disable()  # nothing here makes cycles
    Daemon(_listen(sys.argv[1]), wake, _at_once()).run()
