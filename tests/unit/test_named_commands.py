"""Every `bgpctl …` that a message, a document, a comment or a unit file names is a command, with the options named."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest
from click.testing import CliRunner

from bgpctl.cli.main import main

ROOT: Final = Path(__file__).parents[2]
READ: Final = (
    "bgpctl",
    "docs",
    "topologies",
    "packaging",
    "exabgp-conf",
    "tools",
    "*.md",
    "Dockerfile",
    "docker-compose.yml",
)
NAMED: Final = re.compile(
    r"(?:(?<=bin/)|(?<![\w./-])(?<!--name )(?<!-t )(?<!-d )(?<!-driver ))bgpctl(?: |(?<=`bgpctl)\n[ #*]*)(?=\S)"
)
END: Final = re.compile(r"`|\n\n|&&|[;|)] | \| | -- | # |\\n|[\"'(]")
PLACEHOLDER: Final = re.compile(r"[A-Z<{\[…*].*|\.\.\.|\d?>.*")
PROSE: Final = frozenset(
    {
        "alone",
        "answer",
        "answers",
        "as",
        "at",
        "attaches",
        "beside",
        "can",
        "cannot",
        "cluster",
        "connects",
        "differs",
        "does",
        "enables",
        "filters",
        "for",
        "from",
        "have",
        "import",
        "in",
        "installs",
        "is",
        "it",
        "itself",
        "keeps",
        "leaves",
        "made",
        "makes",
        "may",
        "moves",
        "must",
        "needs",
        "never",
        "nor",
        "promises",
        "reads",
        "refuses",
        "reports",
        "requests",
        "routes",
        "runs",
        "says",
        "sets",
        "ships",
        "speak",
        "speaks",
        "too",
        "understands",
        "uses",
        "wants",
        "which",
    }
)
"""Words that follow the program's name in a sentence, outside of backticks and console blocks."""


class Mention(NamedTuple):
    """The words after the program's name at one place; `quoted`: it is code, so the first word is a command."""

    place: str
    words: tuple[str, ...]
    quoted: bool


def mentions(name: str, text: str) -> Iterator[Mention]:
    for found in NAMED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        spanned = before.endswith("`")
        rest = text[found.end() : found.end() + 300]
        rest = re.sub(r"\n[ #*]*", " ", rest) if spanned else rest.split("\n")[0]
        words = END.split(f"{rest} ", maxsplit=1)[0].split()
        yield Mention(
            f"{name}:{line}", tuple(words), spanned or (name.endswith(".md") and before.strip() in {"$", "#"})
        )


def files() -> Iterator[Path]:
    listed = subprocess.run(("git", "ls-files", "-z", *READ), cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).suffix not in {".svg", ".png", ".1"}:
            yield ROOT / name


def wrong(mention: Mention) -> str | None:
    """The fault of a mention, None if it is a command with its options, or a sentence."""
    here: click.Command = main
    known = _options(main)
    words = iter(mention.words)
    for word in words:
        name = word.rstrip(".,:;?")
        if name.startswith("-"):
            option, _, value = name.partition("=")
            if option not in known:
                return f"{here.name} has no option {option}"
            if not (known[option] or value):
                next(words, None)
        elif PLACEHOLDER.fullmatch(name):
            continue
        elif isinstance(here, click.Group):
            found = [_inside(here, one) for one in name.split("|")]
            if None in found:
                is_prose = not mention.quoted and (here is not main or name in PROSE)
                return None if is_prose else f"{here.name} has no command {name}"
            here = found[0] or here
            known |= _options(here)
        if name != word and not mention.quoted:
            break
    return None


def _inside(group: click.Group, name: str) -> click.Command | None:
    return group.get_command(click.Context(group), name)


def _options(command: click.Command) -> dict[str, bool]:
    """The names of its options; whether they are flags."""
    own = [item for item in command.get_params(_context(command)) if isinstance(item, click.Option)]
    return {name: item.is_flag or item.count for item in own for name in (*item.opts, *item.secondary_opts)}


def _context(command: click.Command) -> click.Context:
    return click.Context(command, help_option_names=["-h", "--help"])


def test_every_command_that_is_named_exists_with_its_options() -> None:
    all_mentions = [
        mention
        for path in files()
        for mention in mentions(str(path.relative_to(ROOT)), path.read_text(errors="replace"))
    ]
    assert len(all_mentions) > 200
    assert [f"{item.place}: {found}" for item in all_mentions if (found := wrong(item))] == []


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name in group.list_commands(click.Context(group)):
        yield (*path, name)
        if isinstance(inner := _inside(group, name), click.Group):
            yield from commands(inner, *path, name)


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"])
    assert shown.exit_code == 0
    assert f"Usage: main {' '.join(path)} " in shown.output


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("see `bgpctl orchard join`", "main has no command orchard"),
        ("addresses are leased by bgpctl lease", "main has no command lease"),
        ("$ bgpctl show summery\n", "show has no command summery"),
        ("`bgpctl peer up|away P`", "peer has no command up|away"),
        ("take it back with: bgpctl apply --confirm-in 5s", "apply has no option --confirm-in"),
        ("`bgpctl agent\n    raplay FILE`", "agent has no command raplay"),
    ],
)
def test_a_command_that_there_is_not_is_found(text: str, rule: str) -> None:
    (mention,) = mentions("page.md", text)
    assert wrong(mention) == rule


@pytest.mark.parametrize(
    "text",
    [
        "bgpctl routes blocks",
        "`bgpctl show --run-dir /run/x summary --wait 60s`",
        "`bgpctl peer up|down|refresh`",
        'hint = f"see: bgpctl show neighbor {name}"',
        "`bgpctl apply -f cluster.yaml --confirm-within=60s`, then `bgpctl confirm`",
        "bgpctl lab exec --name x a1 -- ip --json route",
    ],
)
def test_a_command_that_there_is_and_a_sentence_are_let_pass(text: str) -> None:
    assert [found for mention in mentions("page.md", text) if (found := wrong(mention))] == []
