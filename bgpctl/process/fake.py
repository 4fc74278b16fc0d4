"""
Clock, service manager and run directory in memory, which a test moves and reads.

Refuses to know: files, signals, real time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bgpctl.ports import AlreadyRunning, Clock, RunDirectory, ServiceManager


class FakeClock(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._now_s = 100.0
        self._since_boot_s = 100.0
        self._boots = 1

    def now_s(self) -> float:
        return self._now_s

    def date(self) -> datetime:
        return datetime.fromtimestamp(self._since_boot_s, UTC)

    def since_boot_s(self) -> float:
        return self._since_boot_s

    def boot_id(self) -> str:
        return f"boot {self._boots}"

    def advance(self, passed_s: float) -> None:
        """Time passes."""
        self._now_s += passed_s
        self._since_boot_s += passed_s

    def boot(self) -> None:
        """The host is booted again."""
        self._boots += 1
        self._now_s = self._since_boot_s = 1.0


class FakeServiceManager(ServiceManager):
    """Keeps each change of the status, the readiness and the end; `terminate` asks the process to end."""

    pid = 1
    beat_s = 5.0

    def __init__(self) -> None:
        self.statuses: list[tuple[str, bool]] = []
        self.is_stopping = False
        self._stop: Callable[[], None] = lambda: None

    def beat(self, status: str, at_s: float, *, started: bool) -> None:  # noqa: ARG002 (the port's)
        if self.statuses[-1:] != [(status, started)]:
            self.statuses.append((status, started))

    def stopping(self) -> None:
        self.is_stopping = True

    def on_stop(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def terminate(self) -> None:
        """Ask the process to end, as SIGTERM does."""
        self._stop()


class FakeRunDirectory(RunDirectory):
    """Its files are a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._held = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        if self._held:
            raise AlreadyRunning("an agent is running with this directory in memory")
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> str:
        self.files[name] = content
        return name
