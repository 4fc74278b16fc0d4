"""
docs/benchmarks.md from the results: each section between its two markers is made anew, the text around stays.

    <!-- results: live -->
    …
    <!-- end of results -->

    python -m bench.pages             # from what bench/results has

A part without results keeps the section that it has.

Refuses to know: how a part's table looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench import pictures
from bench.common.machine import PROJECT
from bench.tables import TABLES

DOCS: Final = PROJECT / "docs"
PAGE: Final = DOCS / "benchmarks.md"
RESULTS: Final = PROJECT / "bench" / "results"
_SECTION: Final = re.compile(r"(<!-- results: ([a-z-]+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def write(results: Path = RESULTS) -> None:
    """The page with all the sections for which there are results, and their pictures."""
    found = sections(records(results), machine(results))
    for name, draw in pictures.PICTURES.items():
        if name in found:
            draw(records(results)[name], DOCS / f"{name}.svg")
    PAGE.write_text(filled(PAGE.read_text(), found))


def text(results: Path) -> str:
    """All sections, for a terminal."""
    return "\n\n".join(f"{name}\n\n{section}" for name, section in sections(records(results), machine(results)).items())


def records(results: Path) -> dict[str, Any]:
    """The content of each part's file."""
    files = {name: results / f"{name}.json" for name in TABLES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def machine(results: Path) -> dict[str, Any]:
    """The machine and each part's row, as bench/run.py writes them."""
    try:
        found: dict[str, Any] = json.loads((results / "machine.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def sections(
    found: Mapping[str, Any], place: Mapping[str, Any], tables: Mapping[str, Callable[[Any], str]] = TABLES
) -> dict[str, str]:
    """The new content of each section."""
    made = {}
    for name, record in found.items():
        parts = [tables[name](record)]
        if name in pictures.PICTURES:
            parts.append(f"![{pictures.TITLES[name]}]({name}.svg)")
        row = place.get("parts", {}).get(name, {})
        parts += [*disturbed(row), *of_another_run(row, place)]
        made[name] = "\n\n".join(part for part in parts if part)
    if place:
        made["machine"] = machine_text(place["machine"])
    return made


def disturbed(row: Mapping[str, Any]) -> list[str]:
    """A sentence on a part that was measured although others used the machine."""
    if not row.get("busy"):
        return []
    used = [f"others used {row['others']:.2f} CPUs, {row['steal']:.2f} were stolen"] if "others" in row else []
    load = [f"the load was {row['load']:.0f}"] if "load" in row else []
    return [f"Measured on a busy machine: {', '.join((*used, *load))}."]


def of_another_run(row: Mapping[str, Any], place: Mapping[str, Any]) -> list[str]:
    """A sentence on a part that was not measured in the run of the page."""
    if "commit" not in row or row["commit"] == place["machine"]["commit"]:
        return []
    return [f"From an earlier run: {row['date']}, commit {row['commit']}."]


def machine_text(facts: Mapping[str, str]) -> str:
    """The machine of the run, as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def filled(page: str, made: Mapping[str, str]) -> str:
    """
    The page with these sections in the place of those that it has.

    Raises:
        ValueError: the page has no place for a section.
    """
    places = {match.group(2) for match in _SECTION.finditer(page)}
    if missing := made.keys() - places:
        raise ValueError(f"no markers for {', '.join(sorted(missing))}")

    def one(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        return f"{begin}\n{made[name]}\n\n{end}" if name in made else match.group()

    return _SECTION.sub(one, page)


if __name__ == "__main__":
    write()
