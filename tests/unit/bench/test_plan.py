"""The parts of `make bench`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from bench import run
from bench.common.machine import Use
from bench.parts import FULL_S, PARTS, QUICK_S, Part, planned, share_s
from bench.tables import TABLES
from tests.machine import ROOT

UNUSED_S = 60.0
"""For the check at the beginning and the page at the end."""


@pytest.mark.parametrize(("quick", "whole_s"), [(False, FULL_S), (True, QUICK_S + UNUSED_S)])
def test_the_shares_of_all_parts_fit_into_the_time(quick: bool, whole_s: float) -> None:
    assert sum(share_s(part, quick=quick) for part in planned(quick=quick)) <= whole_s - UNUSED_S


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_each_part_has_a_module_a_table_and_a_place_on_the_page(part: Part) -> None:
    assert importlib.util.find_spec(part.module)
    assert part.name in TABLES
    assert f"<!-- results: {part.name} -->" in (ROOT / "docs" / "benchmarks.md").read_text()


def test_a_name_that_no_part_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no such part: fob; there are live"):
        planned(quick=False, names=["fob", "fib"])


def test_named_parts_alone_are_planned() -> None:
    assert [part.name for part in planned(quick=False, names=["fib", "live"])] == ["live", "fib"]


# A part in a process ----------------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "measures.py"


def ran(module: Path, text: str, within_s: float | None = None) -> dict[str, object]:
    module.write_text(text)
    variables = {"PYTHONPATH": str(module.parent), "PATH": "/usr/bin:/bin"}
    return run.run(Part("one", "measures", 1, 1), variables, module.parent / "one.json", within_s)


def test_a_part_that_writes_its_results_is_ok(module: Path) -> None:
    assert ran(module, "import sys; open(sys.argv[1], 'w').write('{}')")["result"] == "ok"


def test_a_part_without_results_has_failed(module: Path) -> None:
    assert ran(module, "raise SystemExit(1)")["result"] == "failed"


def test_a_part_is_stopped_at_its_limit(module: Path) -> None:
    assert ran(module, "import time; time.sleep(60)", within_s=0.5)["result"] == "too slow"


@pytest.mark.parametrize(
    ("busy", "forced", "kept", "result"),
    [
        (False, False, "one.json", "ok"),
        (True, False, "one.busy.json", "disturbed"),
        (True, True, "one.json", "ok"),
    ],
)
def test_results_of_a_busy_machine_count_only_if_that_was_forced(
    tmp_path: Path, busy: bool, forced: bool, kept: str, result: str
) -> None:
    fresh = tmp_path / "one.new.json"
    fresh.write_text(json.dumps({}))
    row = run.judged({"result": "ok", "busy": busy}, fresh, tmp_path / "one.json", forced=forced)
    assert ([file.name for file in tmp_path.iterdir()], row["result"]) == ([kept], result)


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "become_reaper", lambda: None)
    monkeypatch.setattr(run, "resting_use", lambda: Use(1.5, 0.0))
    monkeypatch.delenv("FORCE", raising=False)
    assert run.main([]) == 2
    assert "the machine is busy: 1.50 CPUs used by others" in capsys.readouterr().err
