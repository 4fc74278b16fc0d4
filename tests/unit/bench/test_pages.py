"""The page and the tables that are made from results."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import pages, pictures, tables
from tests.machine import ROOT

PAGE = "before\n\n<!-- results: repair -->\n\nold\n\n<!-- end of results -->\n\nafter\n"
REPAIR = {"routes": 1000, "tries": 200, "p50_s": 0.0023, "p99_s": 0.0299}
LIVE = {
    "absent": {"GoBGP": "no gobgpd"},
    "rows": [
        {
            "table": "IPv4",
            "routes": 1000,
            "change": "added",
            "subject": subject,
            "cpu_ms": cpu,
            "parts_ms": parts,
            "p50_ms": 4.2,
            "p99_ms": 15.5,
        }
        for subject, cpu, parts in (
            ("bgpctl", 5.5, {"exabgp": 0.6, "bridge": 0.1, "agent": 4.8}),
            ("FRR", 2.25, {"bgpd": 1.1, "zebra": 1.15}),
        )
    ],
}


def test_a_section_is_replaced_and_the_text_around_it_stays() -> None:
    made = pages.filled(PAGE, pages.sections({"repair": REPAIR}, {}))
    assert made == (
        "before\n\n<!-- results: repair -->\n\n1,000 routes, 200 attempts: half of them less than 2.3 ms,"
        " 99 of 100 less than 29.9 ms.\n\n<!-- end of results -->\n\nafter\n"
    )


def test_making_a_page_again_changes_nothing() -> None:
    once = pages.filled(PAGE, pages.sections({"repair": REPAIR}, {}))
    assert pages.filled(once, pages.sections({"repair": REPAIR}, {})) == once


def test_a_section_without_results_stays() -> None:
    assert pages.filled(PAGE, {}) == PAGE


def test_results_without_a_place_on_the_page_are_an_error() -> None:
    with pytest.raises(ValueError, match="no markers for fib"):
        pages.filled(PAGE, {"fib": "figures"})


def test_a_part_that_was_measured_on_a_busy_machine_says_so() -> None:
    place = {"machine": {}, "parts": {"repair": {"busy": True, "others": 1.88, "steal": 0.0, "load": 7.6}}}
    section = pages.sections({"repair": REPAIR}, place)["repair"]
    assert "others used 1.88 CPUs" in section
    assert "the load was 8" in section


def test_a_part_of_another_run_says_of_which() -> None:
    row = {"busy": False, "commit": "aaa", "date": "yesterday"}
    place = {"machine": {"commit": "bbb"}, "parts": {"repair": row}}
    assert "From an earlier run: yesterday, commit aaa." in pages.sections({"repair": REPAIR}, place)["repair"]
    assert "earlier" not in pages.sections({"repair": REPAIR}, {**place, "machine": {"commit": "aaa"}})["repair"]


def test_subjects_stand_side_by_side_and_an_absent_one_is_named() -> None:
    assert tables.live(LIVE) == (
        "| table | change | bgpctl, CPU ms | FRR, CPU ms | bgpctl, p50 / p99 ms | FRR, p50 / p99 ms |"
        " CPU as a multiple of FRR |\n"
        "|---|---|---|---|---|---|---|\n"
        "| IPv4, 1,000 routes | added | 5.50 (4.80 + 0.60 + 0.10) | 2.25 | 4.20 / 15.5 | 4.20 / 15.5 | 2.4 |\n\n"
        "Left out: GoBGP (no gobgpd)."
    )


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        pictures.live(LIVE, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_the_page_has_a_place_for_each_table() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert [name for name in tables.TABLES if f"<!-- results: {name} -->" not in page] == []
