"""The program of the nightly run: its output; a part that fails or hangs stops no other."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tools import nightly
from tools.nightly import Part, Result

PLACE = {"date": "2024-05-06 01:00 UTC", "commit": "0123abc"}
QUIET = "..s.F  [100%]\nFAILED tests/x.py::test_one - assert 1 == 2\n1 failed, 3 passed, 1 skipped in 2.10s\n"
LOUD = "===== 7 passed, 2 warnings, 1 error in 61.00s (0:01:01) =====\n"


def test_tests_are_counted_over_every_pytest_of_a_part() -> None:
    assert nightly.counts(f"building 3 things in 5s\n{QUIET}{LOUD}") == {"passed": 10, "failed": 2, "skipped": 1}


def test_the_summary_has_a_row_per_part_and_names_what_failed() -> None:
    results = [
        Result(Part("good", "make good", 5), 0, LOUD, 61.2),
        Result(Part("bad", "make bad", 5), 2, QUIET, 2.1),
        Result(Part("stuck", "make stuck", 0.5), None, "line 1\nline 2\n", 30.0),
    ]
    assert nightly.summary(PLACE, results) == (
        "# The last nightly run\n\n"
        "- date: 2024-05-06 01:00 UTC\n"
        "- commit: 0123abc\n\n"
        "| part | result | passed | failed | skipped | duration |\n"
        "|---|---|---|---|---|---|\n"
        "| good | ok | 7 | 1 | 0 | 1 min 1 s |\n"
        "| bad | failed | 3 | 1 | 1 | 2 s |\n"
        "| stuck | too slow |  |  |  | 30 s |\n\n"
        "## bad\n\n`make bad`: exit 2\n\n```text\nFAILED tests/x.py::test_one - assert 1 == 2\n```\n\n"
        "## stuck\n\n`make stuck`: did not end in 0.5 min\n\n```text\nline 1\nline 2\n```\n"
    )


def test_a_part_gets_its_variables_and_its_output_is_kept(tmp_path: Path) -> None:
    result = nightly.run(Part("one", "echo $WHAT; echo $MAKEFLAGS >&2; exit 3", 1, {"WHAT": "this"}), tmp_path / "log")
    assert (result.code, result.output) == (3, "this\n\n")


@pytest.mark.parametrize("how", [signal.SIG_IGN, signal.default_int_handler], ids=["background", "foreground"])
def test_a_part_is_interrupted_at_its_limit_and_may_tidy_up(tmp_path: Path, how: signal.Handlers) -> None:
    tidies = "trap 'echo tidied; exit 0' INT; echo begun; while :; do sleep 0.05; done"
    before = signal.signal(signal.SIGINT, how)
    try:
        result = nightly.run(Part("slow", tidies, 0.08), tmp_path / "log", grace_s=20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.code, result.output) == (None, "begun\ntidied\n")


def test_a_part_that_ignores_the_interruption_is_killed_with_what_it_started(tmp_path: Path) -> None:
    began_s = time.monotonic()
    deaf = "trap '' INT; (sleep 300; echo late) & sleep 300; sleep 300"
    result = nightly.run(Part("deaf", deaf, 0.005), tmp_path / "log", grace_s=0.1)
    assert result.code is None
    assert time.monotonic() - began_s < 30


def test_all_parts_run_though_one_fails_and_the_exit_code_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "BUILD", tmp_path)
    monkeypatch.setattr(nightly, "PARTS", (Part("first", "exit 1", 1), Part("second part", "true", 1)))
    assert nightly.main([]) == 1
    written = (tmp_path / "nightly.md").read_text()
    assert "| first | failed |" in written
    assert "| second part | ok |" in written
    assert (tmp_path / "nightly" / "second-part.log").exists()
    assert nightly.main(["second part"]) == 0
    assert nightly.main(["third"]) == 2


def test_the_parts_take_five_hours_at_most_and_have_names_of_their_own() -> None:
    assert sum(part.limit_min for part in nightly.PARTS) <= 300
    assert len({part.name for part in nightly.PARTS}) == len(nightly.PARTS)
