"""
The lines between the agent and the BFD process, in JSON: what is wanted, and what is.

Each wanted configuration is the whole one, and each connection begins with all reports: neither end has to remember
what the other has missed.

Refuses to know: sockets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bgpctl.core.bfd.packet import Diagnostic, SessionState
from bgpctl.core.bfd.session import Intervals

TYPE_CHECKING = False  # as typing has it, without the module
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

VERSION: Final = 2
"""Of these lines; a process of another one is ended without a failure, and started anew."""


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """One session: addresses in their usual notation; `local` is empty for any."""

    peer: str
    local: str
    tx_us: int
    rx_us: int
    multiplier: int
    multihop: bool

    @property
    def intervals(self) -> Intervals:
        """The part that can change while the session is Up."""
        return Intervals(self.tx_us, self.rx_us, self.multiplier)

    @property
    def ends(self) -> tuple[str, str, bool]:
        """The part that makes another session if it changes."""
        return self.peer, self.local, self.multihop


@dataclass(frozen=True, slots=True)
class Report:
    """
    One session as it is.

    Attributes:
        independent: the other end's BFD does not share the fate of its control plane (the C bit).
        since_s: when `state` changed, on CLOCK_MONOTONIC as all times here: an age would count from its reading.
        failed_at_s: when it failed, if it has not been Up again; the other end's AdminDown is no failure.
        tx_us, detection_us: the intervals in force.
    """

    peer: str
    state: SessionState
    diagnostic: Diagnostic
    remote_state: SessionState
    remote_diagnostic: Diagnostic
    independent: bool
    since_s: float
    failed_at_s: float | None
    tx_us: int
    detection_us: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The first line of the process."""

    version: int
    pid: int
    scheduling: str


@dataclass(frozen=True, slots=True)
class NotReceiving:
    """Packets cannot be received now; it is tried again."""

    reason: str


def wanted_line(sessions: Iterable[Wanted]) -> bytes:
    """The line for the process."""
    rows = [[s.peer, s.local, s.tx_us, s.rx_us, s.multiplier, s.multihop] for s in sessions]
    return _line({"sessions": rows})


def wanted_of(line: bytes) -> tuple[Wanted, ...]:
    """The reverse of `wanted_line`. Raises ValueError, TypeError or LookupError."""
    return tuple(Wanted(*row) for row in json.loads(line)["sessions"])


def hello_line(hello: Hello) -> bytes:
    """The line for the agent."""
    return _line({"bfd": "hello", "version": hello.version, "pid": hello.pid, "scheduling": hello.scheduling})


def not_receiving_line(event: NotReceiving) -> bytes:
    """The line for the agent."""
    return _line({"not-receiving": event.reason})


def report_line(report: Report) -> bytes:
    """The line for the agent."""
    return _line({name: getattr(report, name) for name in Report.__slots__})


def read(line: bytes) -> Hello | Report | NotReceiving:
    """A line for the agent. Raises ValueError, TypeError or LookupError."""
    message = json.loads(line)
    if "bfd" in message:
        return Hello(message["version"], message["pid"], message["scheduling"])
    if "not-receiving" in message:
        return NotReceiving(message["not-receiving"])
    states = {name: SessionState(message[name]) for name in ("state", "remote_state")}
    diagnostics = {name: Diagnostic(message[name]) for name in ("diagnostic", "remote_diagnostic")}
    return Report(**{**message, **states, **diagnostics})


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
