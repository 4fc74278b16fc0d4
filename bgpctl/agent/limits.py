"""
Limits of what the servers do for users who are not trusted: connections, time, memory and processor time.

A user who may only read must not be able to end the agent or to slow it down. So each has few connections, all of them
together have a few more, none may be slow, and together they get a quarter of a processor. Root has no limit but the
time: one that hangs is of no use to root either.

Refuses to know: requests and answers.
"""

from __future__ import annotations

import enum
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_CONNECTION_S: Final = 0.0005
"""The processor time that each request takes outside of its own thread: to accept it, and to start the thread."""


class Limits(NamedTuple):
    """
    Attributes:
        each: connections of one user, or of one host.
        all: connections of all users together.
        read_s: within which a request has to be here, and the next one on the same connection.
        write_s: within which an answer has to be taken.
        unsent_bytes: answers that all users together leave unread; one is allowed always.
        share: of one processor, for the answers to all users together.
    """

    each: int = 8
    all: int = 32
    read_s: float = 10.0
    write_s: float = 30.0
    unsent_bytes: int = 64 << 20
    share: float = 0.25


class Admission(enum.Enum):
    """Of a new connection: there was room; or the oldest idle of its user was ended for it; or it is one too many."""

    ROOM = enum.auto()
    REPLACED = enum.auto()
    REFUSED = enum.auto()


@dataclass(slots=True)
class _Open:
    user: Hashable
    is_idle: bool = True
    is_ended: bool = False
    due_s: float | None = None
    unsent_bytes: int = 0

    @property
    def is_replaceable(self) -> bool:
        return self.is_idle and not self.is_ended


@dataclass(slots=True)
class Connections:
    """The open connections of one server, each with its user; None is root. Any thread may call."""

    limits: Limits
    _open: dict[socket.socket, _Open] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, connection: socket.socket, user: Hashable) -> Admission:
        """
        Count a connection until it is forgotten, unless it is refused. One who holds idle connections keeps no other
        program out that is seen as the same user.
        """
        with self._lock:
            result = Admission.ROOM
            if user is not None and not self._has_room(user):
                result = self._replace(user)
            if result is not Admission.REFUSED:
                self._open[connection] = _Open(user)
            return result

    def _replace(self, user: Hashable) -> Admission:
        oldest = next((one for one, item in self._open.items() if item.user == user and item.is_replaceable), None)
        if oldest is None or self._is_crowded(user):
            return Admission.REFUSED
        self._open[oldest].is_ended = True
        _end(oldest)
        return Admission.REPLACED

    def _has_room(self, user: Hashable) -> bool:
        users = [item.user for item in self._open.values() if item.user is not None and not item.is_ended]
        return len(users) < self.limits.all and users.count(user) < self.limits.each

    def _is_crowded(self, user: Hashable) -> bool:
        """True if more were ended than their threads have noticed by now."""
        users = [item.user for item in self._open.values() if item.user is not None]
        return len(users) >= 2 * self.limits.all or users.count(user) >= 2 * self.limits.each

    def forget(self, connection: socket.socket) -> None:
        """It is closed."""
        with self._lock:
            self._open.pop(connection, None)

    def expect(self, connection: socket.socket, within_s: float | None, *, is_idle: bool = False) -> None:
        """
        End it unless something else is expected within so many seconds; None: it may take as long as it takes. It is
        idle until a request is here as a whole.
        """
        with self._lock:
            if found := self._open.get(connection):
                found.due_s = None if within_s is None else time.monotonic() + within_s
                found.is_idle = is_idle

    def end_overdue(self) -> None:
        """End those that are too slow: their threads wake up and close them."""
        now_s = time.monotonic()
        with self._lock:
            overdue = [one for one, item in self._open.items() if item.due_s is not None and item.due_s <= now_s]
        for connection in overdue:
            _end(connection)

    def was_ended(self, connection: socket.socket) -> bool:
        """True if another of its user has its place."""
        with self._lock:
            return connection in self._open and self._open[connection].is_ended

    def is_limited(self, connection: socket.socket) -> bool:
        """False of root's."""
        with self._lock:
            return connection not in self._open or self._open[connection].user is not None

    def may_wait(self, connection: socket.socket, size_bytes: int) -> bool:
        """Count an answer of this size until its connection is forgotten; False if too many wait to be read."""
        with self._lock:
            found = self._open.get(connection)
            if found is None or found.user is None:
                return True
            waiting = sum(item.unsent_bytes for one, item in self._open.items() if one is not connection)
            if waiting and waiting + size_bytes > self.limits.unsent_bytes:
                return False
            found.unsent_bytes = size_bytes
            return True


def _end(connection: socket.socket) -> None:
    """Its thread wakes up, and closes it."""
    with suppress(OSError):  # it is closed by now
        connection.shutdown(socket.SHUT_RDWR)


class Share:
    """A share of one processor for many threads: one works at a time, and each pauses after its work."""

    def __init__(self, share: float) -> None:
        self._pauses = 1 / share - 1
        self._one = threading.Lock()
        self._lock = threading.Lock()
        self._free_at_s = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn."""
        with self._one:
            yield

    def pause_s(self, used_s: float, now_s: float) -> float:
        """The pause after so much processor time, behind the pauses of all others."""
        with self._lock:
            self._free_at_s = max(self._free_at_s, now_s) + used_s * self._pauses
            return self._free_at_s - now_s

    @contextmanager
    def paid(self, excused: Callable[[], bool]) -> Iterator[None]:
        """Pause after the block as long as it, and what others use meanwhile, takes, unless it is `excused`."""
        began_s = time.thread_time()
        try:
            yield
        finally:
            used_s = time.thread_time() - began_s + _CONNECTION_S
            if not excused():
                time.sleep(self.pause_s(used_s, time.monotonic()))
