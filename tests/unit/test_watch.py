"""`--watch` on a terminal and without one, and the cells that it marks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bgpctl.agent.api import Api
from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import answer
from bgpctl.cli.main import main
from bgpctl.cli.marks import Marks
from bgpctl.cli.tables import Column, lines
from tests.stories.mesh import converged
from tests.terminal import BGPCTL, COLUMNS, CTRL_C, INTERRUPTIBLE, LINES, Terminal
from tests.waiting import wait_until

REVERSE: Final = re.compile(r"\x1b\[(?:\d+;)*7(?:;\d+)*m([^\x1b]*)\x1b")
NAMES: Final = st.lists(st.sampled_from(["a1", "b1", "b2", "c1"]), max_size=6)


class Agent:
    """Answers as the agent of a converged node does, but for one number that the test sets."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.received = 11
        self.questions = 0
        play = converged()

        def answered(name: str, query: Mapping[str, str]) -> dict[str, Any]:
            self.questions += 1
            body = answer(name, Snapshot(play.state, play.now_s + 41, query))
            if name == "peers":
                body["peers"][0]["received"] = self.received
            return body

        self.api = Api(run_dir / "agent.sock", answered)

    def command(self, *words: str) -> tuple[str, ...]:
        return (*BGPCTL, "show", "--run-dir", str(self.run_dir), *words)

    def watching(self, *words: str) -> tuple[str, ...]:
        return (*INTERRUPTIBLE, *self.command(*words, "--watch", "0.1"))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    found = Agent(tmp_path)
    yield found
    found.api.close()


def test_on_a_terminal_the_page_stays_in_place_a_changed_cell_is_marked_and_ctrl_c_exits_0(agent: Agent) -> None:
    with Terminal(agent.command("peers", "--watch", "0.1")) as terminal:
        terminal.wait_for("11")
        first = agent.questions
        wait_until(lambda: agent.questions > first + 2, within_s=20)
        assert REVERSE.findall(terminal.raw) == []
        agent.received = 7654
        terminal.wait_for("7654")
        wait_until(lambda: bool(REVERSE.findall(terminal.raw)), within_s=20)
        terminal.type(CTRL_C)
        assert terminal.ended() == 0
    assert {mark.strip() for mark in REVERSE.findall(terminal.raw)} == {"7654"}
    assert max(len(line) for line in terminal.text.splitlines()) <= COLUMNS
    assert "Traceback" not in terminal.text
    pages = terminal.raw.split("\x1b[H")[1:]
    assert all(page.count("\n") < LINES for page in pages)


def test_a_page_longer_than_the_terminal_is_cut_at_its_end_and_the_rest_is_counted(agent: Agent) -> None:
    with Terminal(agent.command("neighbor", "--watch", "0.1")) as terminal:
        terminal.wait_for("more lines")
        terminal.type(CTRL_C)
        assert terminal.ended() == 0
    assert all(page.count("\n") == LINES - 1 for page in terminal.raw.split("\x1b[H")[1:])


def test_without_a_terminal_pages_follow_each_other_as_they_are_and_an_interrupt_exits_0(agent: Agent) -> None:
    once = subprocess.run(agent.command("blocks"), capture_output=True, text=True, check=True)
    running = subprocess.Popen(agent.watching("blocks"), stdout=subprocess.PIPE, text=True)
    first = agent.questions
    wait_until(lambda: agent.questions > first + 3, within_s=20)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=20)
    assert running.returncode == 0
    pages = output.split("\n\n")
    assert len(pages) >= 3
    assert {page.strip() for page in pages} == {once.stdout.strip()}


def test_json_that_is_watched_is_one_object_a_line(agent: Agent) -> None:
    running = subprocess.Popen(agent.watching("blocks", "-o", "json"), stdout=subprocess.PIPE, text=True)
    first = agent.questions
    wait_until(lambda: agent.questions > first + 2, within_s=20)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=20)
    found = [json.loads(line)["schema"] for line in output.splitlines()]
    assert len(found) >= 2
    assert set(found) == {"bgpctl/blocks/v1"}


