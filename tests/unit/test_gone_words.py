"""Words that have a better one in the field are gone from the program, its documents and its settings."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import Final

import pytest

from tests.docs.blocks import ROOT
from tests.unit.gone_words import GONE, Gone

READ: Final = (
    "bgpctl",
    "docs/*.md",
    "topologies",
    "packaging",
    "exabgp-conf/README.md",
    "*.md",
    "setup.cfg",
    "pyproject.toml",
    "Makefile",
    "Dockerfile",
)
TEXTS: Final = re.compile(r"\.(py|json|md|yaml|cfg|toml|env|service)$|(Makefile|Dockerfile)$|py\.typed$")


@cache
def texts() -> dict[str, str]:
    """Every tracked file of the program, its documents and its settings, by name."""
    listed = subprocess.run(("git", "ls-files", "-z", *READ), cwd=ROOT, capture_output=True, check=True)
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    assert [name for name in names if not TEXTS.search(name)] == []
    return {name: (ROOT / name).read_text() for name in names}


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    """The pattern with spaces that match the end of a line and the sign of a comment too."""
    return re.compile(pattern.replace(" ", r"(?:[ \n]+(?:# ?)?)"), re.MULTILINE)


def findings(gone: Gone) -> list[str]:
    kept = {item.file for item in gone.kept}
    return [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r} -> {gone.use}"
        for name, text in texts().items()
        if name not in kept
        for found in _expression(gone.pattern).finditer(text)
    ]


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.pattern)
def test_a_gone_word_is_found_nowhere(gone: Gone) -> None:
    found = findings(gone)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("gone", [item for item in GONE if item.kept], ids=lambda gone: gone.pattern)
def test_an_exception_is_still_needed_and_has_a_reason(gone: Gone) -> None:
    for item in gone.kept:
        assert item.reason
        assert _expression(gone.pattern).search(texts()[item.file]), item


def test_a_phrase_is_found_across_lines_and_in_another_case() -> None:
    phrase = r"(?i:\bby and by\b)"
    for text in ("it ends by and by.", "By and\nby it ends", "    # it ends by\n    # and by"):
        assert _expression(phrase).search(text), text
    assert not _expression(phrase).search("by andby")
