"""The page as axe-core checks it (tests/data/axe.min.js, Mozilla Public License 2.0): no serious finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Page
from tests.maps import Open
from tests.ui.sources import BROKEN, Scripted, changed, large, of_file, topology

AXE = Path(__file__).parents[1] / "data" / "axe.min.js"


def findings(page: Page) -> list[str]:
    """Serious and critical ones, with the elements."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text() + ";0")
    found: list[dict[str, Any]] = page.evaluate("axe.run(document).then((result) => result.violations)")
    return [
        f"{item['id']} {item['impact']}: {node['html'][:160]} {node['failureSummary']}"
        for item in found
        if item["impact"] in {"serious", "critical"}
        for node in item["nodes"]
    ]


def plain(open_map: Open, directory: Path, **how: Any) -> Page:
    del directory
    return open_map(topology("cross-subnet"), **how)


def many(open_map: Open, directory: Path, **how: Any) -> Page:
    page = open_map(large(directory), **how)
    page.click("[data-place=r03-n03] .button")
    return page


def broken(open_map: Open, directory: Path, **how: Any) -> Page:
    file = directory / "broken.yaml"
    file.write_text(BROKEN)
    source = of_file(file)
    page = open_map(source, **how)
    for node in source.map()["nodes"]:
        page.click(f"[data-address='{node['workloads'][0]['address']}']")
    page.wait_for("document.querySelector('.mark.broken') !== null")
    return page


def ill(open_map: Open, directory: Path, **how: Any) -> Page:
    del directory
    ground = topology("cross-subnet")
    first = changed(
        ground.map(), "a1", state="degraded", health="bad", why=["no reply"], unproven={"b1": "unreachable"}
    )
    second = changed(first, "b1", state="converging", health="changing")
    page = open_map(
        Scripted(ground, [changed(second, "b2", state="not asked", health="unknown", why=["silent"])]), **how
    )
    page.click("#tab-problems")
    return page


def table(open_map: Open, directory: Path, **how: Any) -> Page:
    page = ill(open_map, directory, **how)
    page.click("#as-table")
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("made", [plain, many, broken, ill, table])
def test_axe_finds_nothing_serious(open_map: Open, tmp_path: Path, made: Callable[..., Page], *, dark: bool) -> None:
    page = made(open_map, tmp_path, dark=dark)
    assert findings(page) == []
    for tab in ("node", "verify", "events"):
        page.click(f"#tab-{tab}")
        assert findings(page) == []


def test_axe_finds_nothing_serious_on_a_phone(open_map: Open, tmp_path: Path) -> None:
    assert findings(ill(open_map, tmp_path, width=390)) == []
