"""`bgpctl agent replay`: one line when all is the same, else the first command that differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgpctl.agent import journal_file
from bgpctl.agent.journal import Record
from bgpctl.cli.main import main
from bgpctl.core.agent.events import Apply, IntentLoaded, KernelChanged, Observed, Woken
from bgpctl.core.agent.state import begin
from bgpctl.core.bgp.speaker import SessionDown
from tests.cluster import bare_kernel, member
from tests.journals import lived
from tests.stories.mesh import B1, INTENT, converged

PLANE = bare_kernel(member(INTENT, "a1"))
STORY = lived(KernelChanged(), IntentLoaded(INTENT), Observed(PLANE), SessionDown(B1, "closed", notified=True)).record()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def replayed(file: Path, record: Record, *options: str) -> tuple[int, str]:
    file.write_bytes(journal_file.dump(record, "1.2", "2026-11-23T10:00:00+00:00"))
    result = CliRunner().invoke(main, ["agent", "replay", str(file), *options])
    return result.exit_code, result.output


def test_a_journal_that_replays_equal_is_one_line_and_0(file: Path) -> None:
    assert replayed(file, STORY) == (0, f"{file}: 4 entries, {_commands(STORY)} commands, all the same\n")


def _commands(record: Record) -> int:
    return sum(len(entry.commands) for entry in record.entries)


def test_the_first_entry_with_another_command_is_shown_and_1(file: Path) -> None:
    entries = list(STORY.entries)
    entries[2] = entries[2]._replace(event=Observed(type(PLANE)()))
    code, text = replayed(file, Record(STORY.start, tuple(entries)))
    assert code == 1
    first, second, *objects = text.splitlines()
    assert first == f"{file}:5: entry 3 at 1002.000 s: kernel state read: 0 objects"
    assert second.startswith("command 1 differs (- recorded by bgpctl 1.2, + replayed by ")
    assert any(line.startswith('- Apply {"Put": ') for line in objects)
    assert {line[:2] for line in objects} <= {"- ", "+ "}


def test_a_command_that_only_one_side_has_is_a_difference(file: Path) -> None:
    entries = list(STORY.entries)
    entries[1] = entries[1]._replace(commands=entries[1].commands[:-1])
    code, text = replayed(file, Record(STORY.start, tuple(entries)))
    assert code == 1
    assert text.splitlines()[2:] == ["+ Observe {}"]


def test_equal_objects_around_the_difference_are_left_out(file: Path) -> None:
    other = lived(IntentLoaded(INTENT), Observed(PLANE), Woken(), start=begin("a1", 0.0)).record()
    entries = list(other.entries)
    apply, *more = entries[1].commands
    assert isinstance(apply, Apply)
    entries[1] = entries[1]._replace(commands=(Apply((*apply.ops[:2], *apply.ops[3:])), *more))
    code, text = replayed(file, Record(other.start, tuple(entries)), "-o", "json")
    shown = json.loads(text)["difference"]
    assert code == 1
    assert (shown["entry"], shown["line"], shown["command"]) == (2, 4, 1)
    assert len(shown["objects"]) == 1
    assert shown["objects"][0].startswith("+ Apply")


def test_json_reports_that_nothing_differs(file: Path) -> None:
    code, text = replayed(file, lived(*[Woken()] * 3, start=converged().state).record(), "-o", "json")
    body = json.loads(text)
    assert code == 0
    assert (body["schema"], body["node"], body["entries"], body["difference"]) == ("bgpctl/replay/v1", "a1", 3, None)


@pytest.mark.parametrize("content", [None, b"", b"no journal\n", b"\x80\x04N."])
def test_a_bad_journal_exits_2_with_the_reason(file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(main, ["agent", "replay", str(file)])
    assert result.exit_code == 2
    assert result.output.startswith(f"{file}:")
