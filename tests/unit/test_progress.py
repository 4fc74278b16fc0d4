"""Progress on a terminal after a second, and none elsewhere; Ctrl-C ends a command with 130."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from bgpctl.cli.progress import Progress
from tests.terminal import BGPCTL, COLUMNS, CTRL_C, INTERRUPTIBLE, Terminal

WORK: Final = """
import sys, time
from bgpctl.cli.progress import progress_of
with progress_of("lab") as progress:
    progress.stage("converge")
    progress.count(3, 4)
    if sys.argv[1] == "waits":
        input()
print("done")
"""


def test_after_a_second_the_stage_its_count_and_the_time_are_shown_and_at_the_end_they_go() -> None:
    with Terminal((sys.executable, "-c", WORK, "waits")) as terminal:
        terminal.wait_for("lab: converge, 3 of 4 (")
        terminal.type("\n")
        assert terminal.ended() == 0
    shown = terminal.raw
    # Each line was cleared (EL, ECMA-48) before what came next.
    assert shown.rstrip().endswith("done")
    assert "\x1b[2K" in shown[shown.rindex("3 of 4") :]
    assert max(map(len, terminal.text.splitlines())) <= COLUMNS


def test_work_of_less_than_a_second_shows_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(force_terminal=True, width=COLUMNS)
    shown = Progress("lab")
    shown.stage("build")
    assert list(screen.render(shown, screen.options)) == []
    began_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began_s + 61)
    assert "lab: build (1m01s)" in "".join(segment.text for segment in screen.render(shown, screen.options))


def test_without_a_terminal_nothing_is_written() -> None:
    command = (sys.executable, "-c", WORK, "waits")
    done = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize("words", [("show", "summary", "--wait", "60s")])
def test_ctrl_c_ends_a_command_that_waits_with_130(tmp_path: Path, words: tuple[str, ...]) -> None:
    command = (*BGPCTL, words[0], "--run-dir", str(tmp_path), *words[1:])
    with Terminal((*INTERRUPTIBLE, *command)) as terminal:
        terminal.wait_for("converge")
        terminal.type(CTRL_C)
        assert terminal.ended() == 130
    assert "interrupted" in terminal.text
    assert "Traceback" not in terminal.text
