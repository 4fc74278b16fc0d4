"""Promises of clock, run directory and service manager: those of the running host, and those in memory."""

from __future__ import annotations

import os
import signal
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.ports import AlreadyRunning, Clock, RunDirectory, ServiceManager, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.process.fake import FakeClock, FakeRunDirectory, FakeServiceManager
from bgpctl.process.run_directory import DiskRunDirectory
from bgpctl.process.service_manager import Systemd
from tests.contract.kernel_rig import own_namespace

# Clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [LinuxClock(), FakeClock()], ids=["linux", "fake"])
def test_time_does_not_go_back_and_a_boot_has_one_name(clock: Clock) -> None:
    before = clock.now_s(), clock.since_boot_s()
    after = clock.now_s(), clock.since_boot_s()
    assert all(earlier <= later for earlier, later in zip(before, after, strict=True))
    assert clock.boot_id() == clock.boot_id() != ""


def test_another_boot_has_another_name_and_begins_to_count_anew() -> None:
    clock = FakeClock()
    clock.advance(1000.0)
    before = clock.boot_id(), clock.since_boot_s()
    clock.boot()
    assert clock.boot_id() != before[0]
    assert clock.since_boot_s() < before[1]


# Run directory -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["fake", pytest.param("disk", marks=pytest.mark.kernel)])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunDirectory]:
    if request.param == "fake":
        yield FakeRunDirectory()
        return
    if os.geteuid() != 0:
        pytest.skip("root: network namespaces")
    with own_namespace():
        yield DiskRunDirectory(tmp_path / "run")


def test_a_directory_is_held_once_at_a_time(directory: RunDirectory) -> None:
    for _ in range(2):
        with directory.hold(), pytest.raises(AlreadyRunning), directory.hold():
            raise AssertionError("held twice")


def test_a_file_is_replaced_and_its_place_is_returned(directory: RunDirectory) -> None:
    with directory.hold():
        places = [directory.write("journal", content) for content in (b"one", b"another")]
    assert places[0] == places[1]
    assert Path(places[0]).name == "journal"
    if isinstance(directory, FakeRunDirectory):
        assert directory.files == {"journal": b"another"}
    else:
        file = Path(places[0])
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"another", 0o600)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"{tmp_path}/none/journal cannot be written: No such file"):
        DiskRunDirectory(tmp_path / "none").write("journal", b"")


# Service manager -----------------------------------------------------------------------------------------------


class Rig(ABC):
    """A service manager, the states it was sent, and a method to end the process."""

    manager: ServiceManager

    @abstractmethod
    def statuses(self) -> list[tuple[str, bool]]:
        """Each status with whether the process has started, as often as it changed."""

    @abstractmethod
    def is_stopping(self) -> bool:
        """True if it was notified of the end."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask the process to end."""


class InMemory(Rig):
    def __init__(self) -> None:
        self.manager = self._fake = FakeServiceManager()

    def statuses(self) -> list[tuple[str, bool]]:
        return self._fake.statuses

    def is_stopping(self) -> bool:
        return self._fake.is_stopping

    def terminate(self) -> None:
        self._fake.terminate()


class Notified(Rig):
    """The socket of sd_notify(3)."""

    def __init__(self, channel: socket.socket) -> None:
        self.manager = Systemd({"NOTIFY_SOCKET": channel.getsockname()})
        self._channel = channel
        self._heard: list[str] = []

    def _hear(self) -> list[str]:
        while True:
            try:
                self._heard.append(self._channel.recv(4096).decode())
            except BlockingIOError:
                return self._heard

    def statuses(self) -> list[tuple[str, bool]]:
        lines = (message.splitlines() for message in self._hear())
        return [(first.removeprefix("STATUS="), "READY=1" in more) for first, *more in lines if "STATUS=" in first]

    def is_stopping(self) -> bool:
        return "STOPPING=1" in self._hear()

    def terminate(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(params=["fake", "systemd"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "fake":
        yield InMemory()
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        yield Notified(channel)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_changes_of_the_status_and_the_end_are_reported(rig: Rig) -> None:
    manager = rig.manager
    assert (manager.pid > 0, manager.beat_s > 0) == (True, True)
    for at_s, status, started in ((0.0, "starting", False), (0.1, "starting", False), (0.2, "learning", True)):
        manager.beat(status, at_s, started=started)
    assert rig.statuses() == [("starting", False), ("learning", True)]
    assert not rig.is_stopping()
    manager.stopping()
    assert rig.is_stopping()


def test_a_request_to_end_reaches_the_process(rig: Rig) -> None:
    asked = threading.Event()
    rig.manager.on_stop(asked.set)
    rig.terminate()
    assert asked.wait(timeout=5.0)
