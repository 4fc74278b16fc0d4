"""Ctrl-C and SIGTERM while a lab is built or removed."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bgpctl.cli.main import main
from bgpctl.lab import build, interrupts
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.topologies import TOPOLOGIES, read_topology

SIGNALS = [signal.SIGINT, signal.SIGTERM]
NODES = ["a1", "a2", "b1", "b2"]


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """As in a program that a user starts, whatever the tests' own signals are."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def held_during(*steps: Callable[[], object], check: bool = False) -> int:
    """How many of the steps were done before KeyboardInterrupt; with `check` it is asked for after each."""
    done = 0
    try:
        with interrupts.held() as held:
            for step in steps:
                step()
                done += 1
                if check:
                    held.check()
    except KeyboardInterrupt:
        return done
    raise AssertionError("not interrupted")


def fails() -> None:
    raise RuntimeError("ip was interrupted too")


@pytest.mark.parametrize("number", SIGNALS)
def test_one_is_held_back_until_it_is_asked_for_or_the_end(number: signal.Signals) -> None:
    steps = (str, partial(interrupt, number), str)
    assert held_during(*steps, check=True) == 2
    assert held_during(*steps) == 3
    assert signal.getsignal(number) is signal.default_int_handler


def test_a_second_one_ends_the_work_at_once() -> None:
    assert held_during(interrupt, interrupt, str) == 1


def test_a_failure_after_one_is_an_interrupt_and_without_one_itself() -> None:
    assert held_during(interrupt, fails) == 1
    with pytest.raises(RuntimeError):
        held_during(fails)


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.held() as held:
        os.kill(os.getpid(), signal.SIGINT)
        held.check()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_in_another_thread_nothing_is_held_back_and_nothing_fails() -> None:
    done = []

    def work() -> None:
        with interrupts.held() as held:
            held.check()
            done.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert done == ["worked"]


@pytest.mark.parametrize("at", ["build", *NODES])
def test_a_lab_that_is_interrupted_in_any_step_is_removed_and_later_steps_are_not_begun(
    monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    steps: list[str] = []

    def step(name: str) -> dict[str, Any]:
        steps.append(name)
        if name == at:
            interrupt()
        return {}

    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(labs, "STATE", Path(short) / "bgpctl" / "lab")
        monkeypatch.setattr(build, "build", lambda *_: step("build"))
        monkeypatch.setattr(build, "tear_down", lambda *_: steps.append("tear down"))
        monkeypatch.setattr(Lab, "start_agent", lambda _lab, node: step(node))
        with pytest.raises(KeyboardInterrupt):
            labs.up(read_topology(TOPOLOGIES / "cross-subnet.yaml"), "mine", keep=True)
        assert labs.lab_names() == []
    whole = ["build", *NODES]
    assert steps == [*whole[: whole.index(at) + 1], "tear down"]


def test_a_removal_that_a_second_one_cuts_leaves_the_directory_that_names_the_lab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def built(*_: object) -> dict[str, Any]:
        interrupt()
        return {}

    def impatient(*_: object) -> None:
        interrupt()
        interrupt()

    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(labs, "STATE", Path(short) / "bgpctl" / "lab")
        monkeypatch.setattr(build, "build", built)
        monkeypatch.setattr(build, "tear_down", impatient)
        with pytest.raises(KeyboardInterrupt):
            labs.up(read_topology(TOPOLOGIES / "cross-subnet.yaml"), "mine", keep=True)
        assert labs.lab_names() == ["mine"]
        assert not labs.record_of("mine")["whole"]
        monkeypatch.setattr(build, "tear_down", lambda *_: None)
        labs.down("mine")
        assert labs.lab_names() == []


def test_lab_down_that_is_cut_short_names_the_command_and_one_that_is_not_says_that_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    presses = 2

    def interrupted(*words: object) -> None:
        del words
        for _ in range(presses):
            interrupt()

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(build, "build", lambda *_: {})
    monkeypatch.setattr(build, "tear_down", interrupted)
    monkeypatch.setattr(Lab, "start_agent", lambda *_: None)
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(labs, "STATE", Path(short) / "bgpctl" / "lab")
        labs.up(read_topology(TOPOLOGIES / "cross-subnet.yaml"), "mine", keep=True)
        cut = CliRunner().invoke(main, ["lab", "down"])
        assert cut.exit_code == 130
        assert "lab mine is there in part; remove it with: bgpctl lab down --name mine" in cut.output
        presses = 1
        late = CliRunner().invoke(main, ["lab", "down"])
        assert late.exit_code == 130
        assert "interrupted; nothing is left of lab mine" in late.output
