"""Words that have a better one in the field are gone from the program, its documents and its settings."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import Final

import pytest

from tests.docs.blocks import ROOT
from tests.unit.gone_words import FILES, GONE, Gone

PACKAGE: Final = ROOT / "bgpctl"
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
TEXTS: Final = re.compile(
    r"\.(py|json|md|yaml|cfg|toml|env|service|1|js|css|html|svg)$|(Makefile|Dockerfile)$|py\.typed$"
)
PATHS: Final = re.compile(rf"(?<!\w)(?:{'|'.join(name.removesuffix('.py') for name in FILES)})(?!\w)")
BARE: Final = {name.rsplit("/", 1)[1] for name in FILES} - {path.name for path in PACKAGE.rglob("*.py")}


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


def modules_named(text: str) -> list[str]:
    """The gone modules that a text names: by path, as an import, or by a file name that no other module has now."""
    named = PATHS.findall(text.replace(" import ", "/").replace(".", "/"))
    return named + [file for file in re.findall(r"(?<![\w/])\w+\.py\b", text) if file in BARE]


def test_a_module_that_is_gone_is_not_there_and_its_subject_is() -> None:
    assert [name for name, use in FILES.items() if (PACKAGE / name).exists() or not (PACKAGE / use).exists()] == []


def test_a_module_that_is_gone_is_named_nowhere() -> None:
    assert [(name, found) for name, text in texts().items() if (found := modules_named(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "from bgpctl.core.telling import Told",
        "from bgpctl.core import exports",
        "`core/rib.py: updated`",
        "see core/switch.py.",
        "bgpctl/lab/daemons/terms.py",
        "`gateways.py`",
    ],
)
def test_each_way_to_name_a_module_is_found(text: str) -> None:
    assert modules_named(text)


def test_a_module_of_the_same_name_elsewhere_is_let_pass() -> None:
    assert not modules_named("`lab/switch.py`, core/migration, import_policy.py")


def test_a_phrase_is_found_across_lines_and_in_another_case() -> None:
    phrase = r"(?i:\bby and by\b)"
    for text in ("it ends by and by.", "By and\nby it ends", "    # it ends by\n    # and by"):
        assert _expression(phrase).search(text), text
    assert not _expression(phrase).search("by andby")
