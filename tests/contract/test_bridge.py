from __future__ import annotations

import contextlib
import fcntl
import json
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from bgpctl.speaker import bridge

WITHIN_S = 5.0


class Exabgp:
    """The test plays ExaBGP: it starts the bridge and holds the other ends of its pipes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            (sys.executable, "-I", "-S", bridge.__file__, str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def writes(self, data: bytes) -> None:
        """Write all of it, or fail: the bridge must take it at once."""
        done = 0
        while done < len(data):
            assert select.select([], [self.output], [], WITHIN_S)[1], f"the bridge stopped reading after {done} bytes"
            done += self.output.write(data[done : done + select.PIPE_BUF]) or 0

    def hears(self, count: int) -> bytes:
        assert self.process.stdout is not None
        heard = b""
        while heard.count(b"\n") < count:
            assert select.select([self.process.stdout], [], [], WITHIN_S)[0], f"only {heard!r}"
            heard += self.process.stdout.read(1 << 16)
        return heard


class Agent:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WITHIN_S)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")
        self.hello: dict[str, Any] = json.loads(self.hears())

    def hears(self) -> bytes:
        return self._lines.readline()

    def dies(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def exabgp(tmp_path: Path) -> Iterator[Exabgp]:
    started = Exabgp(tmp_path / "bridge.sock")
    with started.process:
        try:
            yield started
        finally:
            started.process.kill()


@pytest.fixture
def agent(exabgp: Exabgp) -> Agent:
    return meet(exabgp)


def meet(exabgp: Exabgp) -> Agent:
    """A new agent, once the bridge listens; the bridge has read all that ExaBGP wrote before."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return Agent(exabgp.path)
        except OSError:
            assert time.monotonic() < deadline, "the bridge does not listen"
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"the bridge ended with {exabgp.process.wait(timeout=0.02)}")


def test_lines_pass_unchanged_in_both_directions(exabgp: Exabgp, agent: Agent) -> None:
    exabgp.writes(b'{"a": 1}\ntext\n')
    assert (agent.hears(), agent.hears()) == (b'{"a": 1}\n', b"text\n")
    agent.socket.sendall(b"one\ntwo\n")
    assert exabgp.hears(2) == b"one\ntwo\n"


def test_an_agent_that_does_not_read_blocks_no_one_and_misses_nothing(exabgp: Exabgp, agent: Agent) -> None:
    lines = [b"%d %s\n" % (number, b"x" * 1000) for number in range(3000)]
    exabgp.writes(b"".join(lines))
    assert [agent.hears() for _ in lines] == lines


def test_half_a_command_of_a_dead_agent_goes_nowhere(exabgp: Exabgp, agent: Agent) -> None:
    agent.socket.sendall(b"whole\nha")
    agent.dies()
    meet(exabgp).socket.sendall(b"next\n")
    assert exabgp.hears(2) == b"whole\nnext\n"


def test_a_newer_agent_replaces_the_older_and_starts_at_a_line(exabgp: Exabgp, agent: Agent) -> None:
    exabgp.writes(b"half a ")
    newer = meet(exabgp)
    exabgp.writes(b"line\nwhole\n")
    assert newer.hears() == b"whole\n"
    while agent.hears():
        pass  # what the older one was sent, up to the end of its channel


def test_output_of_exabgp_before_the_first_agent_connects_is_kept_for_it(exabgp: Exabgp) -> None:
    """A session may be opened before an agent has found the bridge, and is so but once."""
    exabgp.writes(b"open\nhalf a ")
    deadline = time.monotonic() + WITHIN_S
    while unread(exabgp):
        assert time.monotonic() < deadline, "the bridge does not read"
    first = meet(exabgp)
    assert first.hello["lost"] is False
    exabgp.writes(b"line\n")
    assert (first.hears(), first.hears()) == (b"open\n", b"half a line\n")


def test_too_much_before_the_first_agent_is_lost_and_reported_as_lost(exabgp: Exabgp) -> None:
    exabgp.writes((b"x" * 999 + b"\n") * 3000)
    late = meet(exabgp)
    assert late.hello["lost"] is True
    exabgp.writes(b"now\n")
    assert late.hears() == b"now\n"


def unread(exabgp: Exabgp) -> int:
    """Bytes in ExaBGP's pipe."""
    found = struct.unpack("i", fcntl.ioctl(exabgp.output, termios.FIONREAD, bytes(4)))
    return int(found[0])


def test_output_without_an_agent_is_lost_and_reported_as_lost(exabgp: Exabgp, agent: Agent) -> None:
    assert agent.hello == {"bridge": "hello", "exabgp": agent.hello["exabgp"], "lost": False, "version": 1}
    agent.dies()
    assert meet(exabgp).hello["lost"] is False
    exabgp.writes(b"to the one that has just gone\n")
    exabgp.writes(b"x" * (1 << 20) + b"\n")
    late = meet(exabgp)
    assert late.hello["lost"] is True
    exabgp.writes(b"now\n")
    assert late.hears() == b"now\n"


def test_the_bridge_ends_with_exabgp_and_not_by_ctrl_c(exabgp: Exabgp, agent: Agent) -> None:
    exabgp.process.send_signal(signal.SIGINT)
    exabgp.writes(b"still here\n")
    assert agent.hears() == b"still here\n"
    exabgp.output.close()
    assert exabgp.process.wait(WITHIN_S) == 0


def test_only_the_owner_may_talk_to_exabgp(exabgp: Exabgp, agent: Agent) -> None:
    assert agent.hello["exabgp"] > 0
    assert exabgp.path.stat().st_mode & 0o777 == 0o600
