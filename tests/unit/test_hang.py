"""Silence of ExaBGP is a hang only if it does not compute, or computes for too long."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from bgpctl.core.bgp.speaker import SpeakerConfig
from bgpctl.core.net.addresses import Address
from bgpctl.speaker import launch, supervisor
from bgpctl.speaker.launch import Rendered, RunDir
from bgpctl.speaker.process import Process
from bgpctl.speaker.supervisor import Supervisor

ANSWER_S = 3.0


class Rig:
    """A supervisor whose ExaBGP was pinged at 100 s and has said nothing since."""

    def __init__(self, directory: Path) -> None:
        self.supervisor = Supervisor(RunDir(directory), (), lambda _: None)
        self.restarted = Mock()
        vars(self.supervisor)["_restart"] = self.restarted
        self.ticks = 1000
        vars(self.supervisor)["_process"] = Mock(cpu_ticks=lambda: self.ticks)
        self.channel = Mock()
        self.wanted = rendered(directory)
        for name in ("_ping_at_s", "_last_line_at_s"):
            vars(self.supervisor)[name] = 100.0
        self.at(100.0)

    def at(self, now_s: float, *, computed: int = 0) -> bool:
        """True if it is taken for hung then, after so many more ticks of CPU."""
        self.ticks += computed
        self.restarted.reset_mock()
        self.supervisor._ask(self.channel, self.wanted, now_s)
        return bool(self.restarted.called)


def rendered(directory: Path) -> Rendered:
    return launch.prepare(
        SpeakerConfig(Address.parse("10.0.0.1"), Address.parse("10.0.0.1"), 179, ()), RunDir(directory)
    )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_one_that_does_not_compute_is_hung_once_its_answer_is_late(rig: Rig) -> None:
    assert not rig.at(100.0 + ANSWER_S - 0.1)
    assert rig.at(100.0 + ANSWER_S, computed=supervisor._BUSY_TICKS - 1)


def test_one_that_computes_has_more_time_as_long_as_it_does(rig: Rig) -> None:
    assert not rig.at(103.0, computed=200)
    assert not rig.at(105.9)
    assert not rig.at(106.0, computed=200)
    assert rig.at(109.0)


def test_one_that_computes_for_too_long_is_hung(rig: Rig) -> None:
    late = [rig.at(100.0 + ANSWER_S * number, computed=200) for number in range(1, 13)]
    assert late == [*[False] * supervisor._BUSY_ANSWERS, True, True]


def test_the_cpu_time_of_a_process_grows_while_it_computes(tmp_path: Path) -> None:
    process = Process(os.getpid(), os.pidfd_open(os.getpid()))
    before = process.cpu_ticks()
    while process.cpu_ticks() - before < supervisor._BUSY_TICKS:
        pass
    process.close()
    gone = Process(1 << 23, os.open(tmp_path, os.O_RDONLY))  # a greater pid than there can be
    assert gone.cpu_ticks() == 0
    gone.close()
