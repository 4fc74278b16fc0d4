"""The page as axe-core checks it (tests/data/axe.min.js, Mozilla Public License 2.0): no serious finding."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Page
from tests.maps import Open
from tests.ui.sources import Breaking, Kept, Scripted, changed, topology

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


def plain(open_map: Open, many: Kept, **how: Any) -> Page:
    del many
    return open_map(topology("cross-subnet"), **how)


def racks(open_map: Open, many: Kept, **how: Any) -> Page:
    page = open_map(many, **how)
    page.click("[data-place=r03-n03] .button")
    return page


def broken(open_map: Open, many: Kept, **how: Any) -> Page:
    del many
    page = open_map(Breaking(topology("cross-subnet"), "b1"), **how)
    for address in ("10.244.1.10", "10.244.3.10"):
        page.click(f"[data-address='{address}']")
    page.wait_for("document.querySelector('.mark.broken') !== null")
    return page


def ill(open_map: Open, many: Kept, **how: Any) -> Page:
    del many
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


def table(open_map: Open, many: Kept, **how: Any) -> Page:
    page = ill(open_map, many, **how)
    page.click("#as-table")
    return page


EVERY: list[tuple[Callable[..., Page], bool]] = [
    (made, dark) for made in (plain, racks, broken, ill, table) for dark in (False, True)
]
SOME: list[tuple[Callable[..., Page], bool]] = [(broken, False), (table, False), (ill, True)]
CASES = EVERY if os.environ.get("BGPCTL_TEST_MAP") else SOME


@pytest.mark.parametrize(("made", "dark"), CASES, ids=lambda item: getattr(item, "__name__", item))
def test_axe_finds_nothing_serious(open_map: Open, many: Kept, made: Callable[..., Page], *, dark: bool) -> None:
    page = made(open_map, many, dark=dark)
    assert findings(page) == []
    for tab in ("node", "verify", "events"):
        page.click(f"#tab-{tab}")
        assert findings(page) == []


def test_axe_finds_nothing_serious_on_a_phone(open_map: Open, many: Kept) -> None:
    assert findings(ill(open_map, many, width=390)) == []
