"""Each scenario with each daemon, and the table of what came of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interop.bird import Bird
from tests.interop.daemon import Daemon, installed
from tests.interop.frr import Frr
from tests.interop.gobgp import Gobgp
from tests.interop.rig import Rig
from tests.interop.world import World, made

_KINDS: Final[tuple[type[Bird | Frr | Gobgp], ...]] = (Bird, Frr, Gobgp)
_BY_HAND: Final = "by hand"
"""The column of those that have no daemon for a peer, but a few lines of Python: how many cases there are."""
_COLUMNS: Final = (*(kind.name for kind in _KINDS), _BY_HAND)
_FACTS: Final = "interop"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("interop")


@pytest.fixture(scope="module", params=_KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Daemon]:
    """The daemon of the other router."""
    wanted: type[Daemon] = request.param
    installed(wanted)
    return wanted


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, kind: type[Daemon]) -> Iterator[World]:
    """One network and one agent for all scenarios of a file with one kind of router."""
    with made(f"{request.module.__name__.rpartition('_')[2]}-{kind.name}") as world:
        yield world


@pytest.fixture
def rig(world: World, kind: type[Daemon]) -> Iterator[Rig]:
    """Routers of one kind, which end with the test."""
    made = Rig(world, kind)
    yield made
    made.end()


# Reports at the end --------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, World):
        report.sections.append(("logs and routes of all parts", world.report()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Scenario by daemon."""
    cells: dict[str, dict[str, str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            if "tests/interop/" in report.nodeid and (outcome != "passed" or report.when == "call"):
                scenario, column = _place(report.nodeid)
                row = cells.setdefault(scenario, {})
                row[column] = _cell(outcome, report) if column != _BY_HAND else _counted(row.get(column, ""), outcome)
    if not cells:
        return
    terminalreporter.section("interop")
    width = max(map(len, cells))
    terminalreporter.write_line(
        "  ".join(["scenario".upper().ljust(width), *(name.ljust(12) for name in _COLUMNS)]).rstrip()
    )
    for scenario, row in cells.items():
        shown = (row.get(column, "·").ljust(12) for column in _COLUMNS)
        terminalreporter.write_line("  ".join([scenario.ljust(width), *shown]).rstrip())


def _place(nodeid: str) -> tuple[str, str]:
    name, _, parameters = nodeid.rpartition("::")[2].partition("[")
    words = parameters.rstrip("]").split("-")
    column = next((word for word in words if word in _COLUMNS), _BY_HAND)
    detail = " ".join(word for word in words if word not in _COLUMNS)
    scenario = name.removeprefix("test_").replace("_", " ")
    return f"{scenario} ({detail})" if detail and column != _BY_HAND else scenario, column


def _counted(before: str, outcome: str) -> str:
    number = int(before.partition(" ")[0] or 0) if before[:1].isdigit() or not before else 0
    return (
        f"{number + 1} ok"
        if outcome == "passed" and "FAILED" not in before
        else "skipped"
        if outcome == "skipped"
        else "FAILED"
    )


def _cell(outcome: str, report: pytest.TestReport) -> str:
    facts = ", ".join(str(value) for key, value in report.user_properties if key == _FACTS)
    return {"passed": facts or "ok", "skipped": "skipped"}.get(outcome, "FAILED")