def test_an_agent_that_goes_ends_no_watch_and_one_that_was_never_there_does(agent: Agent, tmp_path: Path) -> None:
    with Terminal(agent.command("blocks", "--watch", "0.1")) as terminal:
        terminal.wait_for("10.244.1.0/26")
        agent.api.close()
        terminal.wait_for("no agent answers")
        assert terminal.process.poll() is None
        terminal.type(CTRL_C)
        assert terminal.ended() == 0
    never = CliRunner().invoke(main, ["show", "--run-dir", str(tmp_path / "none"), "blocks", "--watch"])
    assert never.exit_code == 3
    assert "no agent answers" in never.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("routes", "--watch", "10.244.1.1/24"), 2),  # no valid prefix: so it was not taken for seconds
        (("summary", "--watch", "--wait", "1s"), 2),
        (("peers", "--watch", "0"), 2),
    ],
)
def test_seconds_may_be_left_out_and_what_makes_no_sense_is_refused(
    agent: Agent, words: tuple[str, ...], code: int
) -> None:
    result = CliRunner().invoke(main, ["show", "--run-dir", str(agent.run_dir), *words])
    assert result.exit_code == code
    assert ("10.244.1.1/24" in result.output) is ("10.244.1.1/24" in words)


# What is marked ------------------------------------------------------------------------------------------------


def table(*rows: tuple[str, str]) -> list[list[str]]:
    return [list(row) for row in rows]


def test_a_first_page_has_no_marks_and_the_next_has_what_differs_by_row() -> None:
    first = Marks(None)
    assert first.changed(table(("a1", "up"), ("b1", "up"))) == frozenset()
    second = Marks(first)
    # b1 has moved up and is not changed, a1 is, and c1 is new.
    assert second.changed(table(("b1", "up"), ("a1", "down"), ("c1", "up"))) == {(1, 1), (2, 0), (2, 1)}
    assert Marks(second).changed(table(("b1", "up"))) == frozenset()


def test_ages_are_no_change() -> None:
    first = Marks(None)
    first.changed(table(("a1", "converged 59s"), ("b1", "3h04m")))
    assert Marks(first).changed(table(("a1", "converged 1m00s"), ("b1", "12d05h"))) == frozenset()


def test_events_are_known_by_their_words_because_their_first_cell_is_an_age() -> None:
    first = Marks(None)
    first.changed(table(("3s", "peer up"), ("2s", "route")))
    assert Marks(first).changed(table(("4s", "peer up"), ("3s", "route"), ("0s", "peer down"))) == {(2, 0), (2, 1)}


@given(NAMES, st.data())
def test_an_equal_table_has_no_marks_and_a_changed_cell_has_one(names: list[str], data: st.DataObject) -> None:
    rows = [[name, str(number)] for number, name in enumerate(names)]
    first = Marks(None)
    first.changed(rows)
    second = Marks(first)
    assert second.changed(rows) == frozenset()
    if rows:
        number = data.draw(st.integers(0, len(rows) - 1))
        changed = [list(row) for row in rows]
        changed[number][1] = "changed"
        assert Marks(second).changed(changed) == {(number, 1)}


@pytest.mark.parametrize("width", [80, 12], ids=["beside", "folded"])
def test_a_mark_is_on_the_changed_cell_alone_beside_others_and_folded(width: int) -> None:
    columns = [Column("NAME", lambda row: row["name"]), Column("STATE", lambda row: row["state"])]
    row = {"name": "node-with-a-name", "state": "down"}
    shown = list(lines([row], columns, width, lambda _table: {(0, 1)}))
    console = Console(force_terminal=True, width=width, color_system="standard")
    with console.capture() as captured:
        for line in shown:
            console.print(line, soft_wrap=True)
    assert REVERSE.findall(captured.get()) == ["down"]
