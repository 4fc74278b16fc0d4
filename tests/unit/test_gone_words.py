"""Words that have a better one in the field are gone from the program and from what documents show of its output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import COMMANDS, DOCUMENTS, ROOT, blocks
from tests.unit.gone_words import GONE, Gone


def lines() -> Iterator[tuple[str, str]]:
    """Each line of the program and of the console blocks in the documents, with its place."""
    for path in sorted((ROOT / "bgpctl").rglob("*.py")):
        yield from _of(path, path.read_text(), 1)
    for document in DOCUMENTS:
        for block in blocks(document):
            if block.kind == COMMANDS:
                yield from _of(document, block.text, block.line + 1)


def _of(path: Path, text: str, first: int) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), first):
        yield f"{path.relative_to(ROOT)}:{number}", line


LINES = tuple(lines())


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.pattern)
def test_a_gone_word_is_found_nowhere(gone: Gone) -> None:
    found = [
        f"{place}:{gone.pattern} -> {gone.use}: {line.strip()}"
        for place, line in LINES
        if re.search(gone.pattern, line) and not place.startswith(gone.kept)
    ]
    assert not found, "\n".join(found)


def test_every_exception_is_still_needed() -> None:
    kept = ((gone.pattern, name) for gone in GONE for name in gone.kept)
    assert [name for pattern, name in kept if not re.search(pattern, (ROOT / name).read_text())] == []
